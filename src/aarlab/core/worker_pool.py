"""Processes for internal jobs that end with the work they are for, whatever ends it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., object] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes; `initializer(*arguments)` is called in each. An error in the
    context, Ctrl-C included, ends the jobs at once, and the processes print nothing about it. The
    processes end also where this one is killed."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(initializer, arguments),
    )
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a terminal sends it to all of a command
    threading.Thread(target=_end_with_starter, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter is not None, "this process was started by another"
    starter.join()
    os._exit(1)  # its queue stays open, since each of its workers could write to it
