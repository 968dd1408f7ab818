"""The run: (snapshot, problem, split, seeds) -> predictions + log, in a sandbox of its own, cached by its whole spec."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.records import Failure, Record, SplitName
from aarlab.core.snapshot import snapshot_hash
from aarlab.models.strong import SOCKET
from aarlab.runs.student import Failed, OpenDoor
from aarlab.runs.testbed import Testbed
from aarlab.sandbox.disk import scratch
from aarlab.sandbox.sandbox import Completed, Limits, Mount, Sandbox, SandboxSpec

MakeSandbox = Callable[[SandboxSpec], Sandbox]
Answers = dict[str, dict[str, int]]  # seed -> item id -> 0 or 1
METHOD_FILE = "method.py"
MAX_ANSWERS_BYTES = 64 << 20
MISSHAPEN: Failure = "answers of the wrong shape"
_SHAPE = TypeAdapter(Answers)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class RunSpec(Record):
    """Everything that decides a run's result; its hash is the cache's key."""

    snapshot: str  # SHA-256 of the code
    testbed: str  # the fingerprint of the problem's published data
    split: SplitName
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:24]


@dataclass(frozen=True)
class RunResult:
    """A run's answers and what it cost; `log` is the tail of what the method printed."""

    answers: Answers
    log: str
    wall_s: float
    from_cache: bool


class LocalEngine:
    """Runs on this machine, `workers` at a time, each in a sandbox that sees public data (and a test split's inputs) only."""

    def __init__(
        self,
        testbed: Testbed,
        cache: Path,
        make_sandbox: MakeSandbox,
        *,
        workers: int,
        timeout_s: float,
        open_door: OpenDoor | None = None,
    ) -> None:
        """`open_door`: of the student of the testbed, where it can be fine-tuned."""
        if testbed.preset is not None and open_door is None:
            raise Misconfigured(f"{testbed.folder.name} has a student that is fine-tuned: give the engine its door.")
        self.testbed, self.cache, self.make_sandbox, self.open_door = testbed, cache, make_sandbox, open_door
        self.limits = Limits(timeout_s=timeout_s)
        self.fingerprint = testbed.fingerprint
        self.pool = ThreadPoolExecutor(workers)

    def run(self, files: Mapping[str, str], split: SplitName, seeds: tuple[int, ...]) -> RunResult:
        """Execute a snapshot, or take its result from the cache.

        Raises:
            InvalidSubmission: the method raised, hung or returned what is no prediction; its author must act.
            Transient, Misconfigured: the sandbox could not run it; that is no result.
        """
        spec = RunSpec(snapshot=snapshot_hash(files), testbed=self.fingerprint, split=split, seeds=seeds)
        folder = self.cache / spec.key
        if (folder / "answers.json").exists():
            cost = json.loads((folder / "cost.json").read_text())
            log = (folder / "log.txt").read_text()
            return RunResult(json.loads((folder / "answers.json").read_text()), log, **cost, from_cache=True)
        return self._execute(spec, files, folder)

    def _execute(self, spec: RunSpec, files: Mapping[str, str], folder: Path) -> RunResult:
        with scratch("aar-run-") as place, self._door(spec, place / "door") as (door, failed):
            code, out = place / "code", place / "out"
            write_code(code, files)
            out.mkdir()
            done = self._in_sandbox(spec, code, out, door)
            if done.returncode or not os.path.lexists(out / "answers.json"):
                if (error := failed()) is not None:  # no result of the method's
                    raise error
                raise InvalidSubmission(_why(done, self.limits), log=done.output, failure=_kind(done))
            answers = read_answers(out / "answers.json")
        result = RunResult(answers, done.output, done.wall_s, from_cache=False)
        _keep(folder, spec, result)
        return result

    @contextlib.contextmanager
    def _door(self, spec: RunSpec, folder: Path) -> Iterator[tuple[Path | None, Failed]]:
        """A folder with the socket of the strong model, open for as long as the run lasts, and what failed behind it; no folder
        where the student is frozen."""
        if self.open_door is None:
            yield None, lambda: None
            return
        folder.mkdir()
        with self.open_door(self.testbed, spec.split, folder) as failed:
            yield folder, failed

    def _in_sandbox(self, spec: RunSpec, code: Path, out: Path, door: Path | None) -> Completed:
        test = self.testbed.sealed if spec.split == "final" else self.testbed.public
        mounts = (
            Mount(self.testbed.public, "/data"),
            Mount(test, "/test"),
            Mount(code, "/code"),
            Mount(out, "/out", writable=True),
            *([] if door is None else [Mount(door, "/strong")]),
        )
        env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
        sandbox = self.make_sandbox(SandboxSpec(name=f"run-{spec.key}", mounts=mounts, env=env, workdir="/out"))
        try:
            inside = sandbox.inside
            argv = [sys.executable, "-m", "aarlab.runs.execute", "--method", f"{inside('/code')}/{METHOD_FILE}"]
            argv += ["--public", inside("/data"), "--test", inside("/test"), "--split", spec.split]
            argv += ["--seeds", ",".join(map(str, spec.seeds)), "--out", f"{inside('/out')}/answers.json"]
            argv += [] if door is None else ["--door", f"{inside('/strong')}/{SOCKET}"]
            return sandbox.exec(argv, self.limits)
        finally:
            sandbox.close()

    def close(self) -> None:
        """Wait for running runs and stop the pool."""
        self.pool.shutdown()


