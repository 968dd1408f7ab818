"""The contract of a method: (items, weak labels, strong model, seed) -> predictions. It cannot name
a true label.

Legend: N student items, M test items, D hidden width. The strong model's hidden states are given;
its trainable head is `aarlab.models.head_training`. What a method gets has no field with a true
label.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.core.registry import Registry
from aarlab.models.student_contract import Strong

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """Items with the strong model's features. An item is a pair (which answer is better?) or a
    single choice (is it right?). A single choice is compared with the average choice of the
    student split, so that arrays always have the shape of pairs."""

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]  # (first, second) of a pair, or (choice,)
    hidden: Mapping[int, NDArray[np.float16]]  # layer -> (N, 2, D), z-scored over the student split
    zero_shot_logit_N2: NDArray[np.float32]  # zero-shot logit of each choice, uncalibrated

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def zero_shot_logit_N(self) -> Array:
        """Zero-shot logit that the label is 1 (uncalibrated), shape (N,)."""
        return (self.zero_shot_logit_N2[:, 1] - self.zero_shot_logit_N2[:, 0]).astype(np.float64)

    @property
    def favour_N2(self) -> NDArray[np.float32]:
        """`zero_shot_logit_N2` under the name that code submitted to version 0.1.0 uses."""
        return self.zero_shot_logit_N2

    @property
    def favour_N(self) -> Array:
        """`zero_shot_logit_N` under the name that code submitted to version 0.1.0 uses."""
        return self.zero_shot_logit_N


@dataclass(frozen=True)
class Task:
    """The input of a method. `weak_probs_N` and `critic_probs_N` are probabilities that the
    label is 1 (`second` is better, or the choice is right): those of the weak teacher alone, and
    those of the teacher that has read the strong model's judgement. `strong` is a strong model
    that can be fine-tuned; it is None if the student is frozen, and then a head on its hidden
    states is trained."""

    student: Inputs
    test: Inputs
    weak_probs_N: Array
    critic_probs_N: Array
    strong: Strong | None = None


STUDENT_SHARE = 0.8  # of the student split that a seed draws, for the ceiling and for every method


def student_rows(pairs: int, seed: int, share: float = STUDENT_SHARE) -> NDArray[np.intp]:
    """The rows of the student items that a seed draws, sorted. They are the same for every
    method."""
    return np.sort(np.random.default_rng(seed).permutation(pairs)[: round(share * pairs)])


RunMethod = Callable[[Task, int], Array]


@dataclass(frozen=True)
class Method:
    """A named method: `run(task, seed)` returns the probability of label 1 for `task.test`, shape
    (M,)."""

    name: str
    family: Family
    cites: str
    run: RunMethod


METHODS: Registry[Method] = Registry("method")


def method(name: str, *, family: Family, cites: str) -> Callable[[RunMethod], RunMethod]:
    """Register `run(task, seed) -> (M,)` under `name`, with the paper that it comes from."""

    def register(run: RunMethod) -> RunMethod:
        METHODS.add(name)(Method(name, family, cites, run))
        return run

    return register


def check_output(probs_M: object, items: int) -> Array:
    """Check a method's output and return it as an array of M probabilities.

    Raises:
        InvalidSubmission: the output is not M finite numbers in 0..1; the message says why.
    """
    try:
        array_M = np.asarray(probs_M, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidSubmission(
            f"The method must return {items} numbers, got {type(probs_M).__name__}."
        ) from error
    if array_M.shape != (items,):
        raise InvalidSubmission(
            f"The method must return one number for each of {items} test items, got "
            f"{array_M.shape}."
        )
    if not np.isfinite(array_M).all():
        raise InvalidSubmission(
            f"{int((~np.isfinite(array_M)).sum())} of the {items} returned numbers are not finite."
        )
    if array_M.min() < 0 or array_M.max() > 1:
        raise InvalidSubmission(
            f"Probabilities must lie in 0..1, got {array_M.min():.3g}..{array_M.max():.3g}."
        )
    return array_M


def check_method(run: RunMethod, task: Task) -> None:
    """Check a method in one line: the output's shape and range, and equal outputs for equal seeds.

    Raises:
        InvalidSubmission: the method breaks the contract.
    """
    first, again = (check_output(run(task, 0), len(task.test)) for _ in range(2))
    if not np.array_equal(first, again):
        raise InvalidSubmission(
            "The method returned two answers for one seed. Draw all random numbers from the seed."
        )
