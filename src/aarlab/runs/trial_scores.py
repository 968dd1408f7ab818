"""Submissions to a problem in a folder, made and graded as often as the contract says."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured, Transient
from aarlab.core.plain_text import read_text
from aarlab.core.records import Failure
from aarlab.evaluation.scoring.unit_scores import Measured, unit_scores
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.runs.folder_run import METHOD
from aarlab.runs.grading import Fault, Grader, NotGraded, Refused, Scores
from aarlab.runs.placed_making import PlacedMaking
from aarlab.runs.plain_files import plain_files, read_plain
from aarlab.runs.prepared import submission
from aarlab.sandbox.sandbox import MakeSandbox

NoScore = Refused | Fault | NotGraded
SEEDS = (1, 2, 3)  # of baselines
Say = Callable[[str, int, int], None]


def grade_trials(grader: Grader, handed_in: Path, split: str) -> Measured | NoScore:
    """A submission graded as often as the contract says; the first grading without a score ends
    it."""
    contract = grader.problem.contract
    found: list[Scores] = []
    for trial in range(contract.trials):
        outcome = grader.grade(handed_in, split, trial)
        if not isinstance(outcome, Scores):
            return outcome
        found.append(outcome)
    pairs = {
        o.name: unit_scores(o, np.stack([s.values_M[o.name] for s in found])[None])
        for o in contract.objectives
    }
    return Measured({n: s for n, (s, _) in pairs.items()}, {n: b for n, (_, b) in pairs.items()})


@dataclass(frozen=True)
class Made:
    """What code submitted on some seeds, graded. `submitted`: SHA-256 of what it was, whichever
    seed made which: equal submissions are one question to the grader's secrets."""

    measured: Measured
    submitted: str


def measure_files(
    grader: Grader,
    files: Mapping[str, str],
    split: str,
    seeds: Sequence[int],
    make_sandbox: MakeSandbox,
    *,
    at: str = METHOD,
    again: bool = False,
) -> Made | NoScore:
    """What code with `submit` submits, run and graded on every seed; equal submissions are graded
    once, unless `again`. `at` names the code in messages.

    Raises:
        Transient, Misconfigured: no sandbox could be started; there is no result.
    """
    found: dict[str, list[Measured]] = {}
    digests: list[str] = []
    with contextlib.ExitStack() as begun:
        makings = _makings(grader, files, split, seeds, make_sandbox, begun)
        for seed, making in zip(seeds, makings, strict=True):
            where = f"{at}, seed {seed}"
            try:
                with making as made:
                    outcome = _unless_known(grader, made, split, digests, () if again else found)
            except InvalidSubmission as error:
                return Refused(f"{where}: {error}", **_kind_of(error))
            except CouldNotBeRun as error:
                return NotGraded(f"{where}: {error}")
            if outcome is None:
                continue
            if isinstance(outcome, Refused):
                return Refused(f"{where}: what it submits is refused: {outcome.words}")
            if not isinstance(outcome, Measured):
                return outcome
            found.setdefault(digests[-1], []).append(outcome)
    rows = [found[d].pop(0) if len(found[d]) > 1 else found[d][0] for d in digests]
    measured = Measured(
        {n: np.concatenate([m.scores[n] for m in rows]) for n in rows[0].scores},
        {n: float(np.mean([m.beyond[n] for m in rows])) for n in rows[0].scores},
    )
    return Made(measured, hashlib.sha256("".join(sorted(digests)).encode()).hexdigest())


def _makings(
    grader: Grader,
    files: Mapping[str, str],
    split: str,
    seeds: Sequence[int],
    make_sandbox: MakeSandbox,
    begun: contextlib.ExitStack,
) -> list[AbstractContextManager[Path]]:
    """One for each seed: with an engine all are begun, and end with `begun`; without one each is
    made when it is entered."""
    where, made = (grader.problem, grader.prepared, files, split), []
    for seed in seeds:
        if grader.engine is None:
            made.append(submission(*where, seed, make_sandbox))
        else:
            making = PlacedMaking(*where, seed, grader.engine)
            begun.callback(making.drop)
            made.append(making)
    return made


