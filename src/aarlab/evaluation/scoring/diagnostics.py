"""What a submitter learns about its own predictions, at no cost: functions of submitted answers and
of what is published.

No hidden label enters, and neither do the weak teacher's answers to feedback items, which nobody
publishes: a share of agreement with them, to whatever digit, lets a submitter who flips one answer
at a time read them all.

Legend: S seeds, M items.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Diagnostics
from aarlab.evaluation.scoring.differing_bits import DifferingBits
from aarlab.evaluation.scoring.policies import standard_error

WINDOW = 2000  # latest submissions among which the nearest is looked for
NORMAL_95 = 1.96


class Diagnosis:
    """Keeps the latest submissions and the one that holds the level."""

    def __init__(self, start_M: NDArray[np.bool_] | None, n: int) -> None:
        """`start_M`: the public baseline's majority answers, which the level starts from; `n`:
        independent items."""
        self._n, self._incumbent_M = n, start_M
        self._recent: NDArray[np.uint64] | None = None  # (WINDOW, words)
        self._seen = 0
        self._differing = DifferingBits()

    def add(self, answers_SM: NDArray[np.bool_], *, improved: bool) -> None:
        """A submission was answered."""
        words = _words(answers_SM)
        if self._recent is None:
            self._recent = np.zeros((WINDOW, len(words)), np.uint64)
        self._recent[self._seen % WINDOW] = words
        self._seen += 1
        if improved:
            self._incumbent_M = _majority(answers_SM)

    def of(self, answers_SM: NDArray[np.bool_]) -> Diagnostics:
        """Diagnostics of a submission that was not read yet."""
        share, majority_M = np.count_nonzero(answers_SM) / answers_SM.size, _majority(answers_SM)
        return Diagnostics(
            class_share=round(share, 4),
            seed_disagreement=round(
                np.count_nonzero(answers_SM != majority_M) / answers_SM.size, 4
            ),
            nearest_earlier=self._nearest(answers_SM),
            noise_accuracy=round(self._noise(majority_M), 4),
            warnings=tuple(self._warnings(share, answers_SM)),
        )

    def _nearest(self, answers_SM: NDArray[np.bool_]) -> float | None:
        if self._recent is None:
            return None
        apart = self._differing.of(self._recent, self._seen, _words(answers_SM))
        return round(int(apart.min()) / answers_SM.size, 4)

    def _noise(self, majority_M: NDArray[np.bool_]) -> float:
        """1.96 standard errors of a paired difference between methods that differ on a share d of
        the items: sqrt(d / n)."""
        differ = (
            0.5 if self._incumbent_M is None else float((majority_M != self._incumbent_M).mean())
        )
        return NORMAL_95 * math.sqrt(max(differ, 1 / self._n) / self._n)

    def _warnings(self, share: float, answers_SM: NDArray[np.bool_]) -> list[str]:
        warnings = []
        if not 0.03 < share < 0.97:
            warnings.append("Nearly all answers are the same.")
        if len(answers_SM) > 1 and (answers_SM == answers_SM[0]).all():
            warnings.append("All seeds answer the same: does the method use its seed?")
        return warnings


@dataclass(frozen=True)
class UnitDiagnosis:
    """Of submissions that are no answers to items: the noise alone, that of n unit scores in [0, 1]
    which spread as widely as they can."""

    n: int

    def add(self, answers_SM: NDArray[np.bool_], *, improved: bool) -> None:
        """Nothing of an earlier submission is compared."""

    def of(self, answers_SM: NDArray[np.bool_]) -> Diagnostics:
        """See the class."""
        del answers_SM
        return Diagnostics(noise_accuracy=round(NORMAL_95 * standard_error(self.n), 4))


def _majority(answers_SM: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return 2 * answers_SM.view(np.uint8).sum(axis=0, dtype=np.uint32) > len(answers_SM)


def _words(answers_SM: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The answers, packed into 64-bit words."""
    bits = np.packbits(answers_SM)
    return np.concatenate([bits, np.zeros(-len(bits) % 8, np.uint8)]).view(np.uint64)
