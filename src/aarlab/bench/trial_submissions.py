"""Submissions that every problem is examined with: those that do nothing, and those that are made
to break a grader; and how they end."""

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from aarlab.bench.problem_card import Tried, as_split
from aarlab.core.layout import PreparedFolder
from aarlab.core.objectives import combined
from aarlab.evaluation.scoring.unit_scores import Measured, Scale
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.problems.folder.predictions import read_ids
from aarlab.runs.grading import Fault, Grader, NotGraded, Refused
from aarlab.runs.plain_files import FOLDER_FILES
from aarlab.runs.trial_scores import NoScore, grade_trials, remedied
from aarlab.sandbox.disk_usage import remove

Write = Callable[[Path], None]  # makes a submission, a file or a folder, at a path
TriedKind = Literal["constant", "hostile"]
ERRORS, NEAR = 3.0, 0.02  # a constant may be above the floor by so many errors and so much
DEEP = b"[" * 100_000 + b"]" * 100_000
PICKLE = pickle.dumps({"a": [1.5, None]})
BUSY = "others left it"  # words of `runs.endings`
SLOW_S = 30.0  # a program that never answers is tried where a call may take so long at most
EXAMPLES = 3  # files of a baseline's artifact that are spoiled
TEXTS = {
    "JSON nested 100,000 deep": DEEP,
    "NaN": b"NaN",
    "a number beyond all floats": b"1e400",
    "a pickle": PICKLE,
    "an empty file": b"",
}


def constants(problem: FolderProblem, prepared: PreparedFolder, split: str) -> dict[str, Write]:
    """What needs no idea: by name."""
    what = problem.contract.submission
    if what.kind == "artifact":
        return {"an empty folder": Path.mkdir}
    if what.kind == "program":
        return {
            "answers null": _program("def answer(request):\n    return None\n"),
            "echoes the request": _program("def answer(request):\n    return request\n"),
        }
    values = {
        "probability": (0, 0.5, 1),
        "number": (0, 0.5, 1),
        "class": what.classes,
        "text": ("",),
        "ranking": ([],),
    }
    ids = read_ids(prepared.inputs(split))
    return {
        f"all {json.dumps(v)}": _file(json.dumps(dict.fromkeys(ids, v)).encode())
        for v in values[str(what.values)]
    }


