"""small-chat: which of two snippets did about 20 people rate as the more favourable?

The pairs are drawn so that the student's zero-shot judgement says nothing about the label: whoever
wants to do better than the teacher's labels must get more out of them. Whether the judgement is
right is a fair coin for each pair, whatever the two zero-shot logits, the source and the level
(rejection sampling). `zero_shot.npz` beside this module has the logit of every snippet, so that the
draw does not depend on a machine's rounding; `python -m experiments.zero_shot` makes it. A snippet
is in the pool of the training splits, of feedback or of final, whatever the data seed: labels of
one seed's feedback say nothing about a snippet in another seed's final.

Legend: T snippets, P candidate pairs, B bins of all sources, R ratings.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Pair, PartName, SplitName
from aarlab.problems.problem import KnownLogits, Problem
from aarlab.problems.rated_snippets import LEVELS, SOURCES, Snippet, fetch, pair_of, untested
from aarlab.problems.registered import PROBLEMS

ZERO_SHOT = Path(__file__).with_name("zero_shot.npz")
# what is drawn together, with the upper end of its share of the hashes of texts
POOLS: dict[PartName, dict[tuple[SplitName, ...], float]] = {
    "id": {("teacher", "student"): 0.48, ("feedback",): 0.74, ("final",): 1.0},
    "ood": {("feedback",): 0.5, ("final",): 1.0},
}
PAIRS: dict[tuple[SplitName, PartName], int] = {  # each divisible by 2 labels x 3 levels
    ("teacher", "id"): 300,
    ("student", "id"): 1_440,
    ("feedback", "id"): 840,
    ("feedback", "ood"): 1_164,
    ("final", "id"): 840,
    ("final", "ood"): 1_164,
}
# of the weights file of the model that judged (see experiments/zero_shot.py)
WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"
BINS = 24  # of the zero-shot logits of a source, with equally many snippets
PASSES = 600  # pairings of the pool, at most
FAIR = 4.5  # standard errors
CARD = (
    "Each item has two snippets of text. Predict 1 if people rated `second` as the more favourable "
    "of the two, 0 if `first`. You have weak labels on the `student` items and the frozen hidden "
    "states of a strong student model for `student` and `feedback` items. Find a method whose "
    "predictions on the `feedback` items recover as much as possible of the gap between the weak "
    "teacher and the strong student trained on true labels (PGR)."
)
SELECTED = (
    "The pairs are selected: whether the student's zero-shot judgement is right was a fair coin "
    "for each, whatever the two zero-shot logits. Taken alone it says nothing about the label "
    "here; on texts as they come it is right on four of five pairs."
)
ID_SOURCE, OOD_SOURCE = "movie reviews", "product reviews, tweets, newspaper editorials"


def zero_shot_logits(snippets: Sequence[Snippet]) -> NDArray[np.float64]:
    """log p(" great") - log p(" bad") of SmolLM2-135M-Instruct after each of all snippets, to
    0.001, (T,).

    Raises:
        Misconfigured: these are not the snippets that the file was made of.
    """
    with np.load(ZERO_SHOT) as kept:
        if str(kept["texts_sha256"]) != texts_digest(snippets):
            raise Misconfigured(
                f"{ZERO_SHOT.name} was made of other snippets. Make it again: python -m "
                "experiments.zero_shot."
            )
        return kept["milli_logit_T"] / 1000


def texts_digest(snippets: Sequence[Snippet]) -> str:
    """All texts in order, as a hash."""
    return hashlib.sha256("\n".join(s.text for s in snippets).encode()).hexdigest()


def draw_pairs(
    snippets: Sequence[Snippet],
    logits_T: NDArray[np.floating],
    quota: int,
    rng: np.random.RandomState,
) -> list[list[tuple[Snippet, Snippet]]]:
    """Disjoint pairs of one source each, `quota` for each level; fewer if the pool is spent. Of
    the pairs in a cell (source, level, bin of the higher and of the lower logit), the judgement
    is right with probability one half."""
    pool = _Pool(snippets, logits_T)
    drawn: list[list[tuple[Snippet, Snippet]]] = [[] for _ in LEVELS]
    for _ in range(PASSES):
        if all(len(pairs) >= quota for pairs in drawn):
            break
        high_P, low_P, level_P, share_P = pool.candidates(rng)
        used: list[int] = []
        for n in np.flatnonzero(rng.random_sample(len(high_P)) < share_P):
            pairs = drawn[level_P[n]]
            if len(pairs) < quota:
                pairs.append((snippets[high_P[n]], snippets[low_P[n]]))
                used += [high_P[n], low_P[n]]
        pool.remove(used)
    return drawn


class _Pool:
    """The snippets that are left, in pairs that are drawn at random."""

    def __init__(self, snippets: Sequence[Snippet], logits_T: NDArray[np.floating]) -> None:
        sources, source_T = np.unique([s.source for s in snippets], return_inverse=True)
        rounded_T = np.round([s.rating for s in snippets], 1)  # few values: counting is fast
        ratings, self._rating_T = np.unique(rounded_T, return_inverse=True)
        # source and bin in one number: pairs of one source differ by less than BINS
        self._row_T = source_T * BINS
        for source in range(len(sources)):
            rows = np.flatnonzero(source_T == source)
            edges = np.quantile(logits_T[rows], np.linspace(0, 1, BINS + 1)[1:-1])
            self._row_T[rows] += np.searchsorted(edges, logits_T[rows])
        gap_RR = np.round(ratings[:, None] - ratings, 6)  # of the first rating to the second
        self._level_RR = np.select(
            [(abs(gap_RR) >= low) & (abs(gap_RR) < high) for low, high in LEVELS], (0, 1, 2), -1
        )
        self._shape = len(sources) * BINS, len(ratings)
        self._left = np.arange(len(snippets))

    def candidates(self, rng: np.random.RandomState) -> tuple[NDArray, ...]:
        """One pairing of the pool: of each pair the snippet with the higher and the one with the
        lower logit, its level, and the probability with which it is to be taken, (P,) each."""
        mixed = rng.permutation(self._left)
        mixed = mixed[np.argsort(self._row_T[mixed] // BINS, kind="stable")]
        even = len(mixed) // 2 * 2
        pair_P2 = mixed[:even].reshape(-1, 2)
        pair_P2 = np.take_along_axis(pair_P2, np.argsort(self._row_T[pair_P2], axis=1), axis=1)
        low_P, high_P = pair_P2.T
        level_P = self._level_RR[self._rating_T[high_P], self._rating_T[low_P]]
        keep = (level_P >= 0) & (self._row_T[high_P] != self._row_T[low_P])
        keep &= self._row_T[high_P] // BINS == self._row_T[low_P] // BINS
        high_P, low_P, level_P = high_P[keep], low_P[keep], level_P[keep]
        right_P = self._rating_T[high_P] > self._rating_T[low_P]
        share = self._acceptance()
        share_P = share[level_P, right_P.astype(int), self._row_T[high_P], self._row_T[low_P]]
        return high_P, low_P, level_P, share_P

    def _acceptance(self) -> NDArray[np.float64]:
        """With which probability a pair of each cell is taken if the judgement is wrong, and if it
        is right, so that both are equally frequent: (levels, 2, rows, rows)."""
        count_BR = np.zeros(self._shape)
        np.add.at(count_BR, (self._row_T[self._left], self._rating_T[self._left]), 1)
        first_higher_RR = np.tri(self._shape[1], k=-1).astype(bool)
        found = []
        for level in range(len(LEVELS)):
            at_RR = self._level_RR == level
            both = (at_RR & first_higher_RR.T, at_RR & first_higher_RR)  # wrong, right
            found.append([count_BR @ some_RR.astype(float) @ count_BR.T for some_RR in both])
        pairs = np.array(found)
        return pairs.min(axis=1, keepdims=True) / np.maximum(pairs, 1)

    def remove(self, used: Sequence[int]) -> None:
        """Take snippets out of the pool."""
        self._left = np.setdiff1d(self._left, np.array(used, int))


def make_items(
    snippets: Sequence[Snippet],
    logits_T: NDArray[np.floating],
    data_seed: int,
    sizes: dict[tuple[SplitName, PartName], int],
) -> list[Pair]:
    """Items of all splits: levels of equal size, labels balanced in every split x part x level."""
    rng = np.random.RandomState(data_seed)
    items: list[Pair] = []
    for (part, splits), rows in _pools(snippets).items():
        counts = {s: sizes[s, part] // len(LEVELS) // 2 * 2 for s in splits if (s, part) in sizes}
        drawn = draw_pairs([snippets[n] for n in rows], logits_T[rows], sum(counts.values()), rng)
        for level, pairs in enumerate(drawn, start=1):
            order = iter(rng.permutation(len(pairs)))
            for split, count in counts.items():
                chosen = [pairs[n] for n, _ in zip(order, range(count), strict=False)]
                chosen = chosen[: len(chosen) // 2 * 2]
                items += [pair_of(p, i % 2, split, part, level) for i, p in enumerate(chosen)]
    return [items[n] for n in rng.permutation(len(items))]


def _pools(
    snippets: Sequence[Snippet],
) -> dict[tuple[PartName, tuple[SplitName, ...]], list[int]]:
    """The snippets of each pool, by the hash of their text."""
    pools: dict[tuple[PartName, tuple[SplitName, ...]], list[int]] = {
        (part, splits): [] for part, shares in POOLS.items() for splits in shares
    }
    for n, snippet in enumerate(snippets):
        part = SOURCES[snippet.source]
        share = int.from_bytes(hashlib.sha256(snippet.text.encode()).digest()[:8]) / 2**64
        splits = next(s for s, upto in POOLS[part].items() if share < upto)
        pools[part, splits].append(n)
    return pools


def require_fair(items: Sequence[Pair], logit_of: Mapping[str, float]) -> None:
    """Check that the judgement is right on one half of each split, to FAIR standard errors.

    Raises:
        Misconfigured: it is not, so that it says something about the hidden labels.
    """
    for split in ("student", "feedback", "final"):
        right = [
            (logit_of[i.second] > logit_of[i.first]) == (i.label == 1)
            for i in items
            if i.split == split
        ]
        apart = abs(sum(right) - len(right) / 2)
        if apart > FAIR * len(right) ** 0.5 / 2:
            raise Misconfigured(
                f"The zero-shot judgement is right on {sum(right)} of {len(right)} pairs of "
                f"{split}, which chance does not explain. Take another data seed, or make "
                f"{ZERO_SHOT.name} again (python -m experiments.zero_shot)."
            )


@lru_cache(maxsize=2)
def _drawn(cache: Path, data_seed: int) -> tuple[Pair, ...]:
    snippets = fetch(cache)
    logits_T = zero_shot_logits(snippets)
    items = make_items(snippets, logits_T, data_seed, PAIRS)
    require_fair(items, dict(zip([s.text for s in snippets], logits_T, strict=True)))
    return tuple(items)


def build(cache: Path, data_seed: int) -> Sequence[Pair]:
    """The items of a data seed."""
    return _drawn(cache, data_seed)


def known_logits(cache: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """The zero-shot logits of T snippets, (T,)."""
    snippets = fetch(cache)
    of = dict(zip([s.text for s in snippets], zero_shot_logits(snippets), strict=True))
    return np.array([of[text] for text in texts], np.float32)


def corpus(cache: Path, data_seed: int) -> list[str]:
    """The snippets that are in no item of feedback or final."""
    return untested(fetch(cache), _drawn(cache, data_seed))


PROBLEMS.add("small-chat")(
    Problem(
        name="small-chat",
        version="2",
        card=f"{CARD} {SELECTED}",
        id_source=ID_SOURCE,
        ood_source=OOD_SOURCE,
        build=build,
        corpus=corpus,
        zero_shot=KnownLogits(WEIGHTS_SHA256, known_logits),
    )
)
