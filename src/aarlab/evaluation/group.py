"""Group commit: what many threads ask for at the same moment is done in one go."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """`handle` answers a batch: one result for each item. Whoever comes first does it for all that wait."""

    def __init__(self, handle: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._handle = handle
        self._waiting: list[tuple[T, Future[R]]] = []
        self._mutex, self._turn = threading.Lock(), threading.Lock()

    def do(self, item: T) -> R:
        """The result for one item. What `handle` raises reaches every caller of that batch."""
        future: Future[R] = Future()
        with self._mutex:
            self._waiting.append((item, future))
        with self._turn:
            if not future.done():
                with self._mutex:
                    batch, self._waiting = self._waiting, []
                self._run(batch)
        return future.result()

    def _run(self, batch: Sequence[tuple[T, Future[R]]]) -> None:
        try:
            results = self._handle([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
