"""What a submitter learns about its own predictions, at no cost: functions of submitted answers alone, and of no hidden label.

Legend: S seeds, M items.
"""

import math

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Diagnostics

WINDOW = 2000  # latest submissions among which the nearest is looked for
NORMAL_95 = 1.96


class Diagnosis:
    """Keeps the latest submissions and the one that holds the level."""

    def __init__(self, weak_M: NDArray[np.bool_] | None, items: int) -> None:
        self._weak_M, self._items = weak_M, items
        self._incumbent_M: NDArray[np.bool_] | None = weak_M
        self._recent: NDArray[np.uint64] | None = None  # (WINDOW, words)
        self._seen = 0

    def take_up(self, answers_SM: NDArray[np.bool_], *, improved: bool) -> None:
        """A submission was answered."""
        words = _words(answers_SM)
        if self._recent is None:
            self._recent = np.zeros((WINDOW, len(words)), np.uint64)
            self._differ, self._counts = np.empty_like(self._recent), np.empty(self._recent.shape, np.uint8)
        self._recent[self._seen % WINDOW] = words
        self._seen += 1
        if improved:
            self._incumbent_M = _majority(answers_SM)

    def of(self, answers_SM: NDArray[np.bool_]) -> Diagnostics:
        """Diagnostics of a submission that was not taken up yet."""
        share, majority_M = np.count_nonzero(answers_SM) / answers_SM.size, _majority(answers_SM)
        weak = None if self._weak_M is None else round(np.count_nonzero(majority_M == self._weak_M) / majority_M.size, 2)
        return Diagnostics(
            class_share=round(share, 4),
            seed_disagreement=round(np.count_nonzero(answers_SM != majority_M) / answers_SM.size, 4),
            nearest_earlier=self._nearest(answers_SM),
            weak_agreement=weak,
            noise_accuracy=round(self._noise(majority_M), 4),
            warnings=tuple(self._warnings(share, answers_SM)),
        )

    def _nearest(self, answers_SM: NDArray[np.bool_]) -> float | None:
        if self._recent is None:
            return None
        rows = slice(0, self._seen)
        differ = np.bitwise_xor(self._recent[rows], _words(answers_SM), out=self._differ[rows])
        counts = np.bitwise_count(differ, out=self._counts[rows])
        return round(int(np.einsum("ij->i", counts, dtype=np.uint32, casting="unsafe").min()) / answers_SM.size, 4)

    def _noise(self, majority_M: NDArray[np.bool_]) -> float:
        """1.96 standard errors of a paired difference between two methods that differ on a share d of n items: sqrt(d / n)."""
        differ = 0.5 if self._incumbent_M is None else np.count_nonzero(majority_M != self._incumbent_M) / self._items
        return NORMAL_95 * math.sqrt(max(differ, 1 / self._items) / self._items)

    def _warnings(self, share: float, answers_SM: NDArray[np.bool_]) -> list[str]:
        warnings = []
        if not 0.03 < share < 0.97:
            warnings.append("Nearly all answers are the same.")
        if len(answers_SM) > 1 and (answers_SM == answers_SM[0]).all():
            warnings.append("All seeds answer the same: does the method use its seed?")
        return warnings


def _majority(answers_SM: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return 2 * answers_SM.view(np.uint8).sum(axis=0, dtype=np.uint32) > len(answers_SM)


def _words(answers_SM: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The answers, packed into 64-bit words."""
    bits = np.packbits(answers_SM)
    return np.concatenate([bits, np.zeros(-len(bits) % 8, np.uint8)]).view(np.uint64)
