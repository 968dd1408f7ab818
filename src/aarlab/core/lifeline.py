"""A process that ends when its starter does, however that ends: it holds the read end of a pipe
that nobody else writes to."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable


class Lifeline:
    """The starter's side. Pass `fd` to one child (`pass_fds`), call `given` once it has it; `cut`
    ends the child in order."""

    def __init__(self) -> None:
        self.fd, self._ours = os.pipe()  # neither is inherited unless it is passed on by name
        self._given = False

    def given(self) -> None:
        """The child holds its end now; the one in this process is closed."""
        os.close(self.fd)
        self._given = True

    def cut(self) -> None:
        """Let the child see the end, if it was started."""
        if not self._given:
            self.given()
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


def when_cut(fd: int, act: Callable[[], None]) -> None:
    """In a child, in its event loop: call `act` once when the lifeline ends."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(fd)
        act()

    loop.add_reader(fd, ended)


def end_when_cut(fd: int) -> None:
    """In a child without an event loop: send itself SIGTERM when the lifeline ends."""

    def wait() -> None:
        os.read(fd, 1)  # nobody writes: it returns at the end alone
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()
