"""Answers by seed, as they come in JSON: one reader of the seeds, whoever handed the answers in."""

from collections.abc import Mapping
from typing import TypeVar

from aarlab.core.errors import InvalidSubmission

# item id -> 0 or 1, or a string of 0s and 1s in the order of the sorted ids
OneSeed = Mapping[str, int] | str
Answers = Mapping[str, OneSeed]  # by seed
A = TypeVar("A")


def by_seed(answers: Mapping[str, A]) -> dict[int, A]:
    """The same by the seeds as numbers.

    Raises:
        InvalidSubmission: a seed is no whole number, or is not written plainly: "7" and "07" would
            be one.
    """
    try:
        found = {int(seed): given for seed, given in answers.items()}
    except ValueError as error:
        raise InvalidSubmission(
            f"Seeds must be whole numbers, got {sorted(answers)[:3]}."
        ) from error
    if {str(seed) for seed in found} != set(answers):
        raise InvalidSubmission(f"Seeds must be written plainly, got {sorted(answers)[:8]}.")
    return found
