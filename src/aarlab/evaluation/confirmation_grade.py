"""Grading of one target of a confirmation: answers of the method and of tuned naive -> a `TargetResult`.

Legend: S seeds, M items of a target in the order of their sorted ids.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.intervals import accuracy_measure, pgr_measure
from aarlab.evaluation.answers import load_answers
from aarlab.evaluation.confirmation_record import ABLATED, Target, TargetResult
from aarlab.evaluation.detectors.judged import student_free_p
from aarlab.evaluation.grade import answer_matrix
from aarlab.evaluation.packed import Packed
from aarlab.evaluation.verdict import against_votes, paired_effect, remainder, teacherless_p

Outcome = Mapping[str, Any]  # {"method": by seed, "naive": by seed}, or {"error": words}
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Graded:
    """A graded target. `answers_SM` and `truth_M` are None where the code failed."""

    result: TargetResult
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    answers_SM: Bools | None = None
    truth_M: Bools | None = None


def grade_target(target: Target, outcome: Outcome, seeds: tuple[int, ...], *, whole: Mapping[str, float]) -> Graded:
    """What came of a target. `whole`: by split, what the method scores there with teacher and student, as far as known."""
    about = {"name": target.name, "kind": target.kind, "split": target.split, "seeds": seeds, **_card(Path(target.folder))}
    if "error" in outcome:
        return Graded(TargetResult(**about, failure=str(outcome["error"])[:2000]))
    labels = load_answers(Path(target.folder))[target.split]
    ids = sorted(labels)
    truth_M = np.array([labels[i] == 1 for i in ids])
    names = ["method", "naive"] if target.compared else ["method"]
    try:
        answers = {name: answer_matrix(_by_seed(outcome.get(name, {})), ids, seeds) for name in names}
    except InvalidSubmission as error:  # what it answered here is no answer: its code failed
        return Graded(TargetResult(**about, failure=str(error)[:2000]))
    packed = [Packed(target.name, seeds, rows_SM) for rows_SM in answers.values()]
    stored = dict(zip(names, (p.name for p in packed), strict=True))
    figures = _figures(target, {name: rows_SM == truth_M for name, rows_SM in answers.items()}, whole.get(target.split))
    result = TargetResult(**about, **figures, predictions=stored)
    return Graded(result, {p.name: p.data for p in packed}, answers["method"], truth_M)


def _figures(target: Target, correct: Mapping[str, Bools], whole: float | None) -> dict[str, Any]:
    method_SM = correct["method"]
    if target.kind in ABLATED:  # a PGR would mean nothing: there is no teacher, or no student
        p = student_free_p(method_SM) if target.kind == "ablated" else teacherless_p(method_SM)
        left = remainder(method_SM, whole=whole, p=p)
        return {"accuracy": left.accuracy, "remainder": left}
    with np.load(Path(target.folder) / "private" / "anchors.npz") as anchors:
        ends = {f"{end}_SM": anchors[f"{target.split}_{end}_SM"] for end in ("weak", "ceiling")}
    figures: dict[str, Any] = {"accuracy": accuracy_measure(method_SM)}
    try:
        figures["pgr"] = pgr_measure(method_SM, **ends)
    except Misconfigured:  # that draw leaves no gap: PGR is unknown there
        figures["pgr"] = None
    if target.compared:
        figures |= {"naive": accuracy_measure(correct["naive"]), "effect": paired_effect(method_SM, correct["naive"])}
    if target.kind == "final":
        figures["voted"] = against_votes(method_SM, correct["naive"], **ends)
    return figures


def _card(folder: Path) -> dict[str, str]:
    card = json.loads((folder / "public" / "problem.json").read_text())
    return {
        "problem": f"{card['name']} v{card['version']}, data seed {card['data_seed']}",
        "student": card.get("student", ""),
    }


def _by_seed(predictions: Mapping[str, Any]) -> dict[int, Any]:
    try:
        return {int(seed): given for seed, given in predictions.items()}
    except ValueError as error:
        raise InvalidSubmission(f"Seeds must be whole numbers, got {sorted(predictions)[:3]}.") from error
