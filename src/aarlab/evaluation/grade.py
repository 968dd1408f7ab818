"""Predictions x answers -> correctness, matched by id. No message here depends on a label.

A seed's answers are a map {item id: 0 or 1}, or, shorter, a string of 0s and 1s in the order of the sorted ids.

Legend: S seeds, M items in the order of their sorted ids.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission

OneSeed = Mapping[str, int] | str
Predictions = Mapping[int, OneSeed]  # by seed


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
    return np.stack(
        [_string(given, ids, seed) if isinstance(given := predictions[seed], str) else _row(given, ids, seed) for seed in seeds]
    )


def _string(given: str, ids: Sequence[str], seed: int) -> NDArray[np.bool_]:
    answers = np.frombuffer(given.encode(errors="replace"), np.uint8) ^ ord("0")  # "0" becomes 0, "1" becomes 1
    if len(answers) != len(ids) or answers.max(initial=0) > 1:
        raise InvalidSubmission(f"Seed {seed}: a string of answers must be {len(ids)} characters, each 0 or 1.", seed=seed)
    return answers.astype(np.bool_)


def _row(by_id: Mapping[str, int], ids: Sequence[str], seed: int) -> NDArray[np.bool_]:
    answers = list(map(by_id.get, ids))
    if len(by_id) != len(ids) or set(map(type, answers)) - {int} or set(answers) - {0, 1}:
        _refuse(by_id, ids, seed)
    return np.array(answers, dtype=bool)


def _refuse(by_id: Mapping[str, int], ids: Sequence[str], seed: int) -> None:
    """Say what is wrong with one seed's answers."""
    wanted = set(ids)
    if missing := wanted - by_id.keys():
        raise InvalidSubmission(
            f"Seed {seed}: {len(missing)} of {len(ids)} ids have no answer, e.g. '{min(missing)}'. Answer every item.",
            missing=len(missing),
        )
    if unknown := by_id.keys() - wanted:
        raise InvalidSubmission(
            f"Seed {seed}: {len(unknown)} ids are not in this split, e.g. '{min(unknown)[:80]}'. Answer feedback items only.",
            unknown=len(unknown),
        )
    item, answer = next((i, a) for i, a in by_id.items() if type(a) is not int or a not in (0, 1))
    raise InvalidSubmission(f"Seed {seed}: the answer to '{item}' is {str(answer)[:40]}; it must be 0 or 1.", item=item)


def grade(predictions: Predictions, answers: Mapping[str, int], seeds: Sequence[int]) -> NDArray[np.bool_]:
    """Which answers are right, shape (S, M).

    Raises:
        InvalidSubmission: see `answer_matrix`.
    """
    ids = sorted(answers)
    return answer_matrix(predictions, ids, seeds) == np.array([answers[i] == 1 for i in ids])
