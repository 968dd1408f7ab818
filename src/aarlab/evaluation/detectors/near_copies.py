"""Label probing by vectors that use no seed: submissions that differ from an earlier one in very
few answers, or in answers that nobody doubts.

Whoever reads labels off scores asks about a base with a few answers changed (single flips, groups,
detecting matrices, hill climbing). An honest change of a method without seeds moves answers that
are a toss-up; a probe moves those that it asks about. (Submissions whose seeds disagree are
`reused_runs`' matter.) The nearest is looked for among the latest of anybody.

Legend: S seeds, M items.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.chains import Chain, Recent
from aarlab.evaluation.detectors.contract import Context, Detector, Submitted, Suspicion, detector
from aarlab.evaluation.detectors.reused_runs import LEAST, expected_distance

NEAR, NEAR_ITEMS = (
    0.005,
    2,
    # share of answers that differ, or so many items on all seeds (a small problem has no smaller
    # share)
)
SMALL = 0.1  # up to this share a change counts as well if it ignores what the fleet is unsure of
# changed items that a pair needs to be judged by, and submissions that the fleet's margins need
FEW, SETTLED = 10, 10
BLIND, ANY = 6, 12  # links of a chain: when the changes ignore the fleet's doubts, and in any case
MEMORY = 50  # submissions over which the fleet's margins are averaged
NULL_SD = 12**-0.5  # of a uniform rank


@detector("label probing")
class NearCopies(Detector):
    """Vectors without seeds that copy an earlier one of anybody but for very few items, or for
    items that nobody doubts.

    What they read: Whitehill 2017, arXiv:1707.01825.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._recent = Recent()
        self._mean_M, self._seen = np.full(len(context.ids), 0.5), 0

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Link the latest to its nearest predecessor; speak when the chain is long."""
        chain = None
        if expected_distance(latest) < LEAST:
            chain = self._linked(latest)
            self._recent.remember(latest.planes_W, latest, chain)
        self._seen += 1
        self._mean_M += (latest.counts_M / len(latest.answers_SM) - self._mean_M) / min(
            self._seen + 1, MEMORY
        )
        if chain and chain.links >= (BLIND if _blind(chain.ranks, chain.changed) else ANY):
            yield _suspicion(latest, chain)

    def _linked(self, latest: Submitted) -> Chain | None:
        found = self._recent.nearest(latest.planes_W)
        if found is None or found[1] > SMALL * latest.answers_SM.size:
            return None
        place, apart = found
        if apart == 0:  # the same question again gives nothing new
            return self._recent.chain(place)
        changed_M = _changed(self._recent.bits(place) ^ latest.planes_W, latest.answers_SM.shape)
        changed, ranks = int(changed_M.sum()), float(self._ranks_M()[changed_M].sum())
        judged = self._seen >= SETTLED and changed >= FEW and _blind(ranks, changed)
        near = max(NEAR * latest.answers_SM.size, NEAR_ITEMS * len(latest.answers_SM))
        if apart > near and not judged:
            return None
        return self._recent.link(place, latest, changed=changed, ranks=ranks)

    def _ranks_M(self) -> NDArray[np.float64]:
        """How sure the fleet is of each item, as a rank in 0..1."""
        sure_M = np.abs(self._mean_M - 0.5)
        _, which_M, counts = np.unique(sure_M, return_inverse=True, return_counts=True)
        # equal ones share the mean of their ranks
        return (np.cumsum(counts) - counts / 2)[which_M] / len(sure_M)


def _changed(planes_W: NDArray[np.uint64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    s, m = shape
    return np.unpackbits(planes_W.view(np.uint8), count=s * m).reshape(s, m).max(axis=0) > 0


def _blind(ranks: float, changed: int) -> bool:
    """Are the changed answers no likelier than others to be doubted? (No by two standard
    errors.)"""
    return ranks / changed >= 0.5 - 2 * NULL_SD / changed**0.5


def _suspicion(latest: Submitted, chain: Chain) -> Suspicion:
    rank, size = chain.ranks / chain.changed, chain.changed / chain.links
    doubts = (
        "ignoring which items the fleet is unsure of"
        if _blind(chain.ranks, chain.changed)
        else "on items it is unsure of"
    )
    words = (
        f"{chain.links} submissions {chain.by} since {chain.first} are copies of an earlier one "
        f"with {size:.1f} items changed on average, {doubts} (mean rank of the fleet's margin "
        f"{rank:.2f}; 0.5 by chance)"
    )
    figures = {"links": chain.links, "submitters": len(chain.who), "changed": size, "rank": rank}
    return Suspicion(latest.who, chain.first, words, tuple(chain.receipts), figures)