def hostile(
    problem: FolderProblem, prepared: PreparedFolder, split: str, example: Mapping[str, bytes]
) -> dict[str, Write]:
    """What is made to break a grader: by name. `example`: the files of an honest artifact."""
    what, secret = problem.contract.submission, prepared.units(split)
    if what.kind == "predictions":
        return _hostile_files(read_ids(prepared.inputs(split)), what.max_bytes, secret)
    entry = "program.py" if what.kind == "program" else next(iter(example), "a")
    found = {
        "a file that is too large": _with(example, entry, lambda p: _sparse(p, what.max_bytes)),
        "a link to a secret": _with(example, entry, lambda p: p.symlink_to(secret)),
        "a FIFO": _with(example, entry, os.mkfifo),
        f"{FOLDER_FILES + 1:,} files": _many,
        "a file instead of a folder": _file(b"{}"),
    }
    if what.kind == "program":
        slow = {"never answers": "import time\ndef answer(request):\n    time.sleep(9999)\n"}
        sources = _PROGRAMS | (slow if what.call_s <= SLOW_S else {})
        return found | {name: _program(text) for name, text in sources.items()}
    for name in list(example)[:EXAMPLES]:
        spoiled = TEXTS | {"its first half": example[name][: len(example[name]) // 2]}
        found |= {f"{n} as {name}": _with(example, name, _file(b)) for n, b in spoiled.items()}
    return found | {"a pickle named .npy alone": _with({}, "weights.npy", _file(PICKLE))}


def _hostile_files(ids: list[str], limit: int, secret: Path) -> dict[str, Write]:
    def one(value: str) -> Write:
        rows = ", ".join(f"{json.dumps(i)}: {value}" for i in ids)
        return _file(f"{{{rows}}}".encode())

    return {
        "a file that is too large": lambda path: _sparse(path, limit),
        "JSON nested 100,000 deep": _file(DEEP),
        "every value nested 50 deep": one("[" * 50 + "]" * 50),
        "every value NaN": one("NaN"),
        "every value 1e400": one("1e400"),
        "every value a whole number of 401 digits": one("1" + "0" * 400),
        "every value 1e308": one("1e308"),
        "every value an object": one('{"a": 1}'),
        "no ids": _file(b"{}"),
        "other ids": _file(json.dumps({f"{i}?": 0 for i in ids}).encode()),
        "a pickle": _file(PICKLE),
        "a link to a secret": lambda path: path.symlink_to(secret),
        "a FIFO": os.mkfifo,
        "a folder of 10,001 files": _many,
    }


_RAW = """
import gc, os, socket
def answer(request):
    for s in gc.get_objects():
        if isinstance(s, socket.socket):
            s.sendall(b'{"answer": ' + (LINE) + b'}\\n')
    os._exit(0)
"""  # a line that no JSON writer would write
_PROGRAMS = {
    "no Python": "def answer(:\n",
    "raises": "def answer(request):\n    raise ValueError('no')\n",
    "ends": "import os\ndef answer(request):\n    os._exit(0)\n",
    "prints and answers a text": "def answer(request):\n    print('x' * 99)\n    return 'x' * 99\n",
    "answers a huge integer": "def answer(request):\n    return -10 ** 4000\n",
    "answers NaN": _RAW.replace("LINE", "b'NaN'"),
    "answers 1e400": _RAW.replace("LINE", "b'1e400'"),
    "answers JSON nested 100,000 deep": _RAW.replace("LINE", "b'[' * 10 ** 5 + b']' * 10 ** 5"),
    "answers 3 MB": _RAW.replace("LINE", "b'7' * 3_000_000"),
}


def _file(data: bytes) -> Write:
    return lambda path: (path.write_bytes(data), None)[1]


def _program(text: str) -> Write:
    return _with({}, "program.py", _file(text.encode()))


def _with(files: Mapping[str, bytes], name: str, write: Write) -> Write:
    """A folder of these files, one of them written in another way."""

    def make(path: Path) -> None:
        for other, data in {n: d for n, d in files.items() if n != name}.items():
            (path / other).parent.mkdir(parents=True, exist_ok=True)
            (path / other).write_bytes(data)
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write(path / name)

    return make


def _sparse(path: Path, limit: int) -> None:
    with path.open("wb") as file:
        file.truncate(limit + 1)


def _many(path: Path) -> None:
    path.mkdir()
    for n in range(FOLDER_FILES + 1):
        (path / str(n)).touch()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of an artifact, by their paths."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


class Trials:
    """Tries submissions, and judges how they ended: each must be refused, or score no more than
    the floor and chance. `rows`: what was tried; `reasons`: why the problem is refused; `notes`:
    what has no result because others kept the machine busy."""

    def __init__(
        self,
        problem: FolderProblem,
        grader: Grader,
        scales: Mapping[str, Scale],
        place: Path,
        say: Callable[[str, int, int], None],
    ) -> None:
        """`scales`: by split; without one, no score is judged. `place`: where a submission is
        written while it is tried."""
        self._problem, self._grader, self._scales = problem, grader, scales
        self._place, self._say = place, say
        self.rows: list[Tried] = []
        self.reasons: list[str] = []
        self.notes: list[str] = []

    def run(self, kind: TriedKind, tried: Mapping[str, Write], split: str) -> None:
        """Try them all."""
        for number, (name, write) in enumerate(tried.items()):
            self._say(f"{kind} submissions, {split}", number, len(tried))
            write(self._place)
            outcome = grade_trials(self._grader, self._place, split)
            remove(self._place)
            row = self._judged(kind, name, split, outcome)
            self.rows.append(row)
            if _busy(outcome):
                self.notes.append(f"'{name}' has no result: {row.words}.")
            elif not row.good:
                self.reasons.append(self._why(row, outcome))

    def _judged(self, kind: TriedKind, name: str, split: str, outcome: Measured | NoScore) -> Tried:
        found = {"kind": kind, "name": name, "split": as_split(split)}
        if isinstance(outcome, Measured):
            score, allowed = self._above(outcome, split) if self._scales else (None, None)
            good = allowed is None or (score is not None and score <= allowed)
            ended = {"outcome": "scored", "words": "", "score": score, "allowed": allowed}
            return Tried.model_validate(found | ended | {"good": good})
        what = "fault of the author" if isinstance(outcome, Fault) else "no result"
        refused = isinstance(outcome, Refused)
        ended = {"outcome": "refused" if refused else what, "words": outcome.words[:300]}
        good = refused or _busy(outcome)
        none = {"score": None, "allowed": None}
        return Tried.model_validate(found | ended | none | {"good": good})

    def _above(self, outcome: Measured, split: str) -> tuple[float | None, float]:
        """The combined score, and the highest one that still counts as the floor: every normalised
        score NEAR and ERRORS standard errors above 0."""
        scale, contract = self._scales[split], self._problem.contract
        by_chance = [
            NEAR
            + ERRORS
            * scale.above_floor(outcome, o)[1]
            / (scale.ends[o.name][1] - scale.ends[o.name][0])
            for o in contract.climbed
        ]
        found = scale.combined(outcome)
        return (None if found is None else found.estimate), combined(contract.combine, by_chance)

    def _why(self, row: Tried, outcome: Measured | NoScore) -> str:
        of = f"the {row.kind} submission '{row.name}'"
        if isinstance(outcome, Measured):
            return (
                f"{self._problem.folder.grade}: {of} scores {row.score or 0:.2f} on {row.split}, "
                f"where the floor is 0 and {row.allowed or 0:.2f} would be chance. Refuse it in "
                "`check`, or choose an objective or a floor that gives it nothing."
            )
        return f"{remedied(self._problem, outcome)} (With {of}.)"


def _busy(outcome: Measured | NoScore) -> bool:
    """Whether a time limit was passed while others used the processors, which is no result."""
    return isinstance(outcome, NotGraded) and BUSY in outcome.words
