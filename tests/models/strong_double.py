"""A deterministic double of the strong model that can be fine-tuned: a linear head on
`double.features`, in a millisecond.

For tests and examples. Its context learns as a language model's does in the simplest account of it:
one step of gradient descent on the demonstrations (von Oswald et al. 2023, arXiv:2212.07677).
Legend: N student items, M test items, n items asked about, K demonstrations of an item, D width.
"""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.models import double
from aarlab.models.head_training import Array, LinearHead, Loss, cross_entropy
from aarlab.models.student_contract import Demonstration, FineTuned, Question, Strong, Where

LAYER, L2 = 16, 0.1


class StrongDouble(Strong):
    """The double as the strong model of one task. `context` is how many demonstrations it can read;
    `asked` counts the items that it has been asked about in `judge`."""

    def __init__(
        self, student: Sequence[Question], test: Sequence[Question], *, context: int = 16
    ) -> None:
        self.context, self.asked = context, 0
        read = {"student": _read(student), "test": _read(test)}
        centre_D, middle = (
            read["student"][0].mean(axis=(0, 1)),
            float(np.median(read["student"][1])),
        )
        self._pairs: dict[str, Array] = {
            where: _against(h_NCD, centre_D) for where, (h_NCD, _) in read.items()
        }
        self._zero_shot_logit: dict[str, Array] = {
            where: np.diff(_against(f_NC[:, :, None], np.array([middle]))[:, :, 0])[:, 0]
            for where, (_, f_NC) in read.items()
        }

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
        """A linear head on the rows; the seed draws how often each is seen (the bootstrap), as it
        draws the order elsewhere.

        Raises:
            InvalidSubmission: arrays that do not fit each other or are not finite; rows that do not
                exist.
        """
        started = time.monotonic()
        student_N2D = self._pairs["student"]
        kept = _checked(np.arange(len(student_N2D)) if rows is None else rows, len(student_N2D))
        if targets_n.shape != (len(kept),) or (
            weights_n is not None and weights_n.shape != (len(kept),)
        ):
            raise InvalidSubmission(
                f"Give one target, and one weight, for each of {len(kept)} rows, got "
                f"{targets_n.shape}."
            )
        drawn = np.random.default_rng(seed).integers(len(kept), size=len(kept))
        weights = np.bincount(drawn, minlength=len(kept)) * (
            np.ones(len(kept)) if weights_n is None else weights_n
        )
        phases = 1 if loss is cross_entropy else 4
        head = LinearHead(L2).fit(
            student_N2D[kept], targets_n, weights_N=weights, loss=loss, phases=phases
        )
        own = head.logits(student_N2D) if answer_student else None
        return FineTuned(head.logits(self._pairs["test"]), own, time.monotonic() - started)

    def judge(
        self,
        where: Where,
        *,
        rows: NDArray[np.intp] | None = None,
        demonstrations: Sequence[Sequence[Demonstration]] = (),
    ) -> Array:
        """The zero-shot logit (n,), plus a step of gradient descent on the demonstrations (one
        list for all, or one an item).

        Raises:
            InvalidSubmission: rows that do not exist, or lists of demonstrations that are neither
                one nor one an item.
        """
        asked = _checked(
            np.arange(len(self._zero_shot_logit[where])) if rows is None else rows,
            len(self._zero_shot_logit[where]),
        )
        if len(demonstrations) not in (0, 1, len(asked)):
            raise InvalidSubmission(
                f"Give one list of demonstrations, or one for each of {len(asked)} items."
            )
        self.asked += len(asked)
        logits_n = self._zero_shot_logit[where][asked].copy()
        lists = list(demonstrations) * (len(asked) if len(demonstrations) == 1 else 1)
        pairs_n2D = self._pairs[where][asked]
        for n, shown in enumerate(lists):
            logits_n[n] += (pairs_n2D[n, 1] - pairs_n2D[n, 0]) @ self._step(shown[: self.context])
        return logits_n

    def _step(self, shown: Sequence[Demonstration]) -> Array:
        """Where the step leads from zero: the sum over K demonstrations of their signed
        differences, over the width, (D,)."""
        width = self._pairs["student"].shape[2]
        if not shown:
            return np.zeros(width)
        rows, labels_K = (
            _checked(np.array([r for r, _ in shown]), len(self._pairs["student"])),
            np.array([y for _, y in shown]),
        )
        x_KD = self._pairs["student"][rows, 1] - self._pairs["student"][rows, 0]
        return (2 * labels_K - 1) @ x_KD / width


def _read(questions: Sequence[Question]) -> tuple[Array, Array]:
    """Hidden states (N, C, D) and zero-shot logit (N, C) of every choice."""
    hidden_LTD, zero_shot_logit_T = double.features([c for q in questions for c in q.choices])
    shape = (len(questions), len(questions[0].choices))
    states_TD = hidden_LTD[double.LAYERS.index(LAYER)].astype(np.float64)
    return states_TD.reshape(*shape, -1), zero_shot_logit_T.astype(np.float64).reshape(shape)


def _against(values_NCD: Array, reference_D: Array) -> Array:
    """Pairs (N, 2, D) as they are; a single choice beside the reference that it is compared
    with."""
    if values_NCD.shape[1] == 2:
        return values_NCD
    return np.concatenate([np.broadcast_to(reference_D, values_NCD.shape), values_NCD], axis=1)


def _checked(rows: NDArray[np.intp], items: int) -> NDArray[np.intp]:
    if len(rows) and not 0 <= rows.min() <= rows.max() < items:
        raise InvalidSubmission(f"Rows must lie in 0..{items - 1}, got {rows.min()}..{rows.max()}.")
    return rows
