"""One engine of a cluster for all who use it in a process; it is closed with the last of them."""

import threading
from collections.abc import Callable, Hashable, Mapping

from aarlab.runs.engine_contract import Engine
from aarlab.runs.run_jobs import Job, JobResources


class Shared:
    """See `Engine`. `Shared.of` makes one."""

    _open: Mapping[Hashable, "Shared"] = {}
    _mutex = threading.Lock()

    def __init__(self, key: Hashable, engine: Engine) -> None:
        self._key, self._engine, self._users = key, engine, 0

    @classmethod
    def of(cls, key: Hashable, make: Callable[[], Engine]) -> "Shared":
        """The engine of that key, which `make` makes where nobody uses it yet.

        Raises:
            Misconfigured: see `make`.
        """
        with cls._mutex:
            found = cls._open.get(key) or cls(key, make())
            found._users += 1
            cls._open = {**cls._open, key: found}
            return found

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `Engine`."""
        return self._engine.submit(job, resources)

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        return self._engine.poll(key, wait_s)

    def cancel(self, key: str) -> None:
        """See `Engine`."""
        self._engine.cancel(key)

    def close(self) -> None:
        """One uses it no more."""
        cls = type(self)
        with cls._mutex:
            self._users -= 1
            if self._users:
                return
            cls._open = {key: one for key, one in cls._open.items() if one is not self}
        self._engine.close()
