"""Predictions x answers -> correctness, matched by id. No message here depends on a label.

Legend: S seeds, M items in the order of their sorted ids.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission

Predictions = Mapping[int, Mapping[str, int]]  # seed -> item id -> 0 or 1


def answer_matrix(predictions: Predictions, ids: Sequence[str], seeds: Sequence[int]) -> NDArray[np.bool_]:
    """The submitted answers as an array (S, M), rows in the order of `seeds`, columns in the order of `ids`.

    Raises:
        InvalidSubmission: seeds or ids are missing or unknown, or an answer is not the integer 0 or 1.
    """
    if set(predictions) != set(seeds):
        raise InvalidSubmission(
            f"Answers are needed for exactly the issued seeds {sorted(seeds)}, got {sorted(predictions)}.",
            seeds=sorted(predictions),
        )
    return np.array([_row(predictions[seed], ids, seed) for seed in seeds])


def _row(by_id: Mapping[str, int], ids: Sequence[str], seed: int) -> list[bool]:
    wanted = set(ids)
    if missing := wanted - by_id.keys():
        raise InvalidSubmission(
            f"Seed {seed}: {len(missing)} of {len(ids)} ids have no answer, e.g. '{min(missing)}'. Answer every item.",
            missing=len(missing),
        )
    if unknown := by_id.keys() - wanted:
        raise InvalidSubmission(
            f"Seed {seed}: {len(unknown)} ids are not in this split, e.g. '{min(unknown)}'. Answer the feedback items only.",
            unknown=len(unknown),
        )
    for item, answer in by_id.items():
        if type(answer) is not int or answer not in (0, 1):
            raise InvalidSubmission(f"Seed {seed}: the answer to '{item}' is {answer!r}; it must be 0 or 1.", item=item)
    return [by_id[i] == 1 for i in ids]


def grade(predictions: Predictions, answers: Mapping[str, int], seeds: Sequence[int]) -> NDArray[np.bool_]:
    """Which answers are right, shape (S, M).

    Raises:
        InvalidSubmission: see `answer_matrix`.
    """
    ids = sorted(answers)
    return answer_matrix(predictions, ids, seeds) == np.array([answers[i] == 1 for i in ids])
