"""Independent jobs in one process or several, with a word about progress."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

R = TypeVar("R")
Say = Callable[[str], None]


def silent(_: str) -> None:
    """No word about progress."""


def in_order(
    run: Callable[..., R], jobs: Sequence[tuple[object, ...]], *, labels: Sequence[str], workers: int, say: Say
) -> Iterator[R]:
    """run(*job) for each job, in their order. `run` and the jobs' parts must be picklable for more than one worker."""
    if workers == 1:
        for number, (job, label) in enumerate(zip(jobs, labels, strict=True), start=1):
            say(f"{number} of {len(jobs)}: {label}")
            yield run(*job)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = [pool.submit(run, *job) for job in jobs]
        for number, (future, label) in enumerate(zip(running, labels, strict=True), start=1):
            say(f"{number} of {len(jobs)}: {label}")
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
