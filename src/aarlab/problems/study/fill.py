"""Splits filled one after the other, each from candidates that resemble nothing in the splits
before it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aarlab.core.records import SplitName
from aarlab.problems.study.contamination import Found, Kinds, Removals, Screen, words

T = TypeVar("T")


@dataclass(frozen=True)
class WantedItems(Generic[T]):
    """`n` items of a source for a split, the first that will do of the candidates."""

    split: SplitName
    source: str
    n: int
    candidates: Sequence[T]


@dataclass
class Filled(Generic[T]):
    """The items by split, in order; what was left out, and why; how many are missing, by split and
    source."""

    items: dict[SplitName, list[T]] = field(default_factory=dict)
    findings: Removals = field(default_factory=Removals)
    missing: dict[tuple[SplitName, str], int] = field(default_factory=dict)


def fill(
    wanted: Sequence[WantedItems[T]], read: Callable[[T], Kinds], once: Callable[[T], Iterable[str]]
) -> Filled[T]:
    """Fill splits in the order in which they are wanted: the first is the best protected, and loses
    nothing to the others.

    `read`: the texts that no later split may repeat or nearly repeat. `once`: the texts that may
    occur once in all.
    """
    filled: Filled[T] = Filled()
    screens: dict[SplitName, Screen] = {}
    seen: dict[tuple[str, ...], SplitName] = {}
    others: dict[SplitName, Screen]
    for want in wanted:
        kept = filled.items.setdefault(want.split, [])
        own = screens.setdefault(want.split, Screen())
        others = {split: screen for split, screen in screens.items() if split != want.split}
        left = want.n
        for candidate in want.candidates:
            if not left:
                break
            kinds, texts = read(candidate), {tuple(words(text)) for text in once(candidate)}
            if why := _known(kinds, texts, others, seen):
                filled.findings[want.split, *why] += 1
                continue
            own.add(kinds)
            seen |= dict.fromkeys(texts, want.split)
            kept.append(candidate)
            left -= 1
        if left:
            filled.missing[want.split, want.source] = left
    return filled


def _known(
    kinds: Kinds,
    texts: Iterable[tuple[str, ...]],
    screens: Mapping[SplitName, Screen],
    seen: Mapping[tuple[str, ...], SplitName],
) -> tuple[SplitName, Found] | None:
    """The split that has something like it, and how alike it is."""
    for text in texts:
        if text in seen:
            return seen[text], "exact"
    for split, screen in screens.items():
        if found := screen.finds(kinds):
            return split, found
    return None
