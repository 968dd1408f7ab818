"""Groups of items of a split whose labels are not independent. They are found when a problem is set
up.

Two items are in one group

- if both have the same `group`;
- if their question and answers are the same or near duplicates (see `study.contamination`; a pair's
  two texts in any order);
- if their question is the same: the answers to one question, the pairs about one prompt. A text in
  more than a tenth of the split's items, and in more than ten of them, counts as an instruction,
  and joins no items.

If both items have a `group`, only the first rule applies to them. Groups are transitive: an item
like A and like B joins the groups of A and B.

Legend: N items, T texts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import scipy  # its parts take half a second to import, and load when they are first used
from numpy.typing import NDArray

from aarlab.core.records import AnyItem
from aarlab.problems.study.contamination import LEAST_SHARED, THRESHOLD, hashed, words

INSTRUCTION_SHARE, INSTRUCTION_LEAST = 0.1, 10
ROWS = 500  # compared with all others at a time

Edges = tuple[NDArray[np.intp], NDArray[np.intp]]


def groups_of(items: Sequence[AnyItem]) -> dict[str, str]:
    """Item id -> name of its group, for the items of one split in groups of two or more. The
    name is an id of the group."""
    if len(items) < 2:
        return {}
    stated = np.array([i.group is not None for i in items])
    order = np.argsort(stated, kind="stable")  # one that says no group is what others are joined to
    edges = [_equal([i.group for i in items], order)]
    edges += [_open(e, stated) for e in (_equal(_questions(items), order), *_near(items))]
    of_N = _components(len(items), edges)
    names: dict[int, str] = {}
    for item, component in sorted(
        zip(items, map(int, of_N), strict=True), key=lambda pair: pair[0].id
    ):
        names.setdefault(component, item.id)
    sizes = Counter(map(int, of_N))
    return {i.id: names[c] for i, c in zip(items, map(int, of_N), strict=True) if sizes[c] > 1}


def _questions(items: Sequence[AnyItem]) -> list[str | None]:
    """Each item's question in normalised form; None for an instruction."""
    asked = [" ".join(words(i.question)) for i in items]
    count, most = Counter(asked), max(INSTRUCTION_LEAST, INSTRUCTION_SHARE * len(items))
    return [q if count[q] <= most else None for q in asked]


def _equal(values: Sequence[str | None], order_N: NDArray[np.intp]) -> Edges:
    """From every item to the first of that order with the same value."""
    first: dict[str, int] = {}
    pairs = [(n, first.setdefault(v, n)) for n in map(int, order_N) if (v := values[n]) is not None]
    return np.array([a for a, _ in pairs], np.intp), np.array([b for _, b in pairs], np.intp)


def _open(edges: Edges, stated_N: NDArray[np.bool_]) -> Edges:
    """The edges between items of which at least one has no `group`."""
    keep = ~(stated_N[edges[0]] & stated_N[edges[1]])
    return edges[0][keep], edges[1][keep]


def _components(count: int, edges: Sequence[Edges]) -> NDArray[np.int32]:
    one, other = (np.concatenate([e[side] for e in edges]) for side in (0, 1))
    graph = scipy.sparse.coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _near(items: Sequence[AnyItem]) -> Iterator[Edges]:
    """Edges that join items whose question and answers are alike, for a part of the rows at a
    time."""
    count, slots = len(items), len(items[0].choices)
    questions = _Texts([i.question for i in items])
    answers = _Texts([i.choices[slot] for slot in range(slots) for i in items])
    for start in range(0, count, ROWS):
        rows = np.arange(start, min(start + ROWS, count))
        alike = [answers.alike(rows + slot * count) for slot in range(slots)]
        whole = alike[0][:, :count]
        if slots == 2:
            whole = whole.multiply(alike[1][:, count:]) + alike[0][:, count:].multiply(
                alike[1][:, :count]
            )
        found = scipy.sparse.coo_array(questions.alike(rows).multiply(whole))
        yield found.coords[0] + start, found.coords[1]


class _Texts:
    """T texts, by their words and by their distinct 5-grams."""

    def __init__(self, texts: Sequence[str]) -> None:
        each = [hashed(text) for text in texts]
        self.sizes_T = np.array([len(grams) for _, grams in each])
        self.whole = _incidence(
            np.arange(len(texts)), np.unique([d.hex() for d, _ in each], return_inverse=True)[1]
        )
        grams = np.concatenate([grams for _, grams in each])
        self.grams = _incidence(
            np.repeat(np.arange(len(texts)), self.sizes_T),
            np.unique(grams, return_inverse=True)[1],
            len(texts),
        )

    def alike(self, rows: NDArray[np.intp]) -> "scipy.sparse.csr_array":
        """(rows, T): is the text the same, or does it share enough 5-grams?"""
        shared = scipy.sparse.coo_array(self.grams[rows] @ self.grams.T)
        one, other = shared.coords
        least = np.minimum(self.sizes_T[rows[one]], self.sizes_T[other])
        near = (shared.data >= LEAST_SHARED) & (shared.data >= THRESHOLD * least)
        same = self.whole[rows] @ self.whole.T
        return (
            scipy.sparse.csr_array(
                scipy.sparse.coo_array(
                    (np.ones(near.sum(), np.int32), (one[near], other[near])), shape=shared.shape
                )
            )
            + same
        )


def _incidence(
    rows: NDArray[np.intp], columns: NDArray[np.intp], count: int | None = None
) -> "scipy.sparse.csr_array":
    shape = (len(rows) if count is None else count, int(columns.max(initial=0)) + 1)
    return scipy.sparse.csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)
