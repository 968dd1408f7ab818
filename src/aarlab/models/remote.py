"""The strong model as a method in a sandbox sees it: through a socket that reaches only a worker.
Without torch.

Legend: N student items of the task, n items asked about.
"""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.models.head_training import Array, Loss, cross_entropy
from aarlab.models.student_contract import Demonstration, FineTuned, Where
from aarlab.models.wire import ConnectionLost, Message, ask, packed, unpacked

RETURN_S, AGAIN_S = 180.0, 0.5  # for a worker that ended to be back; between two looks
MOST_LOST = 5  # ends of the worker within one call


class Remote:
    """See `Strong`. The task's student items are these rows of the socket's student split."""

    def __init__(self, socket: Path, student_rows: NDArray[np.intp]) -> None:
        self._socket, self._rows_N = socket, np.asarray(student_rows, dtype=np.intp)

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
        """See `Strong.fine_tune`. A method's own loss is called in this process, once for each
        step, with the step's logits and targets."""
        own = loss is not cross_entropy
        request: Message = {
            "op": "fine_tune",
            "targets": packed(_numbers(targets_n, "targets")),
            "rows": packed(self._theirs(rows)),
            "seed": seed,
            "loss": "own" if own else "cross_entropy",
            "answer": {"test": None}
            | ({"student": packed(self._rows_N)} if answer_student else {}),
        }
        if weights_n is not None:
            request["weights"] = packed(_numbers(weights_n, "weights"))
        if own:
            request["ticket"] = secrets.token_hex(16)
        said = self._ask(request, loss if own else None)
        logits = {where: unpacked(array, where) for where, array in said["logits"].items()}
        return FineTuned(logits["test"], logits.get("student"), said["seconds"])

    def judge(
        self,
        where: Where,
        *,
        rows: NDArray[np.intp] | None = None,
        demonstrations: Sequence[Sequence[Demonstration]] = (),
    ) -> Array:
        """See `Strong.judge`."""
        request: Message = {"op": "judge", "split": where}
        if where == "student":
            request["rows"] = packed(self._theirs(rows))
        elif rows is not None:
            request["rows"] = packed(_rows(rows))
        if demonstrations:
            request["demonstrations"] = [
                [[self._their(row), int(label)] for row, label in one] for one in demonstrations
            ]
        return unpacked(self._ask(request, None)["logits"], "logits")

    def _theirs(self, rows: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """The rows of the socket's student split for rows of the task."""
        if rows is None:
            return self._rows_N
        rows = _rows(rows)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self._rows_N)):
            raise InvalidSubmission(
                f"rows must lie in 0..{len(self._rows_N) - 1}, got {rows.min()}..{rows.max()}.",
                field="rows",
            )
        return self._rows_N[rows]

    def _their(self, row: int) -> int:
        return int(self._theirs(np.array([row]))[0])

    def _ask(self, request: Message, loss: Loss | None) -> Message:
        """Send a request; if the worker ends, send it again. The restarted worker resumes from
        its last checkpoint."""
        lost, last = 0, time.monotonic()
        while True:
            try:
                return ask(self._socket, request, loss=loss)
            except ConnectionLost as error:
                now = time.monotonic()
                if error.began:
                    lost, last = lost + 1, now
                if lost >= MOST_LOST or now - last > RETURN_S:
                    raise Transient(
                        f"The strong model's worker ended and did not restart ({error}). Ask again."
                    ) from error
                time.sleep(AGAIN_S)


def _rows(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        words = (
            f"rows must be whole numbers, one an item, got shape {rows.shape} of {rows.dtype}. Use "
            "np.flatnonzero of a mask."
        )
        raise InvalidSubmission(words, field="rows")
    return rows.astype(np.intp)


def _numbers(values: Array, field: str) -> Array:
    """An array of real numbers; the worker checks shape and range."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InvalidSubmission(f"{field} must be real numbers, got {array.dtype}.", field=field)
    return array.astype(np.float64)
