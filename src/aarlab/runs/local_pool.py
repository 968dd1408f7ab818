"""The engine of one machine: a few jobs at once, each in a sandbox, in threads of this process."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

from aarlab.core.errors import Transient
from aarlab.runs.alone import alone, beside_others
from aarlab.runs.endings import Processors
from aarlab.runs.run_jobs import Job, JobResources
from aarlab.runs.run_worker import work
from aarlab.sandbox.endable import Endable
from aarlab.sandbox.sandbox import MakeSandbox


class WaitingJobs:
    """Jobs that somebody waits for, by key; each who submitted one is answered once."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Future[bytes], int]] = {}
        self._mutex = threading.Lock()

    def join(self, key: str, start: Callable[[], Future[bytes]]) -> str:
        """Wait for a job, which `start` starts where nobody does yet."""
        with self._mutex:
            future, count = self._jobs.get(key) or (start(), 0)
            self._jobs[key] = future, count + 1
        return key

    def poll(self, key: str, wait_s: float) -> bytes | None:
        """See `Engine`."""
        with self._mutex:
            found = self._jobs.get(key)
        if found is None:
            raise Transient("Nobody waits for this job: it was cancelled or answered. Submit it.")
        try:
            result = found[0].result(wait_s)
        except TimeoutError:
            return None
        except CancelledError as error:
            raise Transient("The job was cancelled. Submit it again.") from error
        except BaseException:
            self.leave(key)
            raise
        self.leave(key)
        return result

    def leave(self, key: str) -> Future[bytes] | None:
        """One waits no more; the job's future, where that was the last one."""
        with self._mutex:
            if (found := self._jobs.get(key)) is None:
                return None
            future, count = found
            if count > 1:
                self._jobs[key] = future, count - 1
                return None
            del self._jobs[key]
            return future

    def give_up(self) -> None:
        """The engine was closed: whoever waits gets an error that says so."""
        with self._mutex:
            futures = [future for future, _ in self._jobs.values()]
        for future in futures:
            if not future.done():
                future.set_exception(Transient("The engine was closed. Submit the job again."))


class LocalPool:
    """See `Engine`. `folder`: of the locks by which a job is alone on this machine; `processors`
    measures those that each job has."""

    def __init__(
        self,
        make_sandbox: MakeSandbox,
        folder: Path,
        *,
        workers: int,
        processors: Callable[[], Processors] = Processors,
    ) -> None:
        self._make, self._folder, self._processors = make_sandbox, folder, processors
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="run")
        self._waiting = WaitingJobs()
        self._sandboxes: dict[Future[bytes], Endable] = {}  # of each job

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `Engine`."""

        def start() -> "Future[bytes]":
            made = Endable(self._make)
            try:
                future = self._pool.submit(self._run, job, resources, made)
            except RuntimeError as error:
                raise Transient("The engine was closed. Nothing is run any more.") from error
            self._sandboxes[future] = made
            future.add_done_callback(lambda ended: self._sandboxes.pop(ended, None))
            return future

        return self._waiting.join(key_with(job, resources), start)

    def _run(self, job: Job, resources: JobResources, make: MakeSandbox) -> bytes:
        with (alone if resources.alone else beside_others)(self._folder):
            return work(job, job.folders, make, self._processors)

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        return self._waiting.poll(key, wait_s)

    def cancel(self, key: str) -> None:
        """See `Engine`. Its sandbox is closed, and its end says that it may be run again."""
        if future := self._waiting.leave(key):
            future.cancel()
            if made := self._sandboxes.get(future):
                made.end()

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for made in list(self._sandboxes.values()):
            made.end()
        self._pool.shutdown()


def key_with(job: Job, resources: JobResources) -> str:
    """A job that runs alone, or not on one node, or on that alone, is another one."""
    marks = {"alone": resources.alone, "apart": resources.apart, "on": resources.only}
    return "-".join((job.key, *(mark for mark, given in marks.items() if given)))
