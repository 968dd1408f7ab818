"""How a worker is spoken to: one JSON object a line over a unix socket, one request a connection,
arrays as base64 of little-endian numbers. Nothing is ever unpickled.

The caller sends `{"v": 1, "op": ..., fields}`. The worker sends any number of `{"is": "progress",
step, of, tokens_per_s, pack_tokens}` and, where the loss is the caller's own, of `{"is": "step",
progress, logits, targets}`, each of which waits for `{loss, grad}`; last `{"is": "done", fields}`
or `{"is": "failed", kind, message, field}`. Hanging up ends the job. Legend: n items, b items of a
step.
"""

import base64
import binascii
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient
from aarlab.models.head_training import Loss

VERSION = 1
SOCKET_LINE, LINE = 2 << 20, 64 << 20  # bytes: the longest line from a sandbox; any other
FAILURES = {kind.__name__: kind for kind in (InvalidSubmission, Misconfigured, Transient)}
ANSWER_S = 60.0  # for a caller's own loss of one step
DTYPES = ("<f8", "<f4", "<i8", "<i4")
Message = dict[str, Any]
Heard = Callable[[int, int, float, int], None]  # (step, of, tokens per second, tokens of a pack)


class ConnectionLost(ConnectionError):
    """The connection broke before the answer: the worker ended, or (not `began`) does not
    listen."""

    def __init__(self, words: str, *, began: bool) -> None:
        super().__init__(words)
        self.began = began


def encode(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The object in a line.

    Raises:
        InvalidSubmission: it is none.
    """
    try:
        message = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidSubmission(
            f"A line must be one JSON object ({str(error)[:100]}).", field="line"
        ) from error
    if not isinstance(message, dict):
        raise InvalidSubmission(
            f"A line must be one JSON object, not {type(message).__name__}.", field="line"
        )
    return message


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def packed(array: NDArray) -> Message:
    """An array as JSON: its bytes, which are exact, and what they are."""
    kind = (
        "<f8"
        if array.dtype.kind == "f" and array.itemsize > 4
        else "<f4"
        if array.dtype.kind == "f"
        else "<i8"
    )
    little = np.ascontiguousarray(array, dtype=kind)
    return {
        "dtype": kind,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def unpacked(value: object, field: str) -> NDArray:
    """The array in a message: one that was `packed`, or a flat list of numbers.

    Raises:
        InvalidSubmission: it is neither; `field` is named.
    """
    if isinstance(value, list):
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            raise InvalidSubmission(f"{field} must be a list of numbers.", field=field)
        try:
            return np.array(
                value, dtype=np.float64 if any(isinstance(v, float) for v in value) else np.int64
            )
        except OverflowError as error:
            raise InvalidSubmission(
                f"{field} holds a number that is too large.", field=field
            ) from error
    if (
        not isinstance(value, dict)
        or value.keys() != {"dtype", "shape", "base64"}
        or value["dtype"] not in DTYPES
    ):
        wanted = f"a list of numbers, or dtype (one of {', '.join(DTYPES)}), shape and base64"
        raise InvalidSubmission(f"{field} must be {wanted}.", field=field)
    shape, text = value["shape"], value["base64"]
    if (
        not isinstance(shape, list)
        or not isinstance(text, str)
        or not all(type(n) is int and n >= 0 for n in shape)
    ):
        raise InvalidSubmission(
            f"{field}.shape must be a list of lengths and {field}.base64 a text.", field=field
        )
    try:
        return (
            np.frombuffer(base64.b64decode(text, validate=True), dtype=value["dtype"])
            .reshape(shape)
            .copy()
        )
    except (binascii.Error, ValueError, OverflowError) as error:
        raise InvalidSubmission(
            f"{field} does not hold an array of shape {shape} ({error}).", field=field
        ) from error


def failure(error: AarError) -> Message:
    """The last line of a request that failed."""
    return {
        "is": "failed",
        "kind": type(error).__name__,
        "message": str(error),
        "field": error.facts.get("field"),
    }


class WorkerConnection:
    """The caller's end of one connection."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"{path.name}: {error}", began=False) from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> "WorkerConnection":
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.close()
        self._socket.close()

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one line. Where the other end was refused before it was all said, why is there to
        hear."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(encode(message))

    def hear(self) -> Message:
        """The next line.

        Raises:
            ConnectionLost: there is none.
        """
        try:
            line = self._lines.readline(LINE)
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error}", began=True) from error
        if not line.endswith(b"\n"):
            raise ConnectionLost("the worker hung up", began=True)
        return decode(line)


def ask(
    path: Path, request: Mapping[str, Any], *, loss: Loss | None = None, heard: Heard | None = None
) -> Message:
    """Make one request and wait for its end, however long; the fields of its last line. Steps are
    answered by `loss`.

    Raises:
        ConnectionLost: the connection broke, or nobody listens.
        AarError: what the worker says of a request that failed.
    """
    with WorkerConnection(path) as line:
        line.say({"v": VERSION, **request})
        while True:
            said = line.hear()
            if said["is"] == "done":
                return said
            if said["is"] == "failed":
                raise FAILURES.get(said["kind"], Transient)(said["message"], field=said["field"])
            if said["is"] == "progress" and heard is not None:
                heard(said["step"], said["of"], said["tokens_per_s"], said["pack_tokens"])
            if said["is"] == "step":
                assert loss is not None, "only a loss of one's own is asked for"
                values_b, grad_b = loss(
                    unpacked(said["logits"], "logits"),
                    unpacked(said["targets"], "targets"),
                    said["progress"],
                )
                line.say({"loss": _said(values_b), "grad": _said(grad_b)})


def _said(values: object) -> Message:
    """What a loss returned, to be judged by the worker."""
    array = np.asarray(values)
    return packed(array if array.dtype.kind in "fi" else np.full(array.shape, np.nan))
