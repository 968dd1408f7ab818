"""Runs: execute a snapshot on a split and seeds in its own sandbox; results are cached by the
full specification."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aarlab.core.answers import by_seed
from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.core.files import folder_whole
from aarlab.core.layout import RunFolder
from aarlab.core.own_code import CodeRecord, again, code_of_files, remember, stamped, whole_code
from aarlab.core.records import Failure, Record, SplitName
from aarlab.core.snapshot import snapshot_hash
from aarlab.models.device_meter import OPERATOR, DeviceMeter
from aarlab.models.student_contract import SOCKET
from aarlab.runs import written_code
from aarlab.runs.device_charge import beside_a_device, ended_and_charged
from aarlab.runs.endings import Ending, MachineState, Processors, ending_of
from aarlab.runs.engine_contract import DeviceEngine, Engine, ended
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.run_jobs import (
    MAX_RESULT_BYTES,
    STRONG,
    Job,
    JobLimits,
    JobResources,
    key_of,
    opened,
)
from aarlab.runs.run_worker import read_regular
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import (
    GIB,
    Limits,
    MakeSandbox,
    Standing,
)
from aarlab.testbeds.student import Failed, Student
from aarlab.testbeds.testbed import Testbed

Meters = Callable[[str], DeviceMeter]
Answers = dict[str, dict[str, int]]  # seed -> item id -> 0 or 1
METHOD_FILE, BEGUN = "method.py", ".begun"
FROZEN_RUN_S, TUNED_RUN_S = 120.0, 12 * 3600.0  # time limits of one run
MOST_ALONE = 3  # runs in a row of one researcher that are repeated, and end again
STANDING = Standing(disk_bytes=GIB)  # of a run, of which only the answers are kept
ENV = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/tmp",
}
MISSHAPEN: Failure = "answers of the wrong shape"
_SHAPE = TypeAdapter(Answers)


EXECUTE = "aarlab.runs.execute"
# they pass the files, and read what was left
PASSING = (Job.__module__, read_regular.__module__, written_code.__name__)
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
        student: Student | None = None,
        engine: Engine | None = None,
        meters: Meters | None = None,
    ) -> None:
        """`timeout_s`: of one run; None is two minutes, twelve hours where the student is
        fine-tuned. `student`: of the testbed; needed where it can be fine-tuned. `engine`: what
        places the runs; threads of this process if not given. `meters`: a new meter of someone's
        device time; nobody's is counted if not given."""
        if timeout_s is None:
            timeout_s = FROZEN_RUN_S if testbed.preset is None else TUNED_RUN_S
        self.strong = None if student is None or student.open_socket is None else student
        if testbed.preset is not None and self.strong is None:
            raise Misconfigured(
                f"{testbed.folder.name} has a student that is fine-tuned: give it to the engine."
            )
        self.testbed, self.cache, self.make_sandbox = testbed, cache, make_sandbox
        self._meters = meters
        self._ended_twice: Counter[str] = Counter()  # by who asked, in a row
        self.limits = Limits(timeout_s=timeout_s)
        self.pool = ThreadPoolExecutor(workers)
        self._devices: DeviceEngine | None = None  # whose devices fine-tune, if not those from here
        if engine is not None and self.strong is not None:
            if not isinstance(engine, DeviceEngine):
                raise Misconfigured(
                    f"{testbed.folder.name} has a student that is fine-tuned, and this engine "
                    "places nothing on devices. Leave engine out."
                )
            self._devices = engine
        self.engine = engine or LocalPool(
            make_sandbox, cache, workers=workers, processors=lambda: self.processors()
        )

    def run(
        self,
        files: Mapping[str, str],
        split: SplitName,
        seeds: tuple[int, ...],
        *,
        anew: bool = False,
        who: str = OPERATOR,
    ) -> RunResult:
        """Execute a snapshot, or return its cached result (`anew`: execute it again). A run that
        the machine ends is repeated once, exclusively. `who`: asked for it, and is charged for the
        device.

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
        result = self._once_more(spec, files, who)
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

    def _once_more(self, spec: RunSpec, files: Mapping[str, str], who: str) -> RunResult:
        """Execute a run; if the machine ends it, repeat it once, exclusively. Nothing else runs
        meanwhile, and code can end itself: so many of a researcher's that ended twice are enough.
        """
        found = self._execute(spec, files, JobResources(), who)
        if not isinstance(found, Ending):
            return found
        if self._ended_twice[who] >= MOST_ALONE and who != OPERATOR:
            raise CouldNotBeRun(
                f"The machine ended the run: {found.message}. It was not repeated alone: your last "
                f"{MOST_ALONE} that were ended so, too. There is no result.",
                failure=found.failure,
            )
        first, found = found, self._execute(spec, files, JobResources(alone=True), who)
        if isinstance(found, Ending):
            self._ended_twice[who] += 1
            raise CouldNotBeRun(
                f"The machine ended the run twice: {first.message}; then, run alone: "
                f"{found.message}. There is no result. Free memory, disk or processors, or "
                "raise the run's limits, and try again.",
                failure=found.failure,
            )
        self._ended_twice[who] = 0
        return found

    def _execute(
        self, spec: RunSpec, files: Mapping[str, str], resources: JobResources, who: str
    ) -> RunResult | Ending:
        """Execute once; return the result, or how the machine ended the run."""
        job = self._job(spec, files)
        if self.strong is None:
            return self._read(self._placed(job, resources))
        meter = None if self._meters is None else self._meters(who)
        if self._devices is not None:
            return self._read(self._on_a_node(job, spec.split, resources, who, meter))
        with self._socket(spec, meter) as (folder, failed):
            beside = {"folders": {**job.folders, STRONG: folder}, "key": key_of(job.key, folder)}
            return self._read(self._placed(job.model_copy(update=beside), resources), failed)

    def _read(self, end: bytes, failed: Failed = lambda: None) -> RunResult | Ending:
        """The result in a job's end, or how the machine ended it. `failed`: whether the strong
        model's worker did meanwhile."""
        head, result = opened(end)
        done = head.completed
        if done.returncode or done.limit or (result is None and not head.misshapen):
            if (error := failed()) is not None:  # no result of the method's
                raise error
            around = MachineState(head.begun, head.free_bytes, head.left, Standing().memory_bytes)
            ending = ending_of(done, self.limits, around)
            if ending.by_machine:
                return ending
            raise InvalidSubmission(ending.message, log=done.output, failure=ending.failure)
        return RunResult(answers_of(result), done.output, done.wall_s, from_cache=False)

    def _placed(self, job: Job, resources: JobResources) -> bytes:
        """Have a job run, and wait for it."""
        return ended(self.engine, self.engine.submit(job, resources))

    def _on_a_node(
        self,
        job: Job,
        split: SplitName,
        resources: JobResources,
        who: str,
        meter: DeviceMeter | None,
    ) -> bytes:
        """Have a job run beside a device that an engine places it on, and wait for it."""
        assert self.strong is not None
        assert self.strong.elsewhere is not None
        assert self._devices is not None
        offered = self.strong.elsewhere(self.testbed, split)
        placed = beside_a_device(job, offered, who)
        return ended_and_charged(self._devices, placed, resources, meter)

    @contextlib.contextmanager
    def _socket(self, spec: RunSpec, meter: DeviceMeter | None) -> Iterator[tuple[Path, Failed]]:
        """The folder with the strong model's socket, open during the run, and the worker's last
        failure."""
        assert self.strong is not None
        assert self.strong.open_socket is not None
        with scratch() as place:
            folder = place / "socket"
            folder.mkdir()
            with self.strong.open_socket(self.testbed, spec.split, folder, meter) as failed:
                yield folder, failed

    def _job(self, spec: RunSpec, files: Mapping[str, str]) -> Job:
        """The run as any engine takes it; its socket, if it has one, is in STRONG."""
        test = self.testbed.sealed if spec.split == "final" else self.testbed.public
        answers = RunFolder(Path("@/out")).answers
        argv = ["@python", "-m", EXECUTE, "--method", f"@/code/{METHOD_FILE}"]
        argv += ["--public", "@/data", "--test", "@/test", "--split", spec.split]
        argv += ["--seeds", ",".join(map(str, spec.seeds)), "--out", str(answers)]
        argv += ["--begun", f"@/out/{BEGUN}"]
        argv += [] if self.strong is None else ["--strong-socket", f"@{STRONG}/{SOCKET}"]
        limits = JobLimits.of(self.limits, STANDING)
        code = whole_code().digest
        return Job(
            name=f"run-{spec.key}",
            key=key_of(spec.key, code, limits.model_dump()),
            code=code,
            files=dict(files),
            folders={"/data": self.testbed.public, "/test": test},
            argv=tuple(argv),
            env=dict(ENV),
            limits=limits,
            result=answers.name,
            begun=BEGUN,
        )

    def close(self) -> None:
        """End all runs, also those that have begun; who waits for one is informed that it may be
        run again."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.engine.close()
        self.pool.shutdown()


def code_of_run(testbed: Testbed, files: Mapping[str, str]) -> CodeRecord:
    """The code of this package that a run of these files can import: what runs them, what they
    name, the worker that they may ask, and this module, which passes the files and reads the
    answers."""
    return code_of_files(
        files, EXECUTE, *([] if testbed.preset is None else [WORKER]), alone=(__name__, *PASSING)
    )


def read_answers(path: Path) -> Answers:
    """Read the answers that untrusted code wrote.

    Raises:
        InvalidSubmission: see `read_regular` and `answers_of`.
    """
    try:
        return answers_of(read_regular(path))
    except InvalidSubmission as error:
        raise InvalidSubmission(str(error), failure=MISSHAPEN) from error


def answers_of(data: bytes | None) -> Answers:
    """The answers in bytes that untrusted code wrote; None stands for what is no plain file.

    Raises:
        InvalidSubmission: they do not hold {seed: {item id: answer}}.
    """
    if data is None:
        words = f"answers.json must be a regular file of at most {MAX_RESULT_BYTES} bytes."
        raise InvalidSubmission(words, failure=MISSHAPEN)
    try:
        answers = _SHAPE.validate_json(data)
        by_seed(answers)
    except (ValidationError, InvalidSubmission) as error:
        words = "answers.json does not hold {seed: {item id: answer}}. Do not write it yourself."
        raise InvalidSubmission(words, failure=MISSHAPEN) from error
    return answers


def _keep(folder: Path, spec: RunSpec, result: RunResult) -> None:
    """Write a run's folder, completely or not at all."""
    with folder_whole(folder) as partial:
        made = RunFolder(partial)
        made.spec.write_text(spec.model_dump_json(indent=1))
        made.answers.write_text(json.dumps(result.answers))
        made.log.write_text(result.log)
        made.cost.write_text(json.dumps({"wall_s": result.wall_s}))
