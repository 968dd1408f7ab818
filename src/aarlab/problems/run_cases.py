"""Executes untrusted functions on inputs: a script that runs inside a sandbox and imports nothing
of aarlab.

usage: run_cases.py TASKS ANSWERS. TASKS is JSON: `functions`, each [source, name of a kind];
`inputs`, for each kind the Python literals of argument tuples; `limit_s`, the CPU time of one
function. ANSWERS is for each function the list of its outputs. An exception is an output too
("error: ValueError"), and so is running out of time ("error: timeout").
"""

import ast
import json
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

DEPTH = 500  # of calls: a function that never stops calling itself is an error soon


class OutOfTime(BaseException):
    """Not an Exception, so that no function can catch it by accident."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def canonical(value: object) -> str:
    """Equal texts for equal values: the order of a dict or set does not count, nor does 2.0 differ
    from 2.

    Raises:
        TypeError: the value is no plain one, but an iterator, say.
    """
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(sorted(f"{canonical(k)}: {canonical(v)}" for k, v in value.items()))
            + "}"
        )
    if isinstance(value, set | frozenset):
        return "set(" + ", ".join(sorted(map(canonical, value))) + ")"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}(" + ", ".join(map(canonical, value)) + ")"
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


class Caught:
    """A context in which any error of a function ends that function alone; `name` says which it
    was."""

    name: str | None = None

    def __enter__(self) -> "Caught":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if kind is None or not issubclass(kind, Exception | OutOfTime):
            return False
        self.name = "error: timeout" if kind is OutOfTime else f"error: {kind.__name__}"
        return True


def outputs(source: str, inputs: list[bytes], limit_s: float) -> list[str]:
    """What the function `f` of that source returns for each input; every call gets a copy of its
    own."""
    found: list[str] = []
    with Caught() as whole:
        signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
        space: dict = {}
        exec(source, space)  # the sandbox is there for this line
        for pickled in inputs:
            found.append(_one(space["f"], pickle.loads(pickled)))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return found + [whole.name or ""] * (len(inputs) - len(found))


def _one(function: Callable[..., object], arguments: tuple) -> str:
    with Caught() as call:
        return canonical(function(*arguments))
    if call.name == "error: timeout":
        raise OutOfTime
    return call.name or ""


def main(tasks: Path, answers: Path) -> None:
    signal.signal(signal.SIGVTALRM, _stop)
    sys.setrecursionlimit(DEPTH)
    work = json.loads(tasks.read_text())
    inputs = {
        kind: [pickle.dumps(ast.literal_eval(text)) for text in texts]
        for kind, texts in work["inputs"].items()
    }
    found = [outputs(source, inputs[kind], work["limit_s"]) for source, kind in work["functions"]]
    answers.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
