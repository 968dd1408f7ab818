"""AAR Lab. `aarlab.task(...)` is what a method is written against, `aarlab.open(...)` reads a
campaign, `aarlab.connect(...)` submits to a lab that runs."""

import importlib
from typing import Any

_PLACES = {
    "task": ("testbeds.local_task", "task"),
    "connect": ("programs.connected_lab", "connect"),
    "open": ("programs.campaign_reader", "open_campaign"),
}


def __getattr__(name: str) -> Any:
    """What is in `_PLACES` is loaded when it is first used: every module of the package imports
    this one."""
    if name in _PLACES:
        module, its_name = _PLACES[name]
        return getattr(importlib.import_module(f"{__name__}.{module}"), its_name)
    raise AttributeError(f"module 'aarlab' has no attribute '{name}'")
