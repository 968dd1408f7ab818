"""The contract of a problem: a name, a card, and items with hidden labels; and the checks of a
problem."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aarlab.core.errors import Misconfigured
from aarlab.core.records import AnyItem, Choice, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# the data seed on which layers, wordings, bins and hyper-parameters are chosen; nothing is reported
# on it
SELECTION_SEED = 0


@dataclass(frozen=True)
class KnownLogits:
    """Zero-shot logits of a problem's texts that were measured once and are shipped with it.
    `of(cache, texts)` returns those of T texts, (T,). They hold for one model: the one whose
    weights file has the SHA-256 `weights_sha256`."""

    weights_sha256: str
    of: "Callable[[Path, Sequence[str]], NDArray[np.float32]]"


@dataclass(frozen=True)
class Problem:
    """An outcome-gradable problem.

    `build(cache, data_seed)` returns all items of all splits; it downloads what it needs into
    `cache` and checks it. `corpus(cache, data_seed)` returns unlabelled texts on which the teacher
    is pretrained, none from feedback or final. `card` describes the task to researchers, without
    information about the hidden answers.
    """

    name: str
    version: str
    card: str
    id_source: str
    ood_source: str
    build: Callable[[Path, int], Sequence[AnyItem]]
    corpus: Callable[[Path, int], Sequence[str]]
    # a worked example before every question that the student reads; it is in no split
    example: str = ""
    # the code and the data seed determine its answers: confirmations also use a secret
    rebuildable: bool = False
    fixed: bool = False  # its items do not depend on the data seed
    # single choices, and no right answers in `corpus`: the teacher tells them apart by their words
    worded: bool = False
    zero_shot: KnownLogits | None = None  # of problems whose texts are read each alone
    transfer_only: bool = False  # never published to researchers; methods are only confirmed on it


def check_problem(items: Sequence[AnyItem]) -> None:
    """Check a problem before it is published.

    Raises:
        Misconfigured: something occurs twice (see `check_repeats`), or labels are not balanced in a
            split x part x level.
    """
    check_repeats(items)
    _refuse_unbalanced(items)


def require_items(problem: Problem) -> None:
    """Check a problem whose items need no download, before anything is set up.

    Raises:
        Misconfigured: see `check_problem`.
    """
    if problem.fixed:
        try:
            check_problem(problem.build(Path(), SELECTION_SEED))
        except Misconfigured as error:
            raise Misconfigured(f"{problem.name}: {error}", **error.facts) from error


def check_repeats(items: Sequence[AnyItem], lines: Sequence[int] | None = None) -> None:
    """Check that nothing occurs twice that would reveal a label. `lines`: the line of each item in
    its author's file.

    Raises:
        Misconfigured: an id repeats, a text is in two pairs, or a question or a `group` is in two
            splits, so that an answer could be looked up (one question of all items is an
            instruction and may repeat).
    """

    def refuse_repeats(what: str, values: Iterable[tuple[str, int]]) -> None:
        at: dict[str, list[int]] = defaultdict(list)
        for value, n in values:
            at[value].append(n)
        for value, found in at.items():
            if len(found) > 1:
                places = (
                    [f"line {lines[n]} (label {items[n].label})" for n in found[:5]]
                    if lines
                    else []
                )
                where = f": {', '.join(places)}" if places else ""
                raise Misconfigured(
                    f"The {what} {value[:80]!r} occurs {len(found)} times{where}; it may occur "
                    "once. Remove the others.",
                    value=value,
                )

    ids = [(i.id, n) for n, i in enumerate(items)]
    if lines is None:  # ids of a file are made of its texts, which are what its author knows
        refuse_repeats("item id", ids)
    refuse_repeats(
        "text",
        [(text, n) for n, i in enumerate(items) if isinstance(i, Pair) for text in i.choices],
    )
    singles = [(i, n) for n, i in enumerate(items) if isinstance(i, Choice)]
    refuse_repeats(
        "question with this answer", [(f"{i.question}\n{i.choice}", n) for i, n in singles]
    )
    by_split = {(i.question, i.split): n for i, n in reversed(singles)}
    if len({question for question, _ in by_split}) > 1:
        refuse_repeats(
            "question (of another split)", [(question, n) for (question, _), n in by_split.items()]
        )
    groups = {
        (i.group, i.split): n for n, i in reversed(list(enumerate(items))) if i.group is not None
    }
    refuse_repeats("group (of another split)", [(group, n) for (group, _), n in groups.items()])
    refuse_repeats("item id", ids)


def _refuse_unbalanced(items: Sequence[AnyItem]) -> None:
    cells: Counter[tuple[str, str, int]] = Counter()
    ones: Counter[tuple[str, str, int]] = Counter()
    for item in items:
        cells[item.split, item.part, item.level] += 1
        ones[item.split, item.part, item.level] += item.label
    uneven = {
        cell: 2 * ones[cell] - count
        for cell, count in sorted(cells.items())
        if 2 * ones[cell] != count
    }
    if not uneven:
        return
    parts = [
        f"split {split}, part {part}, level {level}: {ones[split, part, level]} of "
        f"{cells[split, part, level]} labels are 1, {abs(more)} of label {int(more > 0)} too many"
        for (split, part, level), more in uneven.items()
    ]
    cell = next(iter(uneven))
    raise Misconfigured(
        f"{'; '.join(parts)}. Remove this many items: one half of the labels must be 1.", cell=cell
    )
