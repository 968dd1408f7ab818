"""Label probing by changing the answers of a real run: the seeds' disagreement of an earlier
submission, under other answers.

Every new snapshot gets new seeds here, so that which items the seeds split on is drawn again each
time. Changing an item's answers on all seeds leaves the split where it was, however many items are
changed: the minority's size at each item is compared with that of the latest submissions of
anybody, since identities collude.

Legend: S seeds, M items, W words.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from aarlab.evaluation.detectors.chains import Chain, Recent
from aarlab.evaluation.detectors.contract import (
    Context,
    Detector,
    Submitted,
    Suspicion,
    detector,
    packed,
)

TOO_CLOSE = 0.6  # of the distance that fresh seeds of the same program would put between the two
LEAST = 30  # answers that fresh seeds must be expected to move, to judge by
LINKS = 4  # a first few may be an accident of the machine


@detector("re-used run")
class ReusedRuns(Detector):
    """The seeds' disagreement of an earlier submission of anybody, under other answers: a run that
    was edited."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recent = Recent()

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Link the latest to the one of nearest splits; speak when the chain is long."""
        expected = expected_distance(latest)
        if expected < LEAST:
            return  # too little disagreement to know a run by
        splits_W = _splits(latest)
        found, chain = self._recent.nearest(splits_W), None
        if found and found[1] <= TOO_CLOSE * expected:
            chain = self._recent.link(found[0], latest, changed=found[1])
        self._recent.remember(splits_W, latest, chain)
        if chain and chain.links >= LINKS:
            yield _suspicion(latest, chain, expected)


def _splits(latest: Submitted) -> NDArray[np.uint64]:
    """Packed bits whose Hamming distance is the sum over items of |difference of the minority's
    sizes|."""
    s = len(latest.answers_SM)
    minority_M = np.minimum(latest.counts_M, s - latest.counts_M)
    return packed(minority_M > np.arange(s // 2, dtype=np.uint8)[:, None])


def expected_distance(latest: Submitted) -> float:
    """How many answers' splits a re-run with fresh seeds is expected to move, at least."""
    return float(fresh_distances(len(latest.answers_SM)) @ latest.tally)


@cache
def fresh_distances(s: int) -> NDArray[np.float64]:
    """E|Y - Y'| for the minorities Y, Y' of two binomials (s, c / s), for c in 0..s: what a re-run
    of an item that c seeds answer with 1 moves, were c / s its probability. An underestimate, since
    a unanimous item counts as sure."""
    k = np.arange(s + 1)
    minority = np.minimum(k, s - k)
    p = k[:, None] / s
    laws = scipy.special.binom(s, k) * p**k * (1 - p) ** (s - k)
    return np.einsum("ci,ij,cj->c", laws, np.abs(minority[:, None] - minority), laws)


def _suspicion(latest: Submitted, chain: Chain, expected: float) -> Suspicion:
    apart = chain.changed / chain.links
    words = (
        f"{chain.links} submissions {chain.by} since {chain.first} have the seeds' disagreement "
        f"of an earlier one ({apart:.0f} answers of it differ; fresh seeds of the same program "
        f"would move more than {expected:.0f}) under other answers"
    )
    figures = {
        "links": chain.links,
        "submitters": len(chain.who),
        "apart": apart,
        "expected": expected,
    }
    return Suspicion(latest.who, chain.first, words, tuple(chain.receipts), figures)
