"""Runs: execute a snapshot on a split and seeds in its own sandbox; results are cached by the
full specification."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aarlab.core.answers import by_seed
from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import RunFolder
from aarlab.core.own_code import ROOT, Code, again, code_of_files, remember, stamped
from aarlab.core.records import Failure, Record, SplitName
from aarlab.core.snapshot import snapshot_hash
from aarlab.models.strong import SOCKET
from aarlab.runs.alone import alone, beside_others
from aarlab.runs.endings import Around, Ending, Processors, ending_of
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import (
    GIB,
    Completed,
    Limits,
    MakeSandbox,
    Mount,
    SandboxSpec,
    Standing,
)
from aarlab.testbeds.student import Failed, OpenSocket
from aarlab.testbeds.testbed import Testbed

Answers = dict[str, dict[str, int]]  # seed -> item id -> 0 or 1
METHOD_FILE, BEGUN = "method.py", ".begun"
FROZEN_RUN_S, TUNED_RUN_S = 120.0, 12 * 3600.0  # time limits of one run
MAX_ANSWERS_BYTES = 64 << 20
STANDING = Standing(disk_bytes=GIB)  # of a run, of which only the answers are kept
MISSHAPEN: Failure = "answers of the wrong shape"
_SHAPE = TypeAdapter(Answers)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


EXECUTE = "aarlab.runs.execute"
WORKER = "aarlab.models.tuned.serve"  # the worker that serves a fine-tuned student to a run


class RunSpec(Record):
    """Everything except aarlab's own code that decides a run's result. Its hash and the code's
    digest are the cache key."""

    snapshot: str  # SHA-256 of the code
    testbed: str  # the fingerprint of the problem's published data, for this split
    split: SplitName
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:24]


@dataclass(frozen=True)
class RunResult:
    """A run's answers and cost; `log` is the end of the method's output."""

    answers: Answers
    log: str
    wall_s: float
    from_cache: bool


class LocalEngine:
    """Executes runs on this machine, `workers` at a time. Each sandbox sees only public data and
    the inputs of one test split."""

    processors = Processors  # measures the processors available to each run

    def __init__(
        self,
        testbed: Testbed,
        cache: Path,
        make_sandbox: MakeSandbox,
        *,
        workers: int,
        timeout_s: float | None = None,
        open_socket: OpenSocket | None = None,
    ) -> None:
        """`timeout_s`: of one run; None is two minutes, twelve hours where the student is
        fine-tuned. `open_socket`: of the student of the testbed, where it can be fine-tuned."""
        if timeout_s is None:
            timeout_s = FROZEN_RUN_S if testbed.preset is None else TUNED_RUN_S
        if testbed.preset is not None and open_socket is None:
            raise Misconfigured(
                f"{testbed.folder.name} has a student that is fine-tuned: give the engine its "
                "socket."
            )
        self.testbed, self.cache, self.make_sandbox, self.open_socket = (
            testbed,
            cache,
            make_sandbox,
            open_socket,
        )
        self.limits = Limits(timeout_s=timeout_s)
        self.pool = ThreadPoolExecutor(workers)

    def run(
        self,
        files: Mapping[str, str],
        split: SplitName,
        seeds: tuple[int, ...],
        *,
        anew: bool = False,
    ) -> RunResult:
        """Execute a snapshot, or return its cached result (`anew`: execute it again). A run that
        the machine ends is repeated once, exclusively.

        Raises:
            InvalidSubmission: the method raised, hung or returned invalid predictions; its author
                must act.
            CouldNotBeRun: the machine ended it twice; there is no result.
            Transient, Misconfigured: the sandbox could not run it; there is no result.
        """
        spec, ran_by = self._spec(files, split, seeds), code_of_run(self.testbed, files)
        folder = self.cache / stamped(spec.key, ran_by)
        kept = RunFolder(folder)
        if kept.answers.exists() and not anew:
            cost, log = json.loads(kept.cost.read_text()), kept.log.read_text()
            return RunResult(json.loads(kept.answers.read_text()), log, **cost, from_cache=True)
        result = self._once_more(spec, files)
        ran_by.require_unchanged()
        remember(self.cache, ran_by)
        _keep(folder, spec, result)
        return result

    def why_again(
        self, files: Mapping[str, str], split: SplitName, seeds: tuple[int, ...]
    ) -> str | None:
        """What changed since this run was made by other code; None where its result is kept, or it
        was never made."""
        key, code = self._spec(files, split, seeds).key, code_of_run(self.testbed, files)
        return None if (self.cache / stamped(key, code)).exists() else again(self.cache, key, code)

    def _spec(self, files: Mapping[str, str], split: SplitName, seeds: tuple[int, ...]) -> RunSpec:
        return RunSpec(
            snapshot=snapshot_hash(files),
            testbed=self.testbed.fingerprint_for(split),
            split=split,
            seeds=seeds,
        )

    def _once_more(self, spec: RunSpec, files: Mapping[str, str]) -> RunResult:
        """Execute a run; if the machine ends it, repeat it once, exclusively."""
        with beside_others(self.cache):
            found = self._execute(spec, files)
        if isinstance(found, Ending):
            with alone(self.cache):
                first, found = found, self._execute(spec, files)
            if isinstance(found, Ending):
                raise CouldNotBeRun(
                    f"The machine ended the run twice: {first.message}; then, run alone: "
                    f"{found.message}. There is no result. Free memory, disk or processors, or "
                    "raise the run's limits, and try again.",
                    failure=found.failure,
                )
        return found

    def _execute(self, spec: RunSpec, files: Mapping[str, str]) -> RunResult | Ending:
        """Execute once; return the result, or how the machine ended the run."""
        with (
            scratch() as place,
            self._socket(spec, place / "socket") as (strong_socket, failed),
        ):
            code, out = place / "code", place / "out"
            write_code(code, files)
            out.mkdir()
            done, left = self._in_sandbox(spec, code, out, strong_socket)
            if done.returncode or done.limit or not os.path.lexists(RunFolder(out).answers):
                if (error := failed()) is not None:  # no result of the method's
                    raise error
                around = Around(
                    (out / BEGUN).exists(),
                    shutil.disk_usage(place).free,
                    left,
                    Standing().memory_bytes,
                )
                ending = ending_of(done, self.limits, around)
                if ending.by_machine:
                    return ending
                raise InvalidSubmission(ending.message, log=done.output, failure=ending.failure)
            answers = read_answers(RunFolder(out).answers)
        return RunResult(answers, done.output, done.wall_s, from_cache=False)

    @contextlib.contextmanager
    def _socket(self, spec: RunSpec, folder: Path) -> Iterator[tuple[Path | None, Failed]]:
        """The folder with the strong model's socket, open during the run, and the worker's last
        failure. No folder if the student is frozen."""
        if self.open_socket is None:
            yield None, lambda: None
            return
        folder.mkdir()
        with self.open_socket(self.testbed, spec.split, folder) as failed:
            yield folder, failed

    def _in_sandbox(
        self, spec: RunSpec, code: Path, out: Path, strong_socket: Path | None
    ) -> tuple[Completed, float]:
        """Run in a sandbox; return how the run ended, and the processors that were available to
        it."""
        test = self.testbed.sealed if spec.split == "final" else self.testbed.public
        mounts = (
            Mount(self.testbed.public, "/data"),
            Mount(test, "/test"),
            Mount(code, "/code"),
            Mount(out, "/out", writable=True),
            *([] if strong_socket is None else [Mount(strong_socket, "/strong")]),
        )
        env = {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp",
        }
        # the aarlab of the cache key, even if another one is installed
        env["PYTHONPATH"] = str(ROOT.parent)
        name = f"run-{spec.key}"
        sandbox = self.make_sandbox(
            SandboxSpec(name=name, mounts=mounts, env=env, workdir="/out", standing=STANDING)
        )
        try:
            inside = sandbox.inside
            argv = [sys.executable, "-m", EXECUTE, "--method", f"{inside('/code')}/{METHOD_FILE}"]
            argv += ["--public", inside("/data"), "--test", inside("/test"), "--split", spec.split]
            argv += [
                "--seeds",
                ",".join(map(str, spec.seeds)),
                "--out",
                str(RunFolder(Path(inside("/out"))).answers),
            ]
            argv += ["--begun", f"{inside('/out')}/{BEGUN}"]
            argv += [] if strong_socket is None else ["--door", f"{inside('/strong')}/{SOCKET}"]
            processors = self.processors()
            done = sandbox.exec(argv, self.limits)
            return done, processors.left(sandbox.usage().cpu_s)
        finally:
            sandbox.close()

    def close(self) -> None:
        """Wait for running runs, drop those that have not begun, and stop the pool."""
        self.pool.shutdown(cancel_futures=True)


def code_of_run(testbed: Testbed, files: Mapping[str, str]) -> Code:
    """The code of this package that a run of these files can import: what runs them, what they
    name, the worker that they may ask, and this module, which passes the files and reads the
    answers."""
    return code_of_files(
        files, EXECUTE, *([] if testbed.preset is None else [WORKER]), alone=(__name__,)
    )


def read_answers(path: Path) -> Answers:
    """Read the answers that untrusted code wrote.

    The path may be anything: a link to a private file, a pipe, a huge file. Only a regular file of
    at most MAX_ANSWERS_BYTES is read.

    Raises:
        InvalidSubmission: it is not such a file, or does not hold {seed: {item id: answer}}.
    """
    # the method's processes have ended, so the file cannot change before it is read
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ANSWERS_BYTES:
        words = f"answers.json must be a regular file of at most {MAX_ANSWERS_BYTES} bytes."
        raise InvalidSubmission(words, failure=MISSHAPEN)
    try:
        answers = _SHAPE.validate_json(path.read_bytes())
        by_seed(answers)
    except (ValidationError, InvalidSubmission) as error:
        words = "answers.json does not hold {seed: {item id: answer}}. Do not write it yourself."
        raise InvalidSubmission(words, failure=MISSHAPEN) from error
    return answers


def write_code(folder: Path, files: Mapping[str, str]) -> None:
    """Write a snapshot into a new folder. Each path component is opened relative to its open parent
    folder, without following links, and no file is overwritten.

    Raises:
        InvalidSubmission: a path leads outside the folder, or two paths collide.
        Transient: the disk is full or cannot be written.
    """
    folder.mkdir()
    root = os.open(folder, _FOLDER)
    try:
        for name, text in files.items():
            _write_below(root, name, text)
    finally:
        os.close(root)


def _write_below(root: int, name: str, text: str) -> None:
    *above, last = name.split("/")
    if not {"", ".", ".."}.isdisjoint([*above, last]) or "\0" in name:
        raise InvalidSubmission(
            f"The snapshot's path {name[:80]!r} leads outside its folder. Rename it.", path=name
        )
    here = os.dup(root)
    try:
        for part in above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = below
        with os.fdopen(os.open(last, _NEW_FILE, 0o644, dir_fd=here), "wb") as file:
            file.write(text.encode())
    except OSError as error:
        if error.errno in {
            errno.EEXIST,
            errno.ELOOP,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.ENAMETOOLONG,
        }:
            words = (
                f"The snapshot's path {name[:80]!r} cannot be written ({error.strerror}). Rename "
                "it."
            )
            raise InvalidSubmission(words, path=name) from error
        raise Transient(
            f"The snapshot cannot be written to disk ({error.strerror}). Try again later."
        ) from error
    finally:
        os.close(here)


def _keep(folder: Path, spec: RunSpec, result: RunResult) -> None:
    """Write a run's folder, completely or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    made = RunFolder(partial)
    made.spec.write_text(spec.model_dump_json(indent=1))
    made.answers.write_text(json.dumps(result.answers))
    made.log.write_text(result.log)
    made.cost.write_text(json.dumps({"wall_s": result.wall_s}))
    try:
        partial.replace(folder)
    except OSError:  # another run of the same spec was faster; its result is the same
        shutil.rmtree(partial)
