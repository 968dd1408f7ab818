"""The comparison of policies for the terminal and as a page."""

from collections.abc import Sequence

from rich.table import Table

from aarlab.core.records import Measure
from aarlab.redteam.laboratory import Laboratory, Offer, Protection, percent
from aarlab.redteam.table import Cell, markdown_row

PREAMBLE = """# What each policy costs honest researchers and gives attackers

Made by `{command}`.

{agents} honest agents of {bundles} bundles each, {repetitions} fleets (seeds from {first_seed} on, the same for every
policy). The loss is measured at the end, in true accuracy, on fleets that share their seeds. Of the gift: (exact -
policy) / (exact - none), of what exact scores would have given them over no answers at all. Of the climb: over (exact -
start). Of the end: over exact. The 5 % of the default are of the gift, the largest of the three. In brackets, 95 %
bootstrap intervals over fleets. Noticed: share of bundles that are truly better by a standard error or more, sent while
anything is told, that are told. False: share of told improvements that are none. The model of a researcher:
`src/aarlab/redteam/honest.py`.

Attackers, each on {attack_seeds} label sets. The bound: no told level is further above the truth with the whole cap
spent (95 %, Theorem 1 of `MeteredLadder`). Worst: the largest mean of told level minus accuracy on fresh data, over all
attacks of `aar redteam`. Reach: what the attack of the best overlap would come to if only the cap ended it, after so
many questions (reckoned, `overlap.reach`, not run).
"""
HONEST = ("policy", "end (accuracy)", "lost of the gift", "of the climb", "of the end", "noticed", "false", "bits")
ATTACKERS = (
    "policy",
    "cap (bits)",
    "of the labels",
    "proven bound at the cap",
    "reach at the cap",
    "worst of 1,000 questions",
    "worst of 10,000 questions",
)


def markdown(made: Sequence[Laboratory], command: str) -> str:
    """The page of one or several comparisons of the same fleets."""
    lines = [PREAMBLE.format(**made[0].model_dump(exclude={"offers"}), command=command)]
    for lab in made:
        lines += [f"## {lab.n:,} hidden labels", "", f"**{lab.advice}**", ""]
        lines += _table(HONEST, [_honest(offer) for offer in lab.offers])
        lines += ["", *_table(ATTACKERS, [[offer.policy, *_attackers(offer.attackers)] for offer in lab.offers]), ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [markdown_row(head), markdown_row(["---"] * len(head)), *map(markdown_row, rows)]


def _honest(offer: Offer) -> list[str]:
    h = offer.honest
    losses = [percent(loss) for loss in (h.loss_of_gift, h.loss_of_climb, h.loss_of_end)]
    return [offer.policy, str(h.end), *losses, _share(h.noticed), _share(h.false), f"{h.bits.estimate:,.0f}"]


def _share(measure: Measure | None) -> str:
    return "-" if measure is None else f"{measure.estimate:.0%}"


def _attackers(p: Protection) -> list[str]:
    cap = "no cap" if p.cap_bits is None else f"{p.cap_bits:,.0f}"
    share = "-" if p.share_of_labels is None else f"{p.share_of_labels:.1%}"
    worst = [_cell(cell) for cell in p.worst] or ["-", "-"]
    far = "-" if p.at_the_cap is None else f"{p.at_the_cap:+.3f} after {p.questions:.1g}"
    return [cap, share, "no bound" if p.bound is None else f"{p.bound:.3f}", far, *worst]


def _cell(cell: Cell) -> str:
    return f"{cell.inflation.estimate:+.3f}, {cell.recovered.estimate:.0%} of unknown labels ({cell.attack})"


def tables(made: Laboratory) -> list[Table]:
    """Two tables for the terminal."""
    title = f"{made.n:,} labels: {made.agents} honest agents of {made.bundles} bundles, {made.repetitions} fleets"
    honest = Table(title=title)
    for name in ("policy", "end (accuracy)", "lost of the gift", "of the end", "noticed", "false", "bits"):
        honest.add_column(name)
    attackers = Table(title=f"{made.n:,} labels: attackers, {made.attack_seeds} label sets")
    for name in ATTACKERS:
        attackers.add_column(name)
    for offer in made.offers:
        row = _honest(offer)
        honest.add_row(*row[:3], *row[4:])
        attackers.add_row(offer.policy, *_attackers(offer.attackers))
    return [honest, attackers]
