"""How submissions to a problem become scores on the scale of its meter: by hidden labels, or by the
unit scores of an author's grader.

Legend: S seeds, M feedback items or units.
"""

import math
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import TestbedFolder
from aarlab.core.objectives import changes, combined, mcdiarmid_n, normalised
from aarlab.evaluation.scoring.diagnostics import Diagnosis, UnitDiagnosis
from aarlab.evaluation.scoring.grade import takes_strings
from aarlab.evaluation.scoring.graded_units import GradedUnits, graded_units
from aarlab.evaluation.scoring.hidden_labels import (
    PgrScale,
    load_answers,
    load_naive_answers,
    load_pgr_scale,
    load_units,
    published_ids,
)
from aarlab.evaluation.scoring.packed import Packed, unpack
from aarlab.evaluation.scoring.policies import FINE
from aarlab.evaluation.scoring.served_problem import ServedProblem, served_problem
from aarlab.evaluation.scoring.units import Units

Handed = Packed | GradedUnits  # a submission as it is stored


class Marking(Protocol):
    """What an evaluator knows of a problem's hidden side."""

    ids: list[str]  # of the feedback items or units
    units: Units
    pgr_scale: PgrScale

    def exact(self, handed: Handed) -> float:
        """The exact score on the meter's scale, over units and seeds."""
        ...

    def diagnosis(self) -> Diagnosis | UnitDiagnosis:
        """What a submitter may know at no cost."""
        ...


class LabelMarking:
    """Answers 0 and 1 to items with hidden labels. The scale is accuracy."""

    def __init__(self, problem: Path) -> None:
        """Raises Misconfigured where labels, anchors or groups cannot be read."""
        self.answers = load_answers(problem, "feedback")
        self.ids = sorted(self.answers["feedback"])
        self.units = load_units(problem, "feedback", self.ids)
        self.pgr_scale = load_pgr_scale(problem).released(self.units.items)
        hidden = list(self.answers["feedback"])
        self.strings = takes_strings(hidden, published_ids(problem, "feedback") or hidden)
        self._truth_M = np.array([self.answers["feedback"][i] == 1 for i in self.ids])
        self.naive_M = load_naive_answers(problem, self._truth_M)

    def exact(self, handed: Handed) -> float:
        """See `Marking`; Python's own float, whichever number numpy counts with."""
        answers_SM: NDArray[np.bool_] = handed.answers_SM
        return int(np.count_nonzero(answers_SM == self._truth_M)) / answers_SM.size

    def diagnosis(self) -> Diagnosis:
        """See `Marking`."""
        return Diagnosis(self.naive_M, self.units.independent)


class UnitMarking:
    """Unit scores of a problem in a folder. The scale is g f: f the combined normalised score in
    [0, 1] between the floors and ceilings that set-up measured on feedback, g the number with which
    a change of one unit moves g f as it would move a mean of n unit scores.

    f has bounded differences c_u (`core.objectives.changes`), so P(f - E f >= e) <= exp(-2 n' e^2),
    n' = 1 / sum c_u^2 (McDiarmid 1989), for independent units or clusters, floors and ceilings
    held. With g = sqrt(n' / n), n = `Units.independent`, the bound of g f is Hoeffding's of n unit
    scores, and the meter's bounds hold as they stand. Of one objective g is the gap between its
    floor and its ceiling.

    A gate is broken where the mean is worse than its floor by more than its margin; the score is
    then 0. This is part of the one question that the meter answers, so its verdict costs nothing
    more: a "yes" still says that f reached the line.
    """

    def __init__(self, problem: Path) -> None:
        """Raises Misconfigured where set-up left no scale."""
        self.problem: ServedProblem = served_problem(problem)
        units = self.problem.units["feedback"]
        self.ids = list(units)
        self.units = self.problem.counted("feedback")
        gap = self._gap(list(units.values()))
        self.pgr_scale = PgrScale(0.0, gap, 0.0, combined=True).released(self.units.items)

    def _gap(self, clusters: list[str]) -> float:
        ends = (self._ends(o.name) for o in self.problem.climbed)
        gaps = [ceiling - floor for floor, ceiling in ends]
        share = {c: clusters.count(c) / len(clusters) for c in dict.fromkeys(clusters)}
        found = mcdiarmid_n(changes(self.problem.combine, gaps, [share] * len(gaps)))
        grid = FINE * self.units.items  # as set-up releases it; never above what the bound allows
        return math.floor(grid * math.sqrt(found / self.units.independent) + 1e-9) / grid

    def _ends(self, objective: str) -> tuple[float, float]:
        return self.problem.ends[objective]

    def score(self, handed: Handed) -> float:
        """f, the combined score in [0, 1]; 0 where a gate is broken."""
        if not isinstance(handed, GradedUnits):
            raise InvalidSubmission("This problem takes code, and no answers to items.")
        found = []
        for o in self.problem.objectives:
            mean = float(handed.scores[o.name].mean())
            floor, ceiling = self._ends(o.name)
            if o.role == "climb":
                found.append(normalised(mean, floor, ceiling))
            elif o.role == "gate" and mean < floor - o.unit_margin - 1e-12:
                return 0.0
        return combined(self.problem.combine, found)

    def require_feedback(self, graded: GradedUnits, seeds: int) -> None:
        """Raises InvalidSubmission where these are not unit scores of this problem's feedback on
        so many seeds."""
        shape = (seeds, self.problem.trials, len(self.ids))
        fits = graded.split == "feedback" and set(graded.scores) == set(self.problem.ends)
        if not fits or any(table.shape != shape for table in graded.scores.values()):
            raise InvalidSubmission(
                f"The unit scores are not those of {len(self.ids)} feedback units on the issued "
                "seeds. Grade it again."
            )

    def exact(self, handed: Handed) -> float:
        """See `Marking`."""
        return float(self.pgr_scale.ceiling * self.score(handed))

    def diagnosis(self) -> UnitDiagnosis:
        """See `Marking`."""
        return UnitDiagnosis(self.units.independent)


def marking_of(problem: Path) -> LabelMarking | UnitMarking:
    """Of a testbed's folder, or of a problem in a folder that is set up to be served.

    Raises:
        Misconfigured: it is neither.
    """
    return UnitMarking(problem) if TestbedFolder(problem).served.exists() else LabelMarking(problem)


def stored(data: bytes) -> Handed:
    """A submission as it was stored, of either kind."""
    return graded_units(data) if b'"submitted"' in data.partition(b"\n")[0] else unpack(data)
