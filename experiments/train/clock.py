"""Seconds and memory of steps on a CPU or a GPU, and the time that is left.

Legend: S optimiser steps.
"""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

GIB = 2**30


def settle(device: str) -> None:
    """Wait until the device has done all that it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds that it took, the device's included."""
    settle(device)
    started = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - started


def forget(device: str) -> None:
    """Give back what nobody holds, and begin to count the peak anew."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> float | None:
    """Peak of the GPU's memory since `forget`. None on a CPU: a process has one peak for all that
    it ever did."""
    return torch.cuda.max_memory_allocated() / GIB if device.startswith("cuda") else None


def process_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


@dataclass
class Steps:
    """Times at which optimiser steps ended, each after the device had settled."""

    device: str
    at_s: list[float] = field(default_factory=list)

    def mark(self) -> None:
        settle(self.device)
        self.at_s.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each step but the first, whose beginning is set-up and warm-up."""
        return [b - a for a, b in zip(self.at_s, self.at_s[1:], strict=False)]


@dataclass(frozen=True)
class Deadline:
    """No rung starts without the time that it may take."""

    at_s: float

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        return cls(time.perf_counter() + seconds)

    @property
    def left_s(self) -> float:
        return self.at_s - time.perf_counter()


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(values), min(values), max(values)
