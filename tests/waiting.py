"""Tests wait for what is to come, and fail where it does not."""

import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def waited_for(look: Callable[[], R], within_s: float = 120.0, every_s: float = 0.05) -> R:
    """What `look` returns, once it is true."""
    until = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(every_s)
    return found
