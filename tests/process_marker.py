"""Which tests start a process: they have the marker `process`, and one without it fails.

A fixture that starts a process asks for the fixture `starts_processes`; every test that uses it is
marked. A test that starts one itself is marked by hand: `@pytest.mark.process`, or `pytestmark =
pytest.mark.process` for a file. `make quick` runs the others.
"""

import multiprocessing.util
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

EVENTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
# a question about the working tree, asked once a process and answered in milliseconds
UNCOUNTED = {"git"}


class Guard:
    """What the test that runs now may do, and what it did. One test runs at a time in a process."""

    def __init__(self) -> None:
        self.test: str | None = None
        self.started: list[str] = []

    def see(self, program: object) -> None:
        """Notes `program` and fails where the test that runs now may start none.

        Raises:
            pytest.fail.Exception: At the line that starts the process.
        """
        if self.test is not None and Path(str(program)).name not in UNCOUNTED:
            self.started.append(str(program))
            raise pytest.fail.Exception(self.message())

    def message(self) -> str:
        """Who must do what."""
        return (
            f"{self.test} starts a process ({self.started[0]}) and has no marker `process`: mark "
            "the test with @pytest.mark.process, or let the fixture that starts the process ask "
            "for `starts_processes`"
        )

    @contextmanager
    def watch(self, test: str | None) -> Iterator[None]:
        """`test` may start no process, None stands for one that may."""
        before = self.test, self.started
        self.test, self.started = test, []
        try:
            yield
        finally:
            self.test, self.started = before


GUARD = Guard()


def _audit(
    event: str, arguments: tuple, guard: Guard = GUARD, events: frozenset[str] = EVENTS
) -> None:
    """Never removed, and called also when the interpreter ends and this module's names are gone:
    hence the defaults."""
    if guard.test is not None and event in events:
        guard.see(arguments[0] if arguments else event)


def _spawn(
    path: bytes, arguments: list, descriptors: list, spawn=multiprocessing.util.spawnv_passfds
) -> int:
    GUARD.see(f"multiprocessing: {arguments[0]!r}")
    return spawn(path, arguments, descriptors)


sys.addaudithook(_audit)
multiprocessing.util.spawnv_passfds = _spawn  # the only start of a process without an audit event


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks before `-m` chooses; and the files that take longest come first, so that no worker
    waits at the end for another one's (`--no-loadscope-reorder`)."""
    for item in items:
        if "starts_processes" in getattr(item, "fixturenames", ()):
            item.add_marker("process")
    weights: Counter[Path] = Counter()
    for item in items:
        own_limit = item.get_closest_marker("timeout")
        weights[item.path] += 100 * bool(own_limit) + bool(item.get_closest_marker("process"))
    items.sort(key=lambda item: -weights[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Set-up, call and tear-down are watched."""
    with GUARD.watch(None if item.get_closest_marker("process") else item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that caught the failure, or started the process in a thread, fails all the same."""
    result = yield
    if GUARD.started:
        pytest.fail(GUARD.message(), pytrace=False)
    return result


@pytest.fixture(scope="session")
def starts_processes() -> None:
    """Marks every test that uses it, also by way of another fixture."""


@pytest.fixture(scope="session")
def unwatched() -> Callable[[], AbstractContextManager[None]]:
    """For what is prepared once for all tests, and costs none of them a process of its own."""
    return lambda: GUARD.watch(None)
