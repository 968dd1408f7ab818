"""A problem's data card: where its items are from, what was done to them, and what they look like.
No label, no rating.

It is published beside the problem, as `data_card.json` and for people as `DATA.md`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from aarlab.core.hub import HubSnapshot, Source
from aarlab.core.markdown import code, escaped, table
from aarlab.core.records import SPLITS, AnyItem, PartName, Record, SplitName
from aarlab.problems.length_control import LengthRow, length_control
from aarlab.problems.study.contamination import GRAM, LEAST_SHARED, THRESHOLD, Removals


class Origin(Record):
    """A data set that items are from."""

    name: str
    revision: str  # as asked for
    commit: str  # as found; "folder": a local folder that does not say
    licence: str
    files: dict[str, str]  # path -> SHA-256


class LeftOut(Record):
    """Candidates that were left out of `split` since they resemble items of `resembles`."""

    split: SplitName
    resembles: SplitName
    how: str
    candidates: int


class Provenance(Record):
    """What only the builder knows about the items."""

    origins: tuple[Origin, ...]
    drawn: str  # how items were chosen for the splits
    levels: str  # what a level means
    balancing: str
    left_out: tuple[LeftOut, ...]
    dropped: dict[str, int]  # rows of the sources that were no candidates, by reason
    limits: tuple[str, ...]


class Built(tuple[AnyItem, ...]):
    """Items as `Problem.build` returns them, with where they are from."""

    provenance: Provenance

    @classmethod
    def of(cls, items: Iterable[AnyItem], provenance: Provenance) -> "Built":
        built = cls(items)
        built.provenance = provenance
        return built


class CardCell(Record):
    split: SplitName
    part: PartName
    level: int
    items: int


class Length(Record):
    """Characters of an item's public texts together."""

    split: SplitName
    median: int
    p95: int
    longest: int


class DataCard(Record):
    problem: str
    version: str
    data_seed: int
    provenance: Provenance
    cells: tuple[CardCell, ...]
    lengths: tuple[Length, ...]
    public_sha256: dict[str, str]  # split -> SHA-256 of its items as published, without labels
    # of teacher and student alone: of the others it would reveal hidden labels
    length_control: tuple[LengthRow, ...] = ()


def origin(source: Source, snapshot: HubSnapshot) -> Origin:
    return Origin(
        name=source.name,
        revision=source.revision,
        commit=snapshot.commit,
        licence=source.licence,
        files=snapshot.sha256,
    )


def left_out(findings: Removals) -> tuple[LeftOut, ...]:
    """The findings of contamination, as the card states them."""
    found = sorted(findings.items())
    return tuple(LeftOut(split=s, resembles=r, how=how, candidates=n) for (s, r, how), n in found)


def data_card(
    name: str, version: str, data_seed: int, items: Sequence[AnyItem], provenance: Provenance
) -> DataCard:
    """The card of these items."""
    counts: Counter[tuple[SplitName, PartName, int]] = Counter(
        (i.split, i.part, i.level) for i in items
    )
    by_split: dict[SplitName, list[AnyItem]] = {
        s: [i for i in items if i.split == s] for s in SPLITS
    }
    return DataCard(
        problem=name,
        version=version,
        data_seed=data_seed,
        provenance=provenance,
        cells=tuple(
            CardCell(split=s, part=p, level=level, items=n)
            for (s, p, level), n in sorted(
                counts.items(), key=lambda c: (SPLITS.index(c[0][0]), c[0])
            )
        ),
        lengths=tuple(_length(s, found) for s, found in by_split.items() if found),
        public_sha256={s: _sha256(found) for s, found in by_split.items() if found},
        length_control=length_control(by_split["teacher"] + by_split["student"]),
    )


def _public(item: AnyItem) -> dict[str, str]:
    return {name: getattr(item, name) for name in item.PUBLISHED}


def _length(split: SplitName, items: Sequence[AnyItem]) -> Length:
    sizes = [sum(len(text) for name, text in _public(i).items() if name != "id") for i in items]
    median, p95, longest = (round(float(q)) for q in np.quantile(sizes, (0.5, 0.95, 1.0)))
    return Length(split=split, median=median, p95=p95, longest=longest)


def _sha256(items: Sequence[AnyItem]) -> str:
    """Of the lines of the split's published file."""
    lines = "".join(json.dumps(_public(i)) + "\n" for i in items)
    return hashlib.sha256(lines.encode()).hexdigest()


def markdown(card: DataCard) -> str:
    """The card for people."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: DataCard) -> Iterator[str]:
    known = card.provenance
    title = f"Data of {card.problem}, version {card.version}, data seed {card.data_seed}"
    yield from (f"# {escaped(title)}", "", "## Sources", "")
    for o in known.origins:
        rest = f", revision {o.revision}, commit {o.commit}; licence {o.licence}"
        yield f"- **{escaped(o.name)}**{escaped(rest)}"
        yield from (f"  - {code(path)}, SHA-256 {code(sha)}" for path, sha in o.files.items())
    yield from ("", "## Items", "", escaped(known.drawn), "")
    yield from (escaped(f"Levels: {known.levels}"), "", escaped(f"Labels: {known.balancing}"), "")
    yield from table(
        ("split", "part", "level", "items"),
        [(c.split, c.part, f"{c.level}", f"{c.items}") for c in card.cells],
    )
    yield from ("", "Characters of an item (question and answers):", "")
    yield from table(
        ("split", "median", "95 %", "longest"),
        [(x.split, f"{x.median}", f"{x.p95}", f"{x.longest}") for x in card.lengths],
    )
    if card.length_control:
        yield from ("", LENGTH, "", *(f"- {escaped(str(row))}" for row in card.length_control))
    dropped = _counts(known.dropped) or "none"
    yield from ("", escaped(f"Rows of the sources that were no candidates: {dropped}."))
    yield from ("", "## Contamination", "", METHOD, "")
    found = [(o.split, o.resembles, o.how, f"{o.candidates}") for o in known.left_out]
    head = ("left out of", "resembles an item of", "how", "candidates")
    yield from table(head, found or [("none", "", "", "")])
    yield from ("", "## Known limits", "", *(f"- {escaped(limit)}" for limit in known.limits))
    yield from ("", "## What was built", "")
    yield from ("SHA-256 of each split as published (without labels):", "")
    yield from (
        f"- {escaped(split)}: {code(digest)}" for split, digest in card.public_sha256.items()
    )


LENGTH = (
    "How often the shorter answer is right (0.5: length predicts nothing). Of `feedback` and "
    "`final`, whose labels are hidden, the report, the bench's card and `aar doctor --campaign` "
    "say it."
)
METHOD = (
    "Splits are filled in the order final, feedback, teacher, student, each with candidates that "
    "resemble nothing in the splits before it. Exact: the same words in the same order. Near: "
    f"two texts of a kind (question, answer) share at least {THRESHOLD:.0%} of the shorter one's "
    f"distinct word {GRAM}-grams, and at least {LEAST_SHARED} of them. The counts are of the "
    "candidates that were looked at until the split was full. Only these splits were compared: "
    "what a model's pretraining has seen is not known."
)


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{why}: {n}" for why, n in found.items())
