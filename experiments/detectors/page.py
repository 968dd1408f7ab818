"""The page of `python -m experiments.detectors`: docs/redteam/detectors.md."""

from collections.abc import Iterator, Mapping, Sequence

from aarlab.evaluation.detectors.contract import Kind
from experiments.detectors.rates import LIMIT, Rates, Row

PREAMBLE = """# Detectors: what they catch and whom they accuse wrongly

Made by `{command}`. {n:,} items, five seeds a submission, {seeds} attackers a row; brackets are
95 % Clopper-Pearson intervals. Two seeds of a simulated method disagree on 13.6 % of the items,
two methods on 17 % (`experiments/detectors/crowd.py`). A flag never blocks. All detectors
together take {milliseconds} ms of processor time for a submission, reading its code included.

Detectors are the second line of defence. **Detectors that use no label miss most attackers who
hide each probe in a real run on fresh seeds**; they find only an attacker who draws from the
same pool again and again. The policy ([evaluator.md](../evaluator.md)) bounds what can be
learned, not the detectors.

| detector | looks for | who may know |
|---|---|---|
"""
PROBING = f"""The policy is the default. Seventy honest submissions of all habits come first,
and one before each of the attacker's. The attacker flips the half of the items on which all are
least sure: there its flips are hardest to detect. At most {LIMIT} submissions, decoys included;
the column counts probes only. In the last disguise most attackers are missed."""
HONEST = """A fleet has one researcher of each habit. A sweep of a constant that changes nothing
re-rolls seeds, whatever its intention: the record does not distinguish the two, and the flag
says how much the best of them gains by luck."""
REAL = """generated-chat with the double as its student, {n} items: shipped methods, and recipes
that change in layers, L2 or an idea; each really run on five seeds of its own."""


def markdown(rates: Rates, command: str, detectors: Mapping[str, Kind]) -> str:
    """The page; `detectors`: the registry's."""
    lines = [
        PREAMBLE.format(
            command=command, **rates.model_dump(include={"n", "seeds", "milliseconds"})
        ).rstrip()
    ]
    lines += [
        f"| {k.name} | {k.about} | "
        f"{'the operator alone (labels)' if k.uses_labels else 'anybody'} |"
        for k in detectors.values()
    ]
    lines += ["", "## Label probing", "", PROBING, "", *_table(rates.probes, "attack", "detected")]
    lines += ["", "## Other hacks, without labels", "", *_table(rates.hacks, "hack", "detected")]
    lines += [
        "",
        "## What a confirmation and set-up see",
        "",
        *_table(rates.judged, "case", "flagged"),
    ]
    lines += [
        "",
        "## False alarms: simulated honest researchers",
        "",
        HONEST,
        "",
        *_table(rates.honest, "habit", "accused"),
    ]
    lines += [
        "",
        "## False alarms: real methods",
        "",
        REAL.format(n=rates.real_n),
        "",
        *_table(rates.real, "fleet", "accused"),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row], what: str, flagged: str) -> Iterator[str]:
    yield f"| {what} | how | {flagged} | after submissions (median) | by |"
    yield "|---|---|---|---|---|"
    for r in rows:
        interval = f"{r.flagged} of {r.shown} [{r.share.lower:.0%}, {r.share.upper:.0%}]"
        yield f"| {r.what} | {r.how} | {interval} | {r.when} | {r.by} |"
