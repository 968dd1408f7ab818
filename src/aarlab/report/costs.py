"""The costs of researchers and campaign (model, machine, devices) from the ledger. An unknown cost
is None, never 0."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from aarlab.core.budget import Budget, Spent
from aarlab.core.entries import EventBody, SpendBody
from aarlab.core.intervals import ratio_measure
from aarlab.core.records import Entry, Measure
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.spends import TOKEN_KINDS, Tally
from aarlab.report.report_record import CostRow, Costs, LimitRow, ModelRow, count

LEAST_S = 0.001  # shortest time from which a rate is computed


def costs(campaign: Campaign, entries: Sequence[Entry]) -> Costs:
    """The spending in the ledger by researcher, by model and in total. A researcher without
    spending has a row, too."""
    tallies: dict[str, Tally] = {e.who: Tally() for e in entries if e.kind == "researcher"}
    total, lost_s, down_s = Tally(), defaultdict[str, float](float), 0.0
    for entry in entries:
        if entry.kind == "spend":
            spend = entry.read(SpendBody)
            total.add(spend)
            tallies.setdefault(entry.who, Tally()).add(spend)
        elif entry.kind == "researcher":
            lost_s[entry.who] += entry.read(EventBody).lost_s or 0.0
        elif entry.kind == "campaign":
            down_s += entry.read(EventBody).lost_s or 0.0
    rows = tuple(
        _row(name, tally, lost_s[name], campaign.budget) for name, tally in tallies.items()
    )
    known = _rate(rows)
    return Costs(
        campaign=_row(campaign.name, total, sum(lost_s.values()), campaign.campaign_budget),
        researchers=rows,
        models=_models(total),
        usd_per_researcher_hour=None if any(r.usd is None for r in rows if _ran(r)) else known,
        known_usd_per_researcher_hour=known,
        services_down_hours=count(down_s / 3600, n=1),
    )


def _row(name: str, tally: Tally, lost_s: float, budget: Budget) -> CostRow:
    calls, spent = sum(tally.calls.values()), tally.spent
    usd = _known(tally.cost, tally.charges + calls)
    return CostRow(
        name=name,
        hours=count(spent.wall_s / 3600, n=max(1, tally.charges)),
        cpu_hours=None
        if tally.processor_s is None
        else count(tally.processor_s / 3600, n=tally.charges),
        lost_hours=count(lost_s / 3600, n=1),
        calls=count(calls),
        interrupted=count(tally.interrupted_calls, n=max(1, calls)),
        tokens=count(spent.tokens),
        model_usd=_known(tally.model_cost, max(1, calls)),
        machine_usd=_known(tally.machine_cost, tally.charges),
        device_hours=count(tally.device_s / 3600, n=1),
        device_usd=_known(tally.device_cost, 1),
        usd=usd,
        known_usd=count(spent.usd, n=max(1, tally.charges + calls)),
        left_out=tally.unknown,
        usd_per_hour=None
        if usd is None or spent.wall_s < LEAST_S
        else count(usd.estimate / (spent.wall_s / 3600), n=usd.n),
        limits=tuple(_limits(spent, budget)),
    )


def _known(usd: float | None, n: int) -> Measure | None:
    return None if usd is None else count(usd, n=n)


def _limits(spent: Spent, budget: Budget) -> Iterable[LimitRow]:
    kinds = (
        ("USD", spent.usd, budget.usd),
        ("tokens", spent.tokens, budget.tokens),
        ("hours", spent.wall_s / 3600, budget.hours),
        ("processor hours", spent.cpu_s / 3600, budget.cpu_hours),
        ("device hours", spent.device_s / 3600, budget.device_hours),
    )
    for what, used, limit in kinds:
        if limit is not None:
            yield LimitRow(what=what, spent=count(used, n=1), limit=count(limit, n=1))


def _models(total: Tally) -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            model=model,
            calls=count(calls),
            known_usd=count(total.usd_by_model[model], n=calls),
            **{f"{kind}_tokens": count(total.tokens[model, kind]) for kind in TOKEN_KINDS},
        )
        for model, calls in sorted(total.calls.items())
    )


def _ran(row: CostRow) -> bool:
    return row.hours.estimate * 3600 >= LEAST_S


def _rate(rows: Sequence[CostRow]) -> Measure | None:
    """Known dollars per hour over all researchers, with a bootstrap interval over researchers.
    None if none ran. For a single researcher the interval has no width."""
    ran = [row for row in rows if _ran(row)]
    if len(ran) < 2:
        return count(ran[0].known_usd.estimate / ran[0].hours.estimate, n=1) if ran else None
    usd_N = np.array([row.known_usd.estimate for row in ran])
    hours_N = np.array([row.hours.estimate for row in ran])
    return ratio_measure(usd_N, hours_N, resampled="researchers")
