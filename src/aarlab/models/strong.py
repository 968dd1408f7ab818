"""What a method can ask of a strong model that can be fine-tuned. Without torch: the model lives in a worker's process.

Legend: N student items of the task, M test items, n items asked about, L layers, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from aarlab.models.head import Array, Loss, cross_entropy

SOCKET = "strong.sock"  # in the folder of a door
Where = Literal["student", "test"]
Demonstration = tuple[int, int]  # (row of the task's student items, label that it is shown with)


@dataclass(frozen=True)
class Question:
    """One item as models read it: two choices to compare, or one to judge; a critique of it, if one was written."""

    question: str
    choices: tuple[str, ...]
    critique: str = ""


@dataclass(frozen=True)
class FineTuned:
    """Logits that the label is 1, from a model that was fine-tuned for this call and is gone; seconds it took."""

    test_logits_M: Array
    student_logits_N: Array | None
    seconds: float

    @property
    def test_probs_M(self) -> Array:
        return expit(self.test_logits_M)

    @property
    def student_probs_N(self) -> Array:
        assert self.student_logits_N is not None, "ask with answer_student=True"
        return expit(self.student_logits_N)


class Strong(Protocol):
    """The strong model of one task, in its own process. Every call starts from the published weights."""

    def fine_tune(
        self,
        targets_n: Array,
        *,
        seed: int,
        rows: NDArray[np.intp] | None = None,
        weights_n: Array | None = None,
        loss: Loss = cross_entropy,
        answer_student: bool = False,
    ) -> FineTuned:
        """Train on soft targets (n,) in 0..1 of the given student rows (all N if None), weighted by `weights_n`, and answer.

        Raises:
            InvalidSubmission: arrays that do not fit each other or are not finite.
            Transient: the worker ended; ask again, it goes on from its last checkpoint.
        """
        ...

    def judge(
        self, where: Where, *, rows: NDArray[np.intp] | None = None, demonstrations: Sequence[Sequence[Demonstration]] = ()
    ) -> Array:
        """Zero-shot logit (n,) that the label is 1; with demonstrations (one list for all, or one an item), read after as many
        of them as fit into the context, the first ones first."""
        ...
