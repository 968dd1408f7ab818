"""The contract of a method: (items, weak labels, strong model, seed) -> predictions. It cannot name a true label.

Legend: N student items, M test items, D hidden width. The strong model's hidden states are given; its trainable head is
`aarlab.models.head`. What a method gets has no field with a true label.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.core.registry import Registry
from aarlab.models.strong import Strong

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """Items as the strong model sees them. An item is a pair (which answer is better?) or one choice (is it right?); a single
    choice is compared with the average choice of the student split, so that arrays have the shape of pairs either way."""

    ids: tuple[str, ...]
    questions: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]  # (first, second) of a pair, or (choice,)
    hidden: Mapping[int, NDArray[np.float16]]  # layer -> (N, 2, D), z-scored over the student split
    favour_N2: NDArray[np.float32]  # the student's zero-shot judgement of each choice, in its own units

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def favour_N(self) -> Array:
        """Zero-shot logit that the label is 1 (uncalibrated), shape (N,)."""
        return (self.favour_N2[:, 1] - self.favour_N2[:, 0]).astype(np.float64)


@dataclass(frozen=True)
class Task:
    """All that a method is given. `weak_probs_N` and `critic_probs_N` are probabilities that the label is 1 (`second` is
    better, the choice is right): the weak teacher's own, and those after it has read the strong model's judgement. `strong` can
    be fine-tuned; where the student is frozen there is none, and a head on its states is what learns."""

    student: Inputs
    test: Inputs
    weak_probs_N: Array
    critic_probs_N: Array
    strong: Strong | None = None


STUDENT_SHARE = 0.8  # of the student split that one seed draws: the same for the ceiling and for every method


def student_rows(pairs: int, seed: int, share: float = STUDENT_SHARE) -> NDArray[np.intp]:
    """The student pairs that a seed draws, sorted. Every run of every method on that seed sees these."""
    return np.sort(np.random.default_rng(seed).permutation(pairs)[: round(share * pairs)])


RunMethod = Callable[[Task, int], Array]


@dataclass(frozen=True)
class Method:
    """A named method: `run(task, seed)` returns the probability of label 1 for `task.test`, shape (M,)."""

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
    """The method's answer as an array of M probabilities.

    Raises:
        InvalidSubmission: the method returned something else; the message says what.
    """
    try:
        array_M = np.asarray(probs_M, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidSubmission(f"The method must return {items} numbers, got {type(probs_M).__name__}.") from error
    if array_M.shape != (items,):
        raise InvalidSubmission(f"The method must return one number for each of {items} test items, got {array_M.shape}.")
    if not np.isfinite(array_M).all():
        raise InvalidSubmission(f"{int((~np.isfinite(array_M)).sum())} of the {items} returned numbers are not finite.")
    if array_M.min() < 0 or array_M.max() > 1:
        raise InvalidSubmission(f"Probabilities must lie in 0..1, got {array_M.min():.3g}..{array_M.max():.3g}.")
    return array_M


def check_method(run: RunMethod, task: Task) -> None:
    """The examination that a plug-in's author calls in one line: shape, range, and the same answer for the same seed.

    Raises:
        InvalidSubmission: the method breaks the contract.
    """
    first, again = (check_output(run(task, 0), len(task.test)) for _ in range(2))
    if not np.array_equal(first, again):
        raise InvalidSubmission("The method gives two answers for one seed. Draw all randomness from the seed.")
