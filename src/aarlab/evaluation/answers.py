"""The hidden labels and the anchors. Only the evaluator's process, set-up and the report read these files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.pgr import performance_gap_recovered
from aarlab.evaluation.policies import standard_error

Answers = Mapping[str, Mapping[str, int]]  # split -> item id -> 0 or 1


def load_answers(problem: Path, *needed: str) -> Answers:
    """True labels by split and id; `needed` names splits that must have some.

    Raises:
        Misconfigured: the file is missing, unreadable or not what set-up writes.
    """
    path = problem / "private" / "answers.json"
    try:
        answers = json.loads(path.read_text())
        known = isinstance(answers, dict) and all(map(_labels, answers.values()))
        if not (known and (answers.get("feedback") or answers.get("final"))):  # transfer problems have no feedback
            raise ValueError("it does not hold labels 0 and 1 by split and item id, under 'feedback' or 'final'")
        if lacking := [split for split in needed if not answers.get(split)]:
            raise ValueError(f"it holds no label under {lacking}")
    except (OSError, ValueError) as error:
        words = 'or write {"feedback": {item id: 0 or 1}, "final": {item id: 0 or 1}}.'
        raise Misconfigured(f"Cannot read the hidden answers {path}: {error}. Set the testbed up again, {words}") from error
    return {"final": {}} | answers


def _labels(split: object) -> bool:
    return isinstance(split, dict) and all(type(label) is int and label in (0, 1) for label in split.values())


@dataclass(frozen=True)
class Ruler:
    """What turns accuracy on `feedback` into PGR, and where the told level starts."""

    weak: float
    ceiling: float
    start: float  # accuracy of the public naive baseline

    def told(self, n: int) -> "Ruler":
        """The scale on which submitters are told a PGR: its ends are measured on the n hidden labels, so that they are rounded
        to standard errors (and stand at least one apart), and counted in what is released (`set_up_bits`)."""
        step = standard_error(n)
        weak, ceiling = (round(round(end / step) * step, 6) for end in (self.weak, self.ceiling))
        return Ruler(weak, max(ceiling, round(weak + step, 6)), self.start)

    def pgr(self, accuracy: float) -> float:
        """An accuracy on `feedback` as PGR."""
        return performance_gap_recovered(accuracy, weak=self.weak, ceiling=self.ceiling)


def load_ruler(problem: Path) -> Ruler:
    """Mean anchors on `feedback`: from set-up's arrays, or from private/ruler.json where another harness wrote it.

    Raises:
        Misconfigured: anchors or baselines have not been measured.
    """
    stated = problem / "private" / "ruler.json"
    try:
        if stated.exists():
            return _stated(json.loads(stated.read_text()))
        with np.load(problem / "private" / "anchors.npz") as anchors:
            weak, ceiling = (float(anchors[f"feedback_{end}_SM"].mean()) for end in ("weak", "ceiling"))
        with np.load(problem / "private" / "baselines.npz") as baselines:
            start = float(baselines["feedback/naive"].mean())
    except (OSError, KeyError, ValueError, TypeError) as error:
        words = "Set it up with `aar demo` or `aar run`, or write private/ruler.json: {weak, ceiling, start} (accuracies)."
        raise Misconfigured(f"{problem} has no anchors or baselines ({error}). {words}") from error
    return Ruler(weak, ceiling, start)


def _stated(fields: Any) -> Ruler:
    ruler = Ruler(**fields)
    if not all(type(x) in (int, float) and 0 <= x <= 1 for x in (ruler.weak, ruler.ceiling, ruler.start)):
        raise ValueError("private/ruler.json must hold accuracies between 0 and 1")
    performance_gap_recovered(ruler.start, weak=ruler.weak, ceiling=ruler.ceiling)
    return ruler


def load_weak_answers(problem: Path, truth_M: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The weak teachers' majority answers to the feedback items, shape (M,), in the order of sorted ids; None without anchors.

    They follow from the teacher and the items; the labels are needed only because set-up kept which answers were right.
    """
    try:
        with np.load(problem / "private" / "anchors.npz") as anchors:
            correct_SM = anchors["feedback_weak_SM"]
    except FileNotFoundError:
        return None
    return np.where(correct_SM, truth_M, ~truth_M).mean(axis=0) > 0.5
