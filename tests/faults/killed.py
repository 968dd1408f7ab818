"""Run by test_kill.py as a process of its own: one campaign whose evaluator is killed at one line
of its code after another.

Each round is a forked process that opens the evaluator, commits code and submits; at its n-th line
of `aarlab.evaluation`, counted from the opening or from the commit, it sends itself SIGKILL. A line
of a loop counts the first TIMES times: one alone would be most of all lines. What
it was told it writes to a pipe at once. The next round takes the campaign up as it was left.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator

TIMES = 4


def kill_at(line: int):
    """A tracer that ends the process at its n-th line in the evaluator's package."""
    left, seen = line, Counter()

    def local(frame, event, arg):
        nonlocal left
        place = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and seen[place] < TIMES:
            seen[place] += 1
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return local

    return lambda frame, event, arg: (
        local if "/aarlab/evaluation/" in frame.f_code.co_filename else None
    )


def bundle(evaluator: Evaluator, number: int, seeds: list[int]) -> dict[str, dict[str, int]]:
    """Answers that get better from round to round, so that improvements are told, too."""
    rng = np.random.default_rng(number)
    truth = evaluator.answers["feedback"]
    right = evaluator.pgr_scale.start + (1 - evaluator.pgr_scale.start) * min(0.9, number / 100)
    return {
        str(s): {i: int(truth[i] ^ (rng.random() > right)) for i in evaluator.ids} for s in seeds
    }


def one_start(place: tuple[Path, Path], number: int, from_: str, line: int, out: int) -> None:
    """One start of the evaluator: open, commit, submit, tell; killed on the way where there are
    that many lines."""
    if from_ == "opening":
        sys.settrace(kill_at(line))
    with Evaluator(*place) as evaluator:
        sys.settrace(kill_at(line) if from_ == "commit" else None)
        code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
        os.write(out, json.dumps({"told": "code", **code}).encode() + b"\n")
        receipt = evaluator.submit(
            "ann", code["snapshot"], bundle(evaluator, number, code["seeds"]), Family.OTHER
        )
        os.write(
            out, json.dumps({"told": "receipt", **receipt.model_dump(mode="json")}).encode() + b"\n"
        )
    sys.settrace(None)
    os.write(out, b'{"told": "end"}\n')


def round_(place: tuple[Path, Path], number: int, from_: str, line: int) -> list[dict]:
    """What that start told before its end."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        status = 1
        try:
            one_start(place, number, from_, line, sending)
            status = 0
        finally:
            os._exit(status)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        told = [json.loads(text) for text in pipe]
    _, status = os.waitpid(child, 0)
    if not (os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0):
        raise SystemExit(f"the evaluator failed at line {line}")
    return told


def main() -> None:
    place, stride = (Path(sys.argv[1]), Path(sys.argv[2])), int(sys.argv[3])
    number = 0
    for from_ in ("opening", "commit"):
        line = 1
        while True:
            told = round_(place, number, from_, line)
            print(json.dumps({"line": line, "number": number, "told": told}), flush=True)
            number += 1
            # to open is thousands of lines, in loops
            line += max(stride, line // 8) if from_ == "opening" else stride
            if told and told[-1]["told"] == "end":
                break


if __name__ == "__main__":
    main()
