"""Predictions x answers -> correctness, matched by id. No message here depends on a label.

A seed's answers are a map {item id: 0 or 1}, or, shorter, a string of 0s and 1s in the order of the
sorted ids. A string says of no answer whose it is, so it is read only where every order that a
sender can mean is the same: see `takes_strings`.

Legend: S seeds, M items in the order of their sorted ids.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.answers import OneSeed
from aarlab.core.errors import InvalidSubmission

Predictions = Mapping[int, OneSeed]  # by seed


def takes_strings(*orders: Sequence[str]) -> bool:
    """Whether a string of answers has one meaning. `orders`: the ids of one split as they stand in
    each file that holds them.

    Senders write a string in the order of the file, of the ids sorted as texts, or, where ids are
    alike but for their numbers (0, 1, ..., 10), of these. In another order than was meant, right
    answers would be graded as chance without a word.
    """
    by_text = sorted(orders[0])
    alike = len({re.sub(r"\d+", "0", i) for i in by_text}) == 1
    by_number = (
        sorted(by_text, key=lambda i: [int(n) for n in re.findall(r"\d+", i)]) if alike else by_text
    )
    return all(list(order) == by_text for order in (*orders, by_number))


def answer_matrix(
    predictions: Predictions, ids: Sequence[str], seeds: Sequence[int], *, strings: bool = True
) -> NDArray[np.bool_]:
    """The submitted answers as an array (S, M), rows in the order of `seeds`, columns in the order
    of `ids`, which are sorted. `strings`: whether they are read (`takes_strings`).

    Raises:
        InvalidSubmission: seeds or ids are missing or unknown, or an answer is not the integer 0 or
            1.
    """
    if set(predictions) != set(seeds):
        raise InvalidSubmission(
            f"Answers are needed for exactly the issued seeds {sorted(seeds)}, got "
            f"{sorted(predictions)}.",
            seeds=sorted(predictions),
        )
    rows = [predictions[seed] for seed in seeds]
    return np.stack(
        [
            _string(row, ids, seed, readable=strings)
            if isinstance(row, str)
            else _row(row, ids, seed)
            for row, seed in zip(rows, seeds, strict=True)
        ]
    )


def _string(given: str, ids: Sequence[str], seed: int, *, readable: bool) -> NDArray[np.bool_]:
    if not readable:
        raise InvalidSubmission(
            f"Seed {seed}: answers without ids have no order here. The items' file, its ids "
            "sorted as texts and by their "
            "numbers are not in one order, and read in another than you meant, right answers "
            "would be graded as chance. Send "
            "{item id: 0 or 1} for each seed (in an .npz, add an array `ids`; a .csv has a column "
            "`id`).",
            seed=seed,
        )
    # "0" becomes 0, "1" becomes 1
    answers = np.frombuffer(given.encode(errors="replace"), np.uint8) ^ ord("0")
    if len(answers) != len(ids) or answers.max(initial=0) > 1:
        raise InvalidSubmission(
            f"Seed {seed}: a string of answers must be {len(ids)} characters, each 0 or 1.",
            seed=seed,
        )
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
            f"Seed {seed}: {len(missing)} of {len(ids)} ids have no answer, e.g. "
            f"'{min(missing)}'. Answer every item.",
            missing=len(missing),
        )
    if unknown := by_id.keys() - wanted:
        raise InvalidSubmission(
            f"Seed {seed}: {len(unknown)} ids are not in this split, e.g. '{min(unknown)[:80]}'. "
            "Answer feedback items only.",
            unknown=len(unknown),
        )
    item, answer = next((i, a) for i, a in by_id.items() if type(a) is not int or a not in (0, 1))
    raise InvalidSubmission(
        f"Seed {seed}: the answer to '{item}' is {str(answer)[:40]}; it must be 0 or 1.", item=item
    )


def grade(
    predictions: Predictions, answers: Mapping[str, int], seeds: Sequence[int]
) -> NDArray[np.bool_]:
    """Which answers are right, shape (S, M).

    Raises:
        InvalidSubmission: see `answer_matrix`.
    """
    ids = sorted(answers)
    return answer_matrix(predictions, ids, seeds) == np.array([answers[i] == 1 for i in ids])
