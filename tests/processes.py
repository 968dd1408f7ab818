"""Processes of this machine, as tests look at them."""

from contextlib import suppress
from pathlib import Path

from aarlab.sandbox.usage_watch import below


def command_of(pid: int) -> str:
    """Its command line; empty where it has ended."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return words.replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def gone(pid: int) -> bool:
    """Whether it has ended (one that waits to be reaped has)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def children_of(pid: int) -> dict[int, str]:
    """All processes below one, with their command lines."""
    return {child: command_of(child) for child in below(pid)[1:]}


def running(command: str) -> set[int]:
    """All that have this command line."""
    every = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return {pid for pid in every if command_of(pid) == command}
