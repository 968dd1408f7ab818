"""The contract of a researcher: a program that is started in a sandbox and has the lab's tools, and nothing else."""

from pathlib import Path
from typing import Literal, Protocol

from aarlab.core.records import Family, Record
from aarlab.core.registry import Registry

# Where things are inside the sandbox.
HOME, BRIEF, DATA, LAB_SOCKET = "/home/researcher", "/brief", "/data", "/run/lab.sock"


class Brief(Record):
    """What one researcher is told at its start."""

    name: str
    direction: str  # the deliberately vague starting prompt
    family: Family | None  # the family the direction points at; None when undirected
    seed: int
    experiments: int  # how many it may submit in all
    mode: Literal["predictions", "code"] = "predictions"  # what it submits; in code mode no feedback item is in its data


class Researcher(Protocol):
    """One kind of researcher. Its working directory is its home, which is its own and survives restarts."""

    def prepare(self, folder: Path, brief: Brief) -> None:
        """Write what the program needs into its brief's folder, which it can read and not write."""

    def command(self, inside: "Inside") -> list[str]:
        """The argv that starts, or after a crash continues, the program inside its sandbox."""


class Inside(Record):
    """Paths as the program will see them."""

    brief: str  # read-only: what `prepare` wrote, and the token
    data: str
    socket: str


RESEARCHERS: Registry[Researcher] = Registry("researcher kind")
