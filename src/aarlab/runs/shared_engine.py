"""One engine of a cluster for all who use it in a process; it is closed with the last of them."""

import threading
from collections.abc import Callable, Hashable, Mapping

from aarlab.core.errors import Transient
from aarlab.runs.engine_contract import DeviceEngine
from aarlab.runs.run_jobs import DeviceCount, Job, JobResources


class SharedEngine:
    """See `Engine`: one who uses it. `SharedEngine.of` makes one."""

    _open: Mapping[Hashable, tuple[DeviceEngine, int]] = {}  # and how many use it
    _mutex = threading.Lock()

    def __init__(self, key: Hashable, engine: DeviceEngine) -> None:
        self._key, self._engine, self._closed = key, engine, False
        self._waited: list[str] = []  # keys of jobs that this one has submitted, and waits for

    @classmethod
    def of(cls, key: Hashable, make: Callable[[], DeviceEngine]) -> "SharedEngine":
        """The engine of that key, which `make` makes where nobody uses it yet.

        Raises:
            Misconfigured: see `make`.
        """
        with cls._mutex:
            engine, users = cls._open.get(key) or (make(), 0)
            cls._open = {**cls._open, key: (engine, users + 1)}
            return cls(key, engine)

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `Engine`."""
        self._require_open()
        key = self._engine.submit(job, resources)
        with self._mutex:
            self._waited.append(key)
        if self._closed:  # meanwhile
            self.cancel(key)
        return key

    def _require_open(self) -> None:
        if self._closed:
            raise Transient("The engine was closed. Nothing is run any more.")

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        try:
            found = self._engine.poll(key, wait_s)
        except BaseException:
            self._waits_no_more(key)
            raise
        if found is not None:
            self._waits_no_more(key)
        return found

    def cancel(self, key: str) -> None:
        """See `Engine`."""
        if self._waits_no_more(key):
            self._engine.cancel(key)

    def _waits_no_more(self, key: str) -> bool:
        with self._mutex:
            if key not in self._waited:
                return False
            self._waited.remove(key)
            return True

    def counted(self, key: str) -> DeviceCount | None:
        """See `DeviceEngine`."""
        return self._engine.counted(key)

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceEngine`."""
        self._engine.allow(key, attempt, seconds)

    def close(self) -> None:
        """This one uses it no more: what it waits for is cancelled."""
        with self._mutex:
            if self._closed:
                return
            self._closed, left = True, list(self._waited)
        for key in left:
            self.cancel(key)
        cls = type(self)
        with self._mutex:
            users = cls._open[self._key][1] - 1
            others = {key: one for key, one in cls._open.items() if key != self._key}
            cls._open = others | ({self._key: (self._engine, users)} if users else {})
        if not users:
            self._engine.close()
