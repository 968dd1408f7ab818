"""Random vectors: answers that agree with nobody. Boosting votes such vectors together by what was
reported about each (Blum & Hardt 2015, arXiv:1502.04585, section 5)."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import (
    Context,
    Detector,
    Submitted,
    Suspicion,
    agreement,
    detector,
)

SETTLED = 5  # submissions before the fleet has an opinion
TIMES, RECENT = 3, 24
STANDARD_ERRORS = 3.0
MEMORY = 50


@detector("random answers")
class RandomAnswers(Detector):
    """Three of a submitter's latest submissions agree with the fleet, with naive, with the
    student's own judgement and with each other, as coins would. Variants of one method that works
    no better than coins agree with each other."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._votes_M, self._seen = np.zeros(len(context.ids)), 0
        # by submitter: of each submission by chance that was like none before, its receipt and
        # answers; None of the others
        self._recent: dict[str, deque[tuple[str, NDArray[np.bool_]] | None]] = {}

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Compare with what the fleet answered before."""
        with_fleet = agreement(latest.majority_M, self._votes_M > 0)
        mine = self._recent.setdefault(latest.who, deque(maxlen=RECENT))
        by_chance = self._by_chance(latest, with_fleet)
        new = by_chance and all(self._as_coins(latest, one[1]) for one in mine if one)
        mine.append((latest.receipt, latest.majority_M) if new else None)
        odd = tuple(one[0] for one in mine if one)
        if new and len(odd) >= TIMES:
            words = (
                f"{len(odd)} of the latest {len(mine)} submissions agree with the fleet, and with "
                f"each other, as coins would ({with_fleet:.3f})"
            )
            yield Suspicion(
                latest.who, "coins", words, odd, {"times": len(odd), "agreement": with_fleet}
            )
        if not by_chance:  # noise is no opinion
            self._votes_M += (latest.counts_M / len(latest.answers_SM) - 0.5 - self._votes_M) / min(
                self._seen + 1, MEMORY
            )
            self._seen += 1

    def _by_chance(self, latest: Submitted, with_fleet: float) -> bool:
        known = (self.context.naive_M, self.context.judged_M)
        return (
            self._seen >= SETTLED
            and abs(with_fleet - 0.5) < self._band
            and all(self._as_coins(latest, some_M) for some_M in known if some_M is not None)
        )

    def _as_coins(self, latest: Submitted, other_M: NDArray[np.bool_]) -> bool:
        return abs(agreement(latest.majority_M, other_M) - 0.5) < self._band

    @property
    def _band(self) -> float:
        return STANDARD_ERRORS * 0.5 / len(self.context.ids) ** 0.5
