"""Independent jobs in one process or several, with progress messages."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from aarlab.core.worker_pool import worker_pool

R = TypeVar("R")
Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Discard progress messages."""


def in_order(
    run: Callable[..., R],
    jobs: Sequence[tuple[object, ...]],
    *,
    labels: Sequence[str],
    workers: int,
    progress: Progress,
) -> Iterator[R]:
    """run(*job) for each job, in their order. `run` and the jobs' parts must be picklable for more
    than one worker."""
    if workers == 1:
        for number, (job, label) in enumerate(zip(jobs, labels, strict=True), start=1):
            progress(f"{number} of {len(jobs)}: {label}")
            yield run(*job)
        return
    with worker_pool(workers) as pool:
        running = [pool.submit(run, *job) for job in jobs]
        for number, (future, label) in enumerate(zip(running, labels, strict=True), start=1):
            progress(f"{number} of {len(jobs)}: {label}")
            yield future.result()
