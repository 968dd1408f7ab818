"""The type of a callback that reports how far one step of a longer task is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""(name of the step, units done, units in all)."""
