"""`python -m aarlab.runs.grade_inside`: run `check` or `grade` of a problem's grade.py on one
submission, inside a sandbox, and write what came of it.

It writes {"scores": {objective: {unit: value}}}, {"valid": true}, {"invalid": why} or {"fault":
{"words", "line"}}: whoever started it believes none of these before they are checked.
"""

import argparse
import json
import math
import socket
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from aarlab.core import author
from aarlab.core.author import Invalid, ProgramFailed
from aarlab.core.python_file import load_file

WORDS = 1000  # characters of a reason
LINE = 1 << 20  # bytes of one request to a program, or of one answer, at most


class Program:
    """A submitted program, which runs in another sandbox. It keeps its state from call to call."""

    def __init__(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            self._file = connection.makefile("rwb")  # it keeps the connection

    def close(self) -> None:
        """Hang up."""
        self._file.close()

    def answer(self, request: Any) -> Any:
        """What its `answer(request)` returns; both are JSON of LINE bytes at most. No number in an
        answer is infinite or none.

        Raises:
            ProgramFailed: it raised, took too long, ended or answered no JSON. Score its unit as
                the author's rules say, usually with the floor.
            ValueError: the request is too long, or no JSON.
        """
        line = json.dumps(request, allow_nan=False, default=plain).encode() + b"\n"
        if len(line) > LINE:
            raise ValueError(f"a request has {len(line):,} bytes; {LINE:,} may be sent")
        self._file.write(line)
        self._file.flush()
        line = self._file.readline()
        if not line:
            raise ProgramFailed("it has ended")
        try:
            message = json.loads(line, parse_constant=_refuse, parse_float=_finite)
            failed = message.get("failed")
            if failed is None:
                return message["answer"]
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise ProgramFailed("it answered no JSON") from error
        raise ProgramFailed(str(failed)[:WORDS])


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is too large")
    return number


def plain(value: Any) -> Any:
    """A number or an array of numpy as JSON has it, for `json.dumps`.

    Raises:
        TypeError: it is neither.
    """
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain value of JSON")


def load(path: Path) -> ModuleType:
    """The author's file as a module; its folder is where it can import others from."""
    sys.path.insert(0, str(path.parent))
    return load_file(path, f"file_{path.stem}")


def outcome(grader: Path, submission: Any, secret: Path | None, trial: int) -> dict[str, Any]:
    """What the author's code makes of a submission: without secrets it checks, with them it
    grades."""
    try:
        module = load(grader)
        if secret is None:
            module.check(submission)
            return {"valid": True}
        scores = module.grade(submission, secret, trial)
        json.dumps(scores, default=plain)
        return {"scores": scores}
    except Invalid as error:
        if secret is None:
            return {"invalid": str(error)[:WORDS]}
        return _fault(error, grader, "Invalid is for check(submission), which sees no secret")
    except Exception as error:  # noqa: BLE001 - it is passed on as the author's
        return _fault(error, grader)


def _fault(error: BaseException, grader: Path, more: str = "") -> dict[str, Any]:
    own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == grader]
    words = ": ".join(filter(None, (type(error).__name__, str(error)[:WORDS], more)))
    return {"fault": {"words": words, "line": own[-1].lineno if own else None}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grader", type=Path, required=True, help="the author's grade.py")
    parser.add_argument("--submission", type=Path, required=True, help="a file or a folder")
    parser.add_argument("--program", type=Path, help="the socket of a program that was submitted")
    parser.add_argument("--public", type=Path, required=True, help="what researchers see")
    parser.add_argument("--secret", type=Path, help="the grader's secrets; without it: check")
    parser.add_argument("--weights", type=Path, default=author.WEIGHTS, help="a frozen model")
    parser.add_argument("--trial", type=int, default=0)
    parser.add_argument("--begun", type=Path, required=True, help="made before the author's code")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    submission: Any = a.submission
    if a.program is not None:
        submission = Program(a.program)
    elif a.submission.is_file():
        submission = json.loads(a.submission.read_bytes())
    author.PUBLIC, author.WEIGHTS = a.public, a.weights
    a.begun.touch()
    text = json.dumps(outcome(a.grader, submission, a.secret, a.trial), default=plain)
    a.out.write_text(text)


if __name__ == "__main__":
    main()
