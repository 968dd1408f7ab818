"""Jobs -> answers: one method on one testbed and one seed each, over processes of one thread. Kept as they come, so resumable.

Only answers are kept, no label and no score: grading is done again by whoever reads them. Legend: M test items.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

import aarlab.methods
import aarlab.models.head
from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import SplitName
from aarlab.methods.library import METHODS
from aarlab.methods.method import RunMethod, Task, check_output
from aarlab.models.strong import SOCKET
from aarlab.runs.data import load_task
from aarlab.runs.execute import load_method
from aarlab.runs.student import OpenDoor
from aarlab.runs.testbed import Testbed

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """Everything that decides the answers of one run."""

    testbed: Testbed
    split: SplitName
    method: str  # a registered name, or the path of a file
    seed: int

    @property
    def key(self) -> str:
        """Hash of testbed, split, method, its code and seed."""
        words = (self.testbed.fingerprint, self.split, self.method, code_digest(self.method), str(self.seed))
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Answered:
    """Answers (M,) of bool, in the order of sorted item ids, and the seconds that the method took on loaded data."""

    answers_M: NDArray[np.bool_]
    seconds: float


@cache
def code_digest(method: str) -> str:
    """SHA-256 of the code that a method's answers depend on: its file, or all that ship and their head."""
    folders = [Path(aarlab.methods.__file__).parent.glob("*.py"), [Path(aarlab.models.head.__file__)]]
    own = [Path(method)] if method.endswith(".py") else []
    files = sorted(p for some in folders for p in some) + own
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


def runner(method: str) -> RunMethod:
    """The function of a registered name or of a file.

    Raises:
        Misconfigured: no such name. InvalidSubmission: the file has no `run`.
    """
    return load_method(Path(method)) if method.endswith(".py") else METHODS[method].run


def task_of(testbed: Testbed, split: SplitName, seed: int, door: Path | None = None) -> Task:
    """The task of one seed; `final` is read from the sealed folder, since this is the operator's process."""
    folder = testbed.sealed if split == "final" else testbed.public
    return load_task(testbed.public, folder, split, seed, door)


def measure(
    jobs: Sequence[Job], store: Path, *, workers: int, say: Say, open_door: OpenDoor | None = None
) -> tuple[dict[Job, Answered], dict[Job, str]]:
    """Answers of every job, from the store or run now; and, of jobs whose method failed, why. `open_door`: of a student that is
    fine-tuned.

    An interrupted call leaves all that was answered in the store, and the next one goes on from there.
    """
    store.mkdir(parents=True, exist_ok=True)
    found = {job: _load(path) for job in jobs if (path := store / f"{job.key}.npz").exists()}
    missing = [job for job in jobs if job not in found]
    failed: dict[Job, str] = {}
    say("methods", len(found), len(jobs))
    if not missing:
        return found, failed
    processes = min(workers, len(missing))
    with (
        _doors(missing, open_door) as doors,
        ProcessPoolExecutor(processes, get_context("spawn"), initializer=_one_thread) as pool,
    ):
        running = {pool.submit(_answer, job, doors.get(job)): job for job in missing}
        for future in _as_they_come(running, pool):
            job = running[future]
            answered = future.result()
            if isinstance(answered, str):
                failed[job] = answered
            else:
                found[job] = answered
                _keep(store / f"{job.key}.npz", answered)
            say("methods", len(found) + len(failed), len(jobs))
    return found, failed


@contextmanager
def _doors(jobs: Sequence[Job], open_door: OpenDoor | None) -> Iterator[Mapping[Job, Path]]:
    """Each job's own socket of the strong model, dealt over its workers, open for as long as the jobs run."""
    doors: dict[Job, Path] = {}
    with ExitStack() as stack:
        if open_door is not None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aar-doors-")))
            for number, job in enumerate(jobs):
                folder = place / str(number)
                folder.mkdir()
                stack.enter_context(open_door(job.testbed, job.split, folder))
                doors[job] = folder / SOCKET
        yield doors


def _as_they_come(running: Iterable, pool: ProcessPoolExecutor) -> Iterable:
    """Futures as they are done; on an interruption what has not begun is dropped."""
    try:
        yield from as_completed(running)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _answer(job: Job, door: Path | None) -> Answered | str:
    """In a worker: run the job, or say in words what the method did wrong."""
    task = task_of(job.testbed, job.split, job.seed, door)
    started = perf_counter()
    try:
        probs_M = check_output(runner(job.method)(task, job.seed), len(task.test))
    except InvalidSubmission as error:
        return str(error)
    seconds = perf_counter() - started
    return Answered((probs_M > 0.5)[np.argsort(np.array(task.test.ids))], seconds)


def _load(path: Path) -> Answered:
    with np.load(path) as stored:
        return Answered(stored["answers_M"], float(stored["seconds"]))


def _keep(path: Path, answered: Answered) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")
    np.savez_compressed(partial, answers_M=answered.answers_M, seconds=answered.seconds)
    partial.replace(path)
