"""A grading: the author's `grade.py` on one submission, in a sandbox of its own without network,
secrets read-only. What comes of it is a score, a refusal, the author's fault or the machine's,
and never one in place of another.

Legend: K objectives, M units of a split.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.layout import GradingFolder, PreparedFolder
from aarlab.core.records import Failure
from aarlab.core.strict_json import is_finite, parse_json, read_json
from aarlab.problems.folder.folder_problem import FolderProblem, UnchangedFiles
from aarlab.problems.folder.predictions import Predictions, read_ids, read_predictions
from aarlab.runs.endings import MachineState, ending_of
from aarlab.runs.engine_contract import Engine
from aarlab.runs.folder_run import BEGUN, folder_sandbox, limits_of, run_once, weights_words
from aarlab.runs.plain_files import copy_plain, read_plain
from aarlab.runs.program_relay import ASKED, PROGRAM, AskedProgram, program
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import Completed, MakeSandbox, Mount

RESULT_BYTES = 64 << 20
INSIDE = "aarlab.runs.grade_inside"


@dataclass(frozen=True)
class Scores:
    """What was measured: by objective, the value of each unit, (M,), in the order of `units`, in
    the objective's own unit of measure."""

    units: tuple[str, ...]
    values_M: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Refused:
    """The submission is invalid: its submitter must act. The words hold no secret."""

    words: str
    failure: Failure = "answers of the wrong shape"


@dataclass(frozen=True)
class Fault:
    """The grader failed: its author must act. Nobody is charged; the words are the operator's."""

    words: str


@dataclass(frozen=True)
class NotGraded:
    """The machine ended the grading: that is no result."""

    words: str


Outcome = Scores | Refused | Fault | NotGraded


def read_units(prepared: PreparedFolder, split: str) -> dict[str, str]:
    """The units of a split, each with its cluster: its own name where it stands alone.

    Raises:
        Misconfigured: units.json is neither a list of names nor {name: cluster or null}.
    """
    path = prepared.units(split)
    found = read_json(path, "prepare.py must write it: the names of the units, in a list.")
    named = dict.fromkeys(found) if isinstance(found, list) else found
    texts = isinstance(named, dict) and all(
        isinstance(unit, str) and (cluster is None or isinstance(cluster, str))
        for unit, cluster in named.items()
    )
    if not texts or len(named) != len(found) or not named:
        raise Misconfigured(
            f"{path}: it must be a list of different names of units, or an object {{unit: cluster "
            "or null}, and not empty. Correct prepare.py."
        )
    return {unit: cluster or f"alone: {unit}" for unit, cluster in named.items()}


