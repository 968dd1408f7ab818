"""The contract of a problem: a name, an honest card, and items with their hidden truth; and its examination."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.records import AnyItem, Choice, Pair
from aarlab.core.registry import Registry

SELECTION_SEED = 0  # the data seed on which layers, wordings, bins and hyper-parameters are chosen; nothing is reported on it


@dataclass(frozen=True)
class Problem:
    """An outcome-gradable problem.

    `build(cache, data_seed)` returns all items of all splits; it downloads what it needs into `cache` and checks it.
    `corpus(cache, data_seed)` returns unlabelled texts on which the teacher is pretrained, none from feedback or final.
    `card` tells a researcher what the task is, without a word about the hidden answers.
    """

    name: str
    version: str
    card: str
    id_source: str
    ood_source: str
    build: Callable[[Path, int], Sequence[AnyItem]]
    corpus: Callable[[Path, int], Sequence[str]]
    example: str = ""  # a worked example that the student reads before every question, of no split
    rebuildable: bool = False  # its answers follow from this code and the data seed alone: confirmations draw it with a secret
    fixed: bool = False  # its items are what they are: another data seed draws no others
    transfer_only: bool = False  # never published to researchers: their methods are confirmed on it, unseen


class Problems(Registry[Problem]):
    """Problems by name; a name that ends in .jsonl is the path of a user's own items (`from_file`)."""

    def __getitem__(self, name: str) -> Problem:
        if not name.endswith(".jsonl"):
            return super().__getitem__(name)
        from aarlab.problems.from_file import from_file

        found = from_file(name)
        if found.name in self:
            raise Misconfigured(f"{name} would be named like the problem '{found.name}'. Rename the file.", name=name)
        return found


PROBLEMS = Problems("problem")


def check_problem(items: Sequence[AnyItem]) -> None:
    """The examination that every problem passes before it is published.

    Raises:
        Misconfigured: the problem's author broke a promise: ids repeat, a pair's text stands in two pairs or a question in two
            splits (so that an answer could be looked up), or labels are not balanced in a split x part x level.
    """
    _refuse_repeats("item id", [i.id for i in items])
    _refuse_repeats("text", [text for i in items if isinstance(i, Pair) for text in i.choices])
    singles = [i for i in items if isinstance(i, Choice)]
    _refuse_repeats("question with this answer", [f"{i.question}\n{i.choice}" for i in singles])
    _refuse_repeats("question (of another split)", [q for q, _ in {(i.question, i.split) for i in singles}])
    cells: Counter[tuple[str, str, int]] = Counter()
    ones: Counter[tuple[str, str, int]] = Counter()
    for item in items:
        cells[item.split, item.part, item.level] += 1
        ones[item.split, item.part, item.level] += item.label
    for cell, count in sorted(cells.items()):
        if 2 * ones[cell] != count:
            raise Misconfigured(f"{ones[cell]} of {count} labels are 1 in {cell}; balance them to one half.", cell=cell)


def _refuse_repeats(what: str, values: Sequence[str]) -> None:
    if not values:
        return
    value, count = Counter(values).most_common(1)[0]
    if count > 1:
        raise Misconfigured(f"The {what} {value[:80]!r} occurs {count} times; each may occur once.", value=value)
