"""Grading of one target of a confirmation: answers of the method and of tuned naive -> a
`TargetResult`.

Legend: S seeds, M items of a target in the order of their sorted ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.answers import by_seed
from aarlab.core.crossed import UnitNumbers
from aarlab.core.errors import InvalidSubmission
from aarlab.core.intervals import accuracy_measure, pgr_if_gap
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.strict_json import read_json
from aarlab.evaluation.confirmation.confirmation_record import ABLATED, TargetResult
from aarlab.evaluation.confirmation.run_order import CodeFailed, Ran, RunAnswers, Target
from aarlab.evaluation.confirmation.verdict import (
    Bools,
    Failed,
    Reproduction,
    SplitGap,
    against_votes,
    paired_effect,
    remainder,
    reproduction,
    split_gap,
    teacherless_p,
)
from aarlab.evaluation.detectors.judged import student_free_p
from aarlab.evaluation.scoring.grade import answer_matrix
from aarlab.evaluation.scoring.hidden_labels import load_answers, load_unit_numbers
from aarlab.evaluation.scoring.packed import Packed


@dataclass(frozen=True)
class GradedTarget:
    """A graded target. `answers_SM` and `truth_M` are None where the code failed."""

    result: TargetResult
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    answers_SM: Bools | None = None
    truth_M: Bools | None = None
    units_M: UnitNumbers | None = None  # which items share a label


def grade_target(
    target: Target, outcome: Ran, seeds: tuple[int, ...], *, whole: Mapping[str, float]
) -> GradedTarget:
    """What came of a target. `whole`: by split, what the method scores there with teacher and
    student, as far as known.

    Raises:
        InvalidSubmission: tuned naive was not run beside, or gave no answers.
    """
    about = {
        "name": target.name,
        "kind": target.kind,
        "split": target.split,
        "seeds": seeds,
        **_card(target.folder),
    }
    labels = load_answers(target.folder)[target.split]
    ids = sorted(labels)
    units_M = load_unit_numbers(target.folder, target.split, ids)
    method = run_answers(outcome, ids, seeds)
    if isinstance(method, tuple):
        return GradedTarget(TargetResult(**about, failure=method[1]))
    answers = {"method": method}
    if target.compared and isinstance(outcome, RunAnswers):
        answers["naive"] = answer_matrix(by_seed(outcome.naive or {}), ids, seeds)
    truth_M = np.array([labels[i] == 1 for i in ids])
    place = target.split if target.kind == "component" else target.name
    packed = {name: Packed(place, seeds, rows_SM) for name, rows_SM in answers.items()}
    figures = _figures(
        target,
        {name: rows_SM == truth_M for name, rows_SM in answers.items()},
        units_M,
        whole.get(target.split),
    )
    result = TargetResult(
        **about, **figures, predictions={name: p.name for name, p in packed.items()}
    )
    return GradedTarget(result, {p.name: p.data for p in packed.values()}, method, truth_M, units_M)


def run_answers(outcome: Ran, ids: Sequence[str], seeds: tuple[int, ...]) -> Bools | Failed:
    """Answers (S, M) of a run, or how the code failed."""
    if isinstance(outcome, CodeFailed):
        return outcome.failure, outcome.words[:2000]
    try:
        return answer_matrix(by_seed(outcome.method), ids, seeds)
    except InvalidSubmission as error:  # what it answered here is no answer: its code failed
        return "answers of the wrong shape", str(error)[:2000]


def _figures(
    target: Target, correct: Mapping[str, Bools], units_M: UnitNumbers, whole: float | None
) -> dict[str, Any]:
    method_SM = correct["method"]
    if target.kind in ABLATED:  # a PGR would mean nothing: there is no teacher, or no student
        test = student_free_p if target.kind == "ablated" else teacherless_p
        left = remainder(method_SM, whole=whole, p=test(method_SM, units_M), units_M=units_M)
        return {"accuracy": left.accuracy, "remainder": left}
    with np.load(TestbedFolder(target.folder).anchors) as anchors:
        ends = {f"{end}_SM": anchors[f"{target.split}_{end}_SM"] for end in ("weak", "ceiling")}
    figures: dict[str, Any] = {
        "accuracy": accuracy_measure(method_SM, units_M),
        "pgr": pgr_if_gap(method_SM, **ends, units_M=units_M),
    }
    if target.compared:
        figures |= {
            "naive": accuracy_measure(correct["naive"], units_M),
            "effect": paired_effect(method_SM, correct["naive"], units_M),
        }
    if target.kind == "final":
        figures["voted"] = against_votes(method_SM, correct["naive"], **ends, units_M=units_M)
    return figures


def _card(folder: Path) -> dict[str, str]:
    card = read_json(PublicFolder(TestbedFolder(folder).public).card)
    return {
        "problem": f"{card['name']} v{card['version']}, data seed {card['data_seed']}",
        "student": card.get("student", ""),
    }


def compared(
    submitted_SM: Bools, best_of: int, graded: Sequence[GradedTarget]
) -> tuple[Reproduction | None, SplitGap | None]:
    """What was submitted, the best of so many, against the re-runs on feedback; and these, which
    are on fresh seeds, against those on final, so that seeds that were lucky for the claim say
    nothing there. Each None where there are no answers now."""
    of = {
        g.result.kind: (g.answers_SM, g.truth_M, g.units_M)
        for g in graded
        if g.answers_SM is not None and g.truth_M is not None
    }
    if "feedback" not in of:
        return None, None
    again = reproduction(submitted_SM, *of["feedback"][:2], best_of=best_of)
    if "final" not in of:
        return again, None
    both = [of[split] for split in ("feedback", "final")]
    right = (answers_SM == truth_M for answers_SM, truth_M, _ in both)
    return again, split_gap(*right, best_of=best_of, units=(both[0][2], both[1][2]))
