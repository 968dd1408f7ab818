"""A process that ends when its parent does, however that ends: it holds the read end of a pipe
that only the parent could write to."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable


class ParentPipe:
    """The parent's side. Pass `fd` to one child (`pass_fds`), call `close_child_end` once the child
    has it; `close` ends the child in order."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()  # neither is inherited unless it is passed by name
        self._child_end_closed = False

    def close_child_end(self) -> None:
        """The child holds its end now; the one in this process is closed."""
        os.close(self.fd)
        self._child_end_closed = True

    def close(self) -> None:
        """Let the child see the end of the pipe, if it was started."""
        if not self._child_end_closed:
            self.close_child_end()
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1


def when_parent_ends(fd: int, act: Callable[[], None]) -> None:
    """In a child, in its event loop: call `act` once when the pipe ends."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(fd)
        act()

    loop.add_reader(fd, ended)


def end_with_parent(fd: int) -> None:
    """In a child without an event loop: send itself SIGTERM when the pipe ends."""

    def wait() -> None:
        os.read(fd, 1)  # nobody writes: it returns at the end alone
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="parent-pipe").start()
