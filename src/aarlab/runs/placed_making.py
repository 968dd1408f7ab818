"""What code submits to a problem in a folder, made by an engine: on a node, from public data and
the split's inputs alone. Secrets do not travel: gradings stay on the evaluator's machine."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from aarlab.core.author import WEIGHTS
from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.core.layout import PreparedFolder
from aarlab.core.own_code import whole_code
from aarlab.core.snapshot import snapshot_hash
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.runs.data_pack import hash_of, pack, write_files
from aarlab.runs.endings import MachineState, ending_of
from aarlab.runs.engine_contract import Engine, ended
from aarlab.runs.folder_run import BEGUN, METHOD, limits_of, sandbox_of, weights_of
from aarlab.runs.make_inside import PREDICTIONS
from aarlab.runs.run_jobs import (
    MAX_RESULT_BYTES,
    Job,
    JobHead,
    JobLimits,
    JobResources,
    key_of,
    opened,
)
from aarlab.sandbox.disk_usage import scratch

INSIDE = "aarlab.runs.make_inside"
MADE = "made"
NONE = "submit(public, inputs, out, seed) returned no predictions. Return {item id: value}."


def require_placeable(problem: FolderProblem) -> None:
    """Raises Misconfigured where what is submitted may be larger than what comes back of a node."""
    if problem.contract.submission.max_bytes > MAX_RESULT_BYTES:
        raise Misconfigured(
            f"{problem.folder.contract}: a submission may have "
            f"{problem.contract.submission.max_bytes:,} bytes, and {MAX_RESULT_BYTES:,} come back "
            "of a node. Lower max_bytes, or leave engine out."
        )


class PlacedMaking:
    """One, which is begun. A context that gives the submission, as `prepared.submission` does;
    `drop` ends it where nobody enters it any more."""

    def __init__(
        self,
        problem: FolderProblem,
        prepared: PreparedFolder,
        files: Mapping[str, str],
        split: str,
        seed: int,
        engine: Engine,
    ) -> None:
        """Raises Transient, Misconfigured: see `Engine.submit`."""
        self._problem, self._engine, self._split = problem, engine, split
        self._kept = contextlib.ExitStack()
        try:
            inputs = self._kept.enter_context(_inputs(problem, prepared, split))
            job = _job(problem, prepared, dict(files), inputs, seed)
            self._key: str | None = engine.submit(job, JobResources(cpus=problem.contract.run.cpus))
        except BaseException:
            self._kept.close()
            raise

    def __enter__(self) -> Path:
        """Wait for it.

        Raises:
            InvalidSubmission: the code failed, or submitted nothing that can be graded.
            CouldNotBeRun: the machine ended it.
            Transient, Misconfigured: it was not run.
        """
        assert self._key is not None
        key, self._key = self._key, None
        head, result = opened(ended(self._engine, key))
        self._require_made(head, result)
        place = self._kept.enter_context(scratch())
        made = place / MADE
        if self._problem.contract.submission.kind == "predictions":
            made.write_bytes(result or b"")
        else:
            made.mkdir()
            try:
                write_files(made, result or b"", "What a node made")
            except OSError as error:
                raise CouldNotBeRun(
                    f"What was made cannot be written here ({error.strerror}). Make room."
                ) from error
        return made

    def _require_made(self, head: JobHead, result: bytes | None) -> None:
        limits, done = self._problem.contract.run, head.completed
        if done.returncode or done.limit or done.timed_out:
            memory = JobLimits.of(limits_of(limits), sandbox_of("", limits).standing)
            around = MachineState(head.begun, head.free_bytes, head.left, memory.together_bytes)
            why = ending_of(done, limits_of(limits), around)
            kind = CouldNotBeRun if why.by_machine else InvalidSubmission
            raise kind(why.message.replace("answers", "submission"), failure=why.failure)
        if head.misshapen:
            words = head.words or f"{PREDICTIONS} is no regular file. Send one."
            raise InvalidSubmission(f"what it submits is refused: {words}")
        if result is None:
            raise InvalidSubmission(NONE)

    def drop(self) -> None:
        """End it, if it runs, and remove what it made."""
        if self._key is not None:
            self._engine.cancel(self._key)
            self._key = None
        self._kept.close()

    def __exit__(self, *exc: object) -> None:
        self.drop()


@contextlib.contextmanager
def _inputs(problem: FolderProblem, prepared: PreparedFolder, split: str) -> Iterator[Path | None]:
    """A folder with the split's items alone, where predictions are submitted."""
    if problem.contract.submission.kind != "predictions":
        yield None
        return
    with scratch() as place:
        folder = place / "inputs"
        folder.mkdir()
        shutil.copy(prepared.inputs(split), folder)
        yield folder


def _job(
    problem: FolderProblem,
    prepared: PreparedFolder,
    files: dict[str, str],
    inputs: Path | None,
    seed: int,
) -> Job:
    contract, code = problem.contract, whole_code().digest
    spec = sandbox_of(f"made-{contract.name}", contract.run)
    in_folder = contract.submission.kind != "predictions"
    argv = ["@python", "-m", INSIDE, "--seed", str(seed), "--code", f"@/code/{METHOD}"]
    argv += ["--begun", f"@/out/{BEGUN}", "--public", "@/public"]
    argv += ["--out", f"@/out/{MADE}" if in_folder else "@/out"]
    folders = {"/public": prepared.public}
    if inputs is not None:
        folders["/inputs"] = inputs
        (one,) = inputs.iterdir()
        argv += ["--inputs", f"@/inputs/{one.name}"]
    for mount in weights_of(contract):
        folders[str(WEIGHTS)] = mount.source
        argv += ["--weights", f"@{WEIGHTS}"]
    limits = JobLimits.of(limits_of(contract.run), spec.standing)
    data = [
        hash_of(pack(folders[target])) for target in ("/public", "/inputs") if target in folders
    ]
    about = (snapshot_hash(files), problem.digest, data, argv, limits.model_dump(), code)
    return Job(
        name=spec.name,
        key=key_of("making", *about),
        code=code,
        files=files,
        folders=folders,
        argv=tuple(argv),
        env={name: value for name, value in spec.env.items() if name != "PYTHONPATH"},
        limits=limits,
        result=MADE if in_folder else PREDICTIONS,
        begun=BEGUN,
        folder_bytes=contract.submission.max_bytes if in_folder else None,
        own=contract.run.folders,
        image=contract.run.image,
    )
