"""Accuracy and PGR of graded answers against a testbed's anchors."""

import numpy as np
from numpy.typing import NDArray

from aarlab.core.intervals import accuracy_measure, pgr_measure
from aarlab.report.record import Anchors, Score
from aarlab.runs.testbed import Testbed

Correct = NDArray[np.bool_]


class Ruler:
    """Accuracy and PGR against a testbed's anchors, split by split."""

    def __init__(self, testbed: Testbed) -> None:
        with np.load(testbed.private / "anchors.npz") as stored:
            self._anchors = {name: stored[name] for name in stored.files}

    def score(self, split: str, correct_SM: Correct) -> Score:
        """`correct_SM` (S, M) as a Score on that split."""
        pgr = pgr_measure(
            correct_SM, weak_SM=self._anchors[f"{split}_weak_SM"], ceiling_SM=self._anchors[f"{split}_ceiling_SM"]
        )
        return Score(accuracy=accuracy_measure(correct_SM), pgr=pgr)

    def anchors(self, split: str) -> Anchors:
        """The anchors themselves, with intervals over items and seeds."""
        weak, ceiling = (accuracy_measure(self._anchors[f"{split}_{end}_SM"]) for end in ("weak", "ceiling"))
        return Anchors(weak=weak, ceiling=ceiling)