def _unless_known(
    grader: Grader, made: Path, split: str, digests: list[str], known: Container[str]
) -> Measured | NoScore | None:
    """A submission graded, and its question noted; None where its grading is known."""
    try:
        digests.append(question_of(grader, made, split))
    except InvalidSubmission as error:
        return Refused(str(error))
    return None if digests[-1] in known else grade_trials(grader, made, split)


def _kind_of(error: InvalidSubmission) -> dict[str, Failure]:
    return {"failure": error.facts["failure"]} if "failure" in error.facts else {}


def question_of(grader: Grader, made: Path, split: str) -> str:
    """What a submission asks, as a digest: that of its predictions, however they are written down,
    or of its files.

    Raises:
        InvalidSubmission: no grader takes it.
    """
    what = grader.problem.contract.submission
    if what.kind != "predictions":
        return digest_of_submission(made, what.max_bytes)
    found = grader.predictions(made, split)
    values = {item: float(v) if type(v) is int else v for item, v in found.items()}
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def digest_of_submission(made: Path, limit: int) -> str:
    """SHA-256 of a file, or of a folder's files by their paths.

    Raises:
        InvalidSubmission: no grader takes it; see `read_plain` and `plain_files`.
    """
    whole = hashlib.sha256()
    in_folder = made.is_dir() and not made.is_symlink()
    found = plain_files(made, limit) if in_folder else [(".", read_plain(made, limit))]
    for name, data in found:
        kind, plain = ("folder", b"") if data is None else ("file", data)
        whole.update(f"{len(name)} {name} {kind} {len(plain)}\n".encode() + plain)
    return whole.hexdigest()


def measure_code(
    grader: Grader, path: Path, split: str, seeds: Sequence[int], make_sandbox: MakeSandbox
) -> Measured | NoScore:
    """What a file with `submit` submits, run and graded on every seed, so that noise of gradings
    shows."""
    try:
        code, noisy = {METHOD: read_text(path)}, grader.problem.contract.trials > 1
    except Misconfigured as error:
        return Refused(str(error))
    found = measure_files(grader, code, split, seeds, make_sandbox, at=str(path), again=noisy)
    return found.measured if isinstance(found, Made) else found


def measure_baseline(
    grader: Grader, name: str, split: str, seeds: Sequence[int], make_sandbox: MakeSandbox
) -> Measured | NoScore:
    """A baseline run and graded on every seed; what it fails in is the author's fault."""
    path = grader.problem.folder.baseline(name)
    found = measure_code(grader, path, split, seeds, make_sandbox)
    return Fault(found.words) if isinstance(found, Refused) else found


def measured_baselines(
    grader: Grader, names: Sequence[str], split: str, make_sandbox: MakeSandbox, say: Say
) -> dict[str, Measured]:
    """Baselines by name, each run and graded on SEEDS.

    Raises:
        Misconfigured: one fails, by a fault of the problem's author.
        Transient: the machine ended a run of one.
    """
    found = {}
    for number, name in enumerate(names):
        say(f"baselines on {split}", number, len(names))
        one = measure_baseline(grader, name, split, SEEDS, make_sandbox)
        if isinstance(one, NotGraded):
            raise Transient(remedied(grader.problem, one))
        if not isinstance(one, Measured):
            raise Misconfigured(remedied(grader.problem, one))
        found[name] = one
    return found


def remedied(problem: FolderProblem, outcome: NoScore) -> str:
    """A failed grading as one sentence with the remedy for the author."""
    said = outcome.words.rstrip(". ")
    if isinstance(outcome, Refused):
        return f"{said}. Accept it, or correct the baseline."
    if isinstance(outcome, Fault):
        if ", line " in said:
            return f"{said}. Correct this line, or catch what a submission can cause."
        return f"{said}." if said.endswith("Make it faster") else f"{said}. Correct it."
    at = "" if str(problem.folder.root) in said else f"{problem.folder.grade}: "
    return (
        f"{at}{said}. Make it use less, or raise the limits `run` and `grading` in problem.yaml; "
        "if the machine was busy, run the check again."
    )
