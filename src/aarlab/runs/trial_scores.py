"""Submissions to a problem in a folder, made and graded as often as the contract says."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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
    with grader.checked(handed_in, split) as fit:
        return _trials(grader, fit, split) if isinstance(fit, Path) else fit


def _trials(grader: Grader, fit: Path, split: str) -> Measured | Fault | NotGraded:
    contract = grader.problem.contract
    found: list[Scores] = []
    for trial in range(contract.trials):
        outcome = grader.scored(fit, split, trial)
        if not isinstance(outcome, Scores):
            return outcome
        found.append(outcome)
    pairs = {
        o.name: unit_scores(o, np.stack([s.values_M[o.name] for s in found])[None])
        for o in contract.objectives
    }
    return Measured({n: s for n, (s, _) in pairs.items()}, {n: b for n, (_, b) in pairs.items()})


@dataclass(frozen=True)
class GradedSubmissions:
    """What code submitted on some seeds, graded. `submitted`: SHA-256 of what it was, whichever
    seed made which: equal submissions are one question to the grader's secrets."""

    measured: Measured
    submitted: str


@dataclass(frozen=True)
class Submissions:
    """What code submitted on some seeds, made and checked on all of them; no secret was looked at.
    `fits`: of each seed, what its submission asks, and the copy that is graded."""

    grader: Grader
    split: str
    fits: tuple[tuple[str, Path], ...]

    @property
    def submitted(self) -> str:
        """See `GradedSubmissions`."""
        digests = sorted(digest for digest, _ in self.fits)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def graded(self, *, again: bool = False) -> GradedSubmissions | Fault | NotGraded:
        """Equal submissions are graded once, unless `again`. Whatever comes of it can depend on the
        secrets.

        Raises:
            Transient, Misconfigured: no sandbox could be started; there is no result.
        """
        rows: list[Measured] = []
        known: dict[str, Measured] = {}
        for digest, fit in self.fits:
            found = None if again else known.get(digest)
            outcome = _trials(self.grader, fit, self.split) if found is None else found
            if not isinstance(outcome, Measured):
                return outcome
            rows.append(known.setdefault(digest, outcome) if not again else outcome)
        measured = Measured(
            {n: np.concatenate([m.scores[n] for m in rows]) for n in rows[0].scores},
            {n: float(np.mean([m.beyond[n] for m in rows])) for n in rows[0].scores},
        )
        return GradedSubmissions(measured, self.submitted)


@contextlib.contextmanager
def submissions(
    grader: Grader,
    files: Mapping[str, str],
    split: str,
    seeds: Sequence[int],
    make_sandbox: MakeSandbox,
    *,
    at: str = METHOD,
) -> Iterator[Submissions | NoScore]:
    """What code with `submit` submits, made and checked on every seed before any of it is graded:
    a later seed that is refused must not say how the grading of an earlier one ended. `at` names
    the code in messages.

    Raises:
        Transient, Misconfigured: no sandbox could be started; there is no result.
    """
    fits: list[tuple[str, Path]] = []
    with contextlib.ExitStack() as kept:
        makings = _makings(grader, files, split, seeds, make_sandbox, kept)
        for seed, making in zip(seeds, makings, strict=True):
            found = _checked(grader, making, split, dict(fits), kept)
            if not isinstance(found, tuple):
                where = f"{at}, seed {seed}: "
                yield (
                    found if isinstance(found, Fault) else replace(found, words=where + found.words)
                )
                return
            fits.append(found)
        yield Submissions(grader, split, tuple(fits))


def _checked(
    grader: Grader,
    making: AbstractContextManager[Path],
    split: str,
    known: Mapping[str, Path],
    kept: contextlib.ExitStack,
) -> tuple[str, Path] | NoScore:
    """What the submission of one seed asks, and a copy that can be graded; equal ones have one."""
    try:
        with making as made:
            try:
                digest = question_of(grader, made, split)
            except InvalidSubmission as error:
                return Refused(f"what it submits is refused: {error}")
            fit = known.get(digest) or kept.enter_context(grader.checked(made, split))
    except InvalidSubmission as error:
        return Refused(str(error), **_kind_of(error))
    except CouldNotBeRun as error:
        return NotGraded(str(error))
    if isinstance(fit, Refused):
        return Refused(f"what it submits is refused: {fit.words}")
    return (digest, fit) if isinstance(fit, Path) else fit


def measure_files(
    grader: Grader,
    files: Mapping[str, str],
    split: str,
    seeds: Sequence[int],
    make_sandbox: MakeSandbox,
    *,
    at: str = METHOD,
    again: bool = False,
) -> GradedSubmissions | NoScore:
    """What code with `submit` submits, run and graded on every seed: see `submissions` and
    `Submissions.graded`.

    Raises:
        Transient, Misconfigured: no sandbox could be started; there is no result.
    """
    with submissions(grader, files, split, seeds, make_sandbox, at=at) as found:
        return found.graded(again=again) if isinstance(found, Submissions) else found


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
    return found.measured if isinstance(found, GradedSubmissions) else found


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
