"""Random vectors: answers that agree with nobody. Boosting votes such vectors together by what was
reported about each (Blum & Hardt 2015, arXiv:1502.04585, section 5)."""

from collections import deque
from collections.abc import Iterator

import numpy as np

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
    """Three of a submitter's latest submissions agree with the fleet, with naive and with the
    student's own judgement, as coins would."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._votes_M, self._seen = np.zeros(len(context.ids)), 0
        self._recent: dict[str, deque[str]] = {}

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Compare with what the fleet answered before."""
        with_fleet = agreement(latest.majority_M, self._votes_M > 0)
        mine = self._recent.setdefault(latest.who, deque(maxlen=RECENT))
        mine.append(latest.receipt if self._by_chance(latest, with_fleet) else "")
        odd = tuple(receipt for receipt in mine if receipt)
        if mine[-1] and len(odd) >= TIMES:
            words = (
                f"{len(odd)} of the latest {len(mine)} submissions agree with the fleet as coins "
                f"would ({with_fleet:.3f})"
            )
            yield Suspicion(
                latest.who, "coins", words, odd, {"times": len(odd), "agreement": with_fleet}
            )
        if not mine[-1]:  # noise is no opinion
            self._votes_M += (latest.counts_M / len(latest.answers_SM) - 0.5 - self._votes_M) / min(
                self._seen + 1, MEMORY
            )
            self._seen += 1

    def _by_chance(self, latest: Submitted, with_fleet: float) -> bool:
        band = STANDARD_ERRORS * 0.5 / len(self.context.ids) ** 0.5
        known = (self.context.naive_M, self.context.judged_M)
        others = [agreement(latest.majority_M, some_M) for some_M in known if some_M is not None]
        return self._seen >= SETTLED and all(abs(a - 0.5) < band for a in (with_fleet, *others))
