"""The contract of a problem: a name, an honest card, and items with their hidden truth; and its examination."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Item
from aarlab.core.registry import Registry


@dataclass(frozen=True)
class Problem:
    """An outcome-gradable problem.

    `build(cache, data_seed)` returns all items of all splits; it downloads what it needs into `cache` and checks it.
    `card` tells a researcher what the task is, without a word about the hidden answers.
    """

    name: str
    version: str
    card: str
    id_source: str
    ood_source: str
    build: Callable[[Path, int], list[Item]]


PROBLEMS: Registry[Problem] = Registry("problem")


def check_problem(items: Sequence[Item]) -> None:
    """The examination that every problem passes before it is published.

    Raises:
        Misconfigured: the problem's author broke a promise: ids repeat, a text stands in two items (so it could cross
            splits), or labels are not balanced in a split x part x level.
    """
    _refuse_repeats("item id", [i.id for i in items])
    _refuse_repeats("text", [text for i in items for text in (i.first, i.second)])
    cells: Counter[tuple[str, str, int]] = Counter()
    ones: Counter[tuple[str, str, int]] = Counter()
    for item in items:
        cells[item.split, item.part, item.level] += 1
        ones[item.split, item.part, item.level] += item.label
    for cell, count in sorted(cells.items()):
        if 2 * ones[cell] != count:
            raise Misconfigured(f"{ones[cell]} of {count} labels are 1 in {cell}; balance them to one half.", cell=cell)


def _refuse_repeats(what: str, values: Sequence[str]) -> None:
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise Misconfigured(f"The {what} {value[:80]!r} occurs {count} times; each may occur once.", value=value)