def read_answers(path: Path) -> Answers:
    """The answers that untrusted code left behind.

    It may have left anything: a link to one of our files, a pipe, a flood. Only a plain file of a sane size is read.

    Raises:
        InvalidSubmission: it is no such file, or does not hold {seed: {item id: answer}}.
    """
    status = path.lstat()  # the method's processes are gone, so what is seen here is what is read
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ANSWERS_BYTES:
        words = f"answers.json must be a plain file of at most {MAX_ANSWERS_BYTES} bytes."
        raise InvalidSubmission(words, failure=MISSHAPEN)
    try:
        return _SHAPE.validate_json(path.read_bytes())
    except ValidationError as error:
        words = "answers.json does not hold {seed: {item id: answer}}. Do not write it yourself."
        raise InvalidSubmission(words, failure=MISSHAPEN) from error


def write_code(folder: Path, files: Mapping[str, str]) -> None:
    """Write a snapshot into a new folder. Safe by itself: each step down is relative to a folder that is held open, follows no
    link, and no file is written over.

    Raises:
        InvalidSubmission: a path leaves the folder, or two paths collide.
        Transient: the disk cannot take it.
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
        raise InvalidSubmission(f"The snapshot's path {name[:80]!r} leaves its folder. Rename it.", path=name)
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
        if error.errno in {errno.EEXIST, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}:
            words = f"The snapshot's path {name[:80]!r} cannot be written ({error.strerror}). Rename it."
            raise InvalidSubmission(words, path=name) from error
        raise Transient(f"The snapshot cannot be written out ({error.strerror}). Try again later.") from error
    finally:
        os.close(here)


def _kind(done: Completed) -> Failure:
    """How a run without answers failed, without a word of what it printed."""
    if done.timed_out:
        return "timed out"
    return "ended with an error" if done.returncode else "wrote no answers"


def _why(done: Completed, limits: Limits) -> str:
    if done.timed_out:
        return f"The method did not finish within {limits.timeout_s:.0f} s. Make it faster."
    last = done.output.strip().splitlines()[-1:] or ["it printed nothing"]
    return f"The method ended with status {done.returncode} and wrote no answers: {last[0][:500]}"


def _keep(folder: Path, spec: RunSpec, result: RunResult) -> None:
    """Write a run's directory; it appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    (partial / "spec.json").write_text(spec.model_dump_json(indent=1))
    (partial / "answers.json").write_text(json.dumps(result.answers))
    (partial / "log.txt").write_text(result.log)
    (partial / "cost.json").write_text(json.dumps({"wall_s": result.wall_s}))
    try:
        partial.replace(folder)
    except OSError:  # another run of the same spec was faster; its result is the same
        shutil.rmtree(partial)
