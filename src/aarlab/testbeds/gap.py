"""Accuracy and PGR of graded answers against a testbed's anchors."""

import numpy as np
from numpy.typing import NDArray

from aarlab.core.intervals import accuracy_measure, gap_measure, pgr_if_gap
from aarlab.core.pgr import NOTHING, gap_trouble
from aarlab.core.records import Measure, Record
from aarlab.evaluation.scoring.hidden_labels import load_answers, load_unit_numbers
from aarlab.testbeds.testbed import Testbed

Correct = NDArray[np.bool_]


class Anchors(Record):
    """The weak accuracy and the ceiling on one split: PGR 0 and PGR 1."""

    weak: Measure  # accuracy of the weak teacher
    ceiling: Measure  # accuracy of the student trained on true labels
    gap: Measure | None = None  # between them, paired over items; None in old reports

    @property
    def word(self) -> str:
        """A warning to print after each PGR on this split, or ""."""
        return f", {NOTHING}" if self.gap is not None and self.gap.lower <= 0 else ""


class Score(Record):
    """Accuracy and PGR of one thing on one split."""

    accuracy: Measure
    pgr: Measure | None  # None where the anchors leave no gap
    # ceiling minus weak accuracy; if it may be 0, the PGR carries no information
    gap: Measure | None = None


class AnchorScores:
    """Accuracy and PGR against a testbed's anchors, split by split."""

    def __init__(self, testbed: Testbed) -> None:
        with np.load(testbed.anchors) as stored:
            self._anchors = {name: stored[name] for name in stored.files}
        answers = load_answers(testbed.folder)
        self._units = {
            split: load_unit_numbers(testbed.folder, split, sorted(answers[split]))
            for split in self._splits
        }

    def score(self, split: str, correct_SM: Correct) -> Score:
        """The accuracy and PGR of graded answers (S seeds, M items) on that split."""
        return Score(
            accuracy=accuracy_measure(correct_SM, self._units[split]),
            pgr=pgr_if_gap(correct_SM, **self._accuracies(split), units_M=self._units[split]),
            gap=self._gap(split),
        )

    def anchors(self, split: str) -> Anchors:
        """The anchors of that split, with intervals over items and seeds."""
        anchors = self._accuracies(split)
        weak, ceiling = (
            accuracy_measure(anchors["weak_SM"], self._units[split]),
            accuracy_measure(anchors["ceiling_SM"], self._units[split]),
        )
        return Anchors(weak=weak, ceiling=ceiling, gap=self._gap(split))

    @property
    def troubles(self) -> list[str]:
        """One sentence for each split whose PGR carries no information."""
        return [
            trouble for split in self._splits if (trouble := gap_trouble(self._gap(split), split))
        ]

    @property
    def _splits(self) -> list[str]:
        return [name.removesuffix("_weak_SM") for name in self._anchors if "_weak_SM" in name]

    def _accuracies(self, split: str) -> dict[str, Correct]:
        return {f"{end}_SM": self._anchors[f"{split}_{end}_SM"] for end in ("weak", "ceiling")}

    def _gap(self, split: str) -> Measure:
        return gap_measure(**self._accuracies(split), units_M=self._units[split])
