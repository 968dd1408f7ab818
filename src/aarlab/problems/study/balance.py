"""Labels balanced to exactly one half in each split x part x level, without a word about which are
which."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from aarlab.core.records import Pair, PartName, SplitName

Cell = tuple[SplitName, PartName, int]


@dataclass(frozen=True)
class UnorderedPreference:
    """A preference before it has an order: the label is which of the two places `better` gets."""

    prompt: str
    better: str
    worse: str
    part: PartName
    level: int
    source: str


def ordered(
    drafts: Iterable[tuple[SplitName, UnorderedPreference]], rng: random.Random, prefix: str
) -> list[Pair]:
    """Pairs in random order. Of each split x part x level half have the better answer second, drawn
    by `rng`; of an odd number one is left out."""
    cells: dict[Cell, list[UnorderedPreference]] = defaultdict(list)
    for split, draft in drafts:
        cells[split, draft.part, draft.level].append(draft)
    items: list[Pair] = []
    for cell, found in sorted(cells.items()):
        rng.shuffle(found)
        half = len(found) // 2
        items += [_pair(draft, cell, 0, prefix) for draft in found[:half]]
        items += [_pair(draft, cell, 1, prefix) for draft in found[half : 2 * half]]
    rng.shuffle(items)
    return items


def _pair(draft: UnorderedPreference, cell: Cell, label: Literal[0, 1], prefix: str) -> Pair:
    first, second = (draft.worse, draft.better) if label else (draft.better, draft.worse)
    split, part, level = cell
    name = identified(prefix, draft.prompt, first, second)
    return Pair(
        id=name,
        prompt=draft.prompt,
        first=first,
        second=second,
        label=label,
        split=split,
        part=part,
        level=level,
    )


def identified(prefix: str, *texts: str) -> str:
    """An item's id: of its public texts alone, so that it says nothing else."""
    return f"{prefix}-{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:12]}"
