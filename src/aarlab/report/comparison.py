"""Two submissions of one campaign against each other: for the operator alone, since it is computed
from exact scores.

Legend: S seeds, M items of a split in the order of their sorted ids.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import Crossed
from aarlab.core.entries import ConfirmationBody, SubmissionBody
from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Measure, Record
from aarlab.evaluation.confirmation.confirmation_record import record_of
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.graded_units import graded_units
from aarlab.evaluation.scoring.hidden_labels import load_unit_numbers
from aarlab.evaluation.scoring.marking import UnitMarking
from aarlab.evaluation.scoring.unit_scores import Measured
from aarlab.runs.served_folder import ServedFolder
from aarlab.testbeds.gap import AnchorScores, Score
from aarlab.testbeds.testbed import Testbed

Correct = NDArray[np.bool_]


class Comparison(Record):
    """Two submissions on one split. Items are the same; seeds are each one's own, unless all are
    the same on both sides, so that what they have in common cancels."""

    split: str
    seeds_shared: bool
    first: Score
    second: Score
    difference: Measure  # accuracy, or the combined score of a problem in a folder; first - second
    p: float  # two-sided, that there is none


def comparisons(
    evaluator: Evaluator, testbed: Testbed | ServedFolder, receipts: tuple[str, str]
) -> list[Comparison]:
    """On feedback, as it was submitted; and on final, where both were confirmed.

    Raises:
        InvalidSubmission: the campaign has no receipt of that name.
    """
    bodies = [_submission(evaluator, receipt) for receipt in receipts]
    compared = (
        partial(_in_folder, evaluator, evaluator.marking)
        if isinstance(evaluator.marking, UnitMarking)
        else partial(_compared, evaluator, testbed)
    )
    found = [compared("feedback", [body.predictions for body in bodies])]
    finals = [_final(evaluator, body.snapshot) for body in bodies]
    if all(finals):
        found.append(compared("final", [str(name) for name in finals]))
    return found


def _in_folder(
    evaluator: Evaluator, marking: UnitMarking, split: str, names: Sequence[str]
) -> Comparison:
    """Combined scores of a problem in a folder, in place of accuracies; floors and ceilings are
    held as set-up measured them on feedback."""
    given = [graded_units(evaluator.ledger.blob(name)) for name in names]
    measured = [Measured(g.scores, {}) for g in given]
    scale, shared = marking.problem.held_scale(split), given[0].seeds == given[1].seeds
    ps = [scale.p_better(*pair, shared=shared) for pair in (measured, measured[::-1])]
    scores = [Score(accuracy=_known(scale.combined(m)), pgr=None) for m in measured]
    return Comparison(
        split=split,
        seeds_shared=shared,
        first=scores[0],
        second=scores[1],
        difference=scale.apart(*measured, shared=shared),
        p=min(1.0, 2 * min(ps)),
    )


def _known(found: Measure | None) -> Measure:
    assert found is not None  # a served problem has a gap
    return found


def _submission(evaluator: Evaluator, receipt: str) -> SubmissionBody:
    for entry in evaluator.ledger.each("submission"):
        body = entry.read(SubmissionBody)
        if body.receipt.id == receipt:
            return body
    raise InvalidSubmission(
        f"The campaign has no receipt '{receipt[:40]}'. `aar ledger log` lists its submissions."
    )


def _final(evaluator: Evaluator, snapshot: str) -> str | None:
    """The stored answers of a snapshot on final, where it was confirmed there."""
    records = [
        record_of(entry)
        for entry in evaluator.ledger.entries("confirmation")
        if entry.read(ConfirmationBody).snapshot == snapshot
    ]
    targets = records[-1].targets if records else ()
    return next((t.predictions.get("method") for t in targets if t.kind == "final"), None)


def _compared(
    evaluator: Evaluator, testbed: Testbed, split: str, stored: Sequence[str]
) -> Comparison:
    labels = evaluator.answers[split]
    given = [evaluator.predictions(name) for name in stored]
    first_SM, second_SM = (grade(answers, labels, sorted(answers)) for answers in given)
    shared = set(given[0]) == set(given[1])
    units_M = load_unit_numbers(evaluator.problem, split, sorted(labels))
    blocks = [np.stack([first_SM, second_SM])] if shared else [first_SM[None], second_SM[None]]
    crossed, apart_C = Crossed(*blocks, units_M=units_M), np.array([1.0, -1.0])
    anchors = AnchorScores(testbed)
    return Comparison(
        split=split,
        seeds_shared=shared,
        first=anchors.score(split, first_SM),
        second=anchors.score(split, second_SM),
        difference=crossed.measure(apart_C),
        p=crossed.p_apart(apart_C),
    )
