"""Group commit: what many threads ask for at the same moment is done in one go."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

from aarlab.core.errors import Transient

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """`handle` answers a batch: one result for each item. Whoever comes first does it for all that
    wait. `after` is called once a batch has its results, before the next one."""

    def __init__(
        self, handle: Callable[[Sequence[T]], Sequence[R]], after: Callable[[], None] = lambda: None
    ) -> None:
        self._handle, self._after = handle, after
        self._waiting: list[tuple[T, Future[R]]] = []
        self._mutex, self._turn = threading.Lock(), threading.Lock()

    @property
    def waiting(self) -> int:
        """How many items wait for the next batch."""
        return len(self._waiting)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no batch is in work."""
        with self._turn:
            yield

    def do(self, item: T) -> R:
        """The result for one item. What `handle` raises reaches the caller whose item it is about:
        a batch that fails is done item by item. A store that fails for now (`Transient`) fails for
        the whole batch."""
        (future,) = self.do_all([item])
        return future.result()

    def do_all(
        self, items: Sequence[T], report: Callable[[Sequence[Future[R]]], object] = lambda _: None
    ) -> Sequence[Future[R]]:
        """As `do`, of many; each has its result or its error. `report` is called with them as soon
        as they have, before `after`."""
        futures: list[Future[R]] = [Future() for _ in items]
        with self._mutex:
            self._waiting += zip(items, futures, strict=True)
        with self._turn:
            new = not all(future.done() for future in futures)
            if new:
                with self._mutex:
                    batch, self._waiting = self._waiting, []
                self._run(batch)
            try:
                report(futures)
            finally:
                if new:
                    self._after()
        return futures

    def _run(self, batch: Sequence[tuple[T, Future[R]]]) -> None:
        try:
            results = self._handle([item for item, _ in batch])
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, Transient):
                for one in batch:
                    self._run([one])
                return
            for _, future in batch:
                future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)