class Grader:
    """Grades submissions to one problem on one draw of its data, on this machine, where its secrets
    are. `engine`: what places the code that makes submissions; None: this process."""

    def __init__(
        self,
        problem: FolderProblem,
        prepared: PreparedFolder,
        make_sandbox: MakeSandbox,
        engine: Engine | None = None,
    ) -> None:
        self.problem, self.prepared, self._make_sandbox = problem, prepared, make_sandbox
        self.engine, self._files = engine, UnchangedFiles(problem)

    def grade(self, submission: Path, split: str, trial: int = 0) -> Outcome:
        """Check and grade a submission: a file with predictions, or a folder.

        Raises:
            Transient, Misconfigured: no sandbox could be started, or the problem's files are not
                those that were read; there is no result.
        """
        with self.checked(submission, split) as fit:
            return self.scored(fit, split, trial) if isinstance(fit, Path) else fit

    @contextlib.contextmanager
    def checked(self, submission: Path, split: str) -> Iterator[Path | Refused | Fault | NotGraded]:
        """A copy of the submission that a grader can take, or why none can. No secret is looked at
        for it: neither what it comes to nor how it ends depends on one.

        Raises:
            Transient, Misconfigured: no sandbox could be started, or the problem's files are not
                those that were read; there is no result.
        """
        with scratch() as place:
            yield self._checked(submission, split, place / "submission")

    def _checked(
        self, submission: Path, split: str, kept: Path
    ) -> Path | Refused | Fault | NotGraded:
        try:
            fit = self._readable(submission, split, kept)
        except InvalidSubmission as error:
            return Refused(str(error))
        checked = self._run(fit, None, 0) if self.problem.checks else {"valid": True}
        valid = isinstance(checked, dict) and checked.get("valid") is True
        return fit if valid else _refusal(checked, self._author_line)

    def scored(self, fit: Path, split: str, trial: int = 0) -> Scores | Fault | NotGraded:
        """Grade what was `checked`, with the secrets: whatever comes of it can depend on them.

        Raises:
            Transient, Misconfigured: no sandbox could be started, or the problem's files are not
                those that were read; there is no result.
        """
        found = self._run(fit, self.prepared.secrets(split), trial)
        return found if isinstance(found, NotGraded | Fault) else self._scores(found, split)

    def _readable(self, submission: Path, split: str, kept: Path) -> Path:
        """The submission in a form that no grader can stumble over: predictions that were read
        and checked, or a copy of plain files; in `kept`."""
        what = self.problem.contract.submission
        if what.kind == "predictions":
            kept.write_text(json.dumps(self.predictions(submission, split)))
        else:
            copy_plain(submission, kept, what.max_bytes)
        if what.kind == "program" and not (kept / PROGRAM).is_file():
            raise InvalidSubmission(
                f"There is no {PROGRAM}, which defines answer(request). Send one."
            )
        return kept

    def predictions(self, submission: Path, split: str) -> Predictions:
        """Submitted predictions, in the order of the items.

        Raises:
            InvalidSubmission: it is no file with a value of the right kind for every item.
        """
        what, ids = self.problem.contract.submission, read_ids(self.prepared.inputs(split))
        return read_predictions(read_plain(submission, what.max_bytes), what, ids)

    def _run(self, submission: Path, secret: Path | None, trial: int) -> Any:
        """What the author's code wrote, as plain JSON; or why it wrote nothing."""
        limits = self.problem.contract.grading
        with scratch() as place, self._program(submission, secret) as asked:
            out, folder = GradingFolder(place), asked.folder if asked else None
            self._files.require()
            done, around = self._in_sandbox(submission, secret, folder, place, trial)
            self._files.require()
            if asked and asked.machine:
                return NotGraded(f"the submitted program: {asked.machine}")
            if done.returncode == 0 and out.result.is_symlink() is False and out.result.exists():
                try:
                    return parse_json(read_plain(out.result, RESULT_BYTES), "the result")
                except (Misconfigured, InvalidSubmission) as error:
                    return Fault(f"{self._author_line(None)}: {error}")
            ending = ending_of(done, limits_of(limits), around)
            words = ending.message.replace("The method", "The grader").replace("answers", "result")
            return (
                NotGraded(words)
                if ending.by_machine
                else Fault(f"{self._author_line(None)}: {words}")
            )

    @contextlib.contextmanager
    def _program(self, submission: Path, secret: Path | None) -> Iterator[AskedProgram | None]:
        """A submitted program, where it is asked: a check reads its files alone."""
        if self.problem.contract.submission.kind != "program" or secret is None:
            yield None
            return
        with program(self.problem, submission, self._make_sandbox) as asked:
            yield asked

    def _in_sandbox(
        self,
        submission: Path,
        secret: Path | None,
        asked: Path | None,
        place: Path,
        trial: int,
    ) -> tuple[Completed, MachineState]:
        contract, limits = self.problem.contract, self.problem.contract.grading
        at = {"/problem": self.problem.folder.root, "/public": self.prepared.public}
        at |= {"/program": asked} if asked else {"/submission": submission}
        at |= {"/secret": secret} if secret else {}
        mounts = [*(Mount(p, t) for t, p in at.items()), Mount(place, "/out", writable=True)]
        with folder_sandbox(
            self._make_sandbox, "grading", contract, limits, *mounts, workdir="/out"
        ) as sandbox:
            inside, out = sandbox.inside, GradingFolder(Path(sandbox.inside("/out")))
            argv = [sys.executable, "-m", INSIDE, "--out", str(out.result), "--trial", str(trial)]
            argv += ["--grader", f"{inside('/problem')}/{self.problem.folder.grade.name}"]
            argv += ["--submission", inside("/submission"), "--begun", str(out.root / BEGUN)]
            argv += ["--public", inside("/public")]
            argv += ["--secret", inside("/secret")] if secret else []
            argv += weights_words(contract, sandbox)
            argv += ["--program", f"{inside('/program')}/{ASKED}"] if "/program" in at else []
            return run_once(sandbox, argv, limits, place / BEGUN)

    def _scores(self, found: Any, split: str) -> Scores | Fault:
        """What the author's code measured, checked against the contract and the units."""
        fault = found.get("fault") if isinstance(found, dict) else {"words": "its result is none"}
        if isinstance(fault, dict):
            return Fault(
                f"{self._author_line(fault.get('line'))}: {str(fault.get('words'))[:2000]}"
            )
        units = read_units(self.prepared, split)
        try:
            return Scores(
                tuple(units),
                checked_scores(
                    found.get("scores"), [o.name for o in self.problem.contract.objectives], units
                ),
            )
        except ValueError as error:
            return Fault(f"{self._author_line(None)}: {error}")

    def _author_line(self, line: object) -> str:
        at = f", line {line}" if isinstance(line, int) else ""
        return f"{self.problem.folder.grade}{at}"


def _refusal(checked: Any, line_of: Callable[[object], str]) -> Refused | Fault | NotGraded:
    if isinstance(checked, NotGraded | Fault):
        return checked
    if isinstance(checked, dict) and isinstance(checked.get("invalid"), str):
        return Refused(checked["invalid"] or "The submission is invalid.")
    fault = checked.get("fault") if isinstance(checked, dict) else None
    words = fault if isinstance(fault, dict) else {"words": "check wrote no result"}
    return Fault(f"{line_of(words.get('line'))}: {str(words.get('words'))[:2000]}")


def checked_scores(
    scores: Any, objectives: list[str], units: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """The values by objective in the order of the units.

    Raises:
        ValueError: an objective or a unit is missing or unknown, or a value is no finite number.
    """
    if not isinstance(scores, dict) or set(scores) != set(objectives):
        got = sorted(scores) if isinstance(scores, dict) else type(scores).__name__
        raise ValueError(f"grade must return exactly the objectives {objectives}, got {got}")
    found = {}
    for name in objectives:
        by_unit = scores[name]
        if not isinstance(by_unit, dict) or set(by_unit) != set(units):
            some = set(by_unit) ^ set(units) if isinstance(by_unit, dict) else {"it is no object"}
            raise ValueError(
                f"'{name}' must have a value for each of the {len(units)} units and no other, see "
                f"'{str(min(some))[:80]}'"
            )
        for unit, value in by_unit.items():
            if not is_finite(value):
                raise ValueError(
                    f"'{name}' of '{unit[:80]}' is {str(value)[:40]}, no finite number"
                )
        found[name] = np.array([float(by_unit[unit]) for unit in units])
    return found
