"""The interface of a strong model that can be fine-tuned, for methods. Without torch: a worker
process holds the model.

Legend: N student items of the task, M test items, n items asked about, L layers, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import scipy  # its parts take half a second to import, and load when they are first used
from numpy.typing import NDArray

from aarlab.models.head_training import Array, Loss, cross_entropy

SOCKET = "strong.sock"  # name of the strong model's socket in its folder
Where = Literal["student", "test"]
Demonstration = tuple[int, int]  # (row of the task's student items, label in the prompt)


@dataclass(frozen=True)
class Question:
    """One item as models read it: two choices to compare, or one choice to judge; with a
    critique, if there is one."""

    question: str
    choices: tuple[str, ...]
    critique: str = ""


@dataclass(frozen=True)
class FineTuned:
    """Logits that the label is 1, from a model that was fine-tuned for this call only; and the
    seconds it took."""

    test_logits_M: Array
    student_logits_N: Array | None
    seconds: float

    @property
    def test_probs_M(self) -> Array:
        return scipy.special.expit(self.test_logits_M)

    @property
    def student_probs_N(self) -> Array:
        assert self.student_logits_N is not None, "ask with answer_student=True"
        return scipy.special.expit(self.student_logits_N)


class Strong(Protocol):
    """The strong model of one task, in its own process. Every call starts from the published
    weights."""

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
        """Fine-tune on soft targets (n,) in 0..1 of the given student rows (all N if None), with
        weights `weights_n`, and return logits of the test items (M,), and of the student items (N,)
        if `answer_student`.

        Raises:
            InvalidSubmission: the arrays have different lengths, or are not finite.
            Transient: the worker ended; ask again to resume from its last checkpoint.
        """
        ...

    def judge(
        self,
        where: Where,
        *,
        rows: NDArray[np.intp] | None = None,
        demonstrations: Sequence[Sequence[Demonstration]] = (),
    ) -> Array:
        """Zero-shot logits (n,) that the label is 1. `demonstrations` (one list for all items,
        or one list for each item) come first in the prompt: as many as fit into the context,
        from the first one on."""
        ...
