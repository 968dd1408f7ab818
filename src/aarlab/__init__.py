"""AAR Lab. `aarlab.task(...)` is what a method is written against."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """`task` is loaded when it is first used: every module of the package imports this one."""
    if name == "task":
        return importlib.import_module(f"{__name__}.testbeds.local_task").task
    raise AttributeError(f"module 'aarlab' has no attribute '{name}'")
