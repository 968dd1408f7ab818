"""The contract of a researcher: a program that is started in a sandbox and has the lab's tools, and nothing else."""

from pathlib import Path
from typing import Protocol

from aarlab.core.records import Family, Record
from aarlab.core.registry import Registry

# Where things are inside the sandbox.
HOME, DATA, LAB_SOCKET = "/home/researcher", "/data", "/run/lab.sock"


class Brief(Record):
    """What one researcher is told at its start."""

    name: str
    direction: str  # the deliberately vague starting prompt
    family: Family | None  # the family the direction points at; None when undirected
    seed: int
    experiments: int  # how many it may submit in all


class Researcher(Protocol):
    """One kind of researcher. Three methods; see `check_researcher` in the tests of `tests/contracts`."""

    def prepare(self, home: Path, brief: Brief) -> None:
        """Write what the program needs into its home folder, which survives restarts."""

    def command(self, inside: "Inside") -> list[str]:
        """The argv that starts, or after a crash continues, the program inside its sandbox."""


class Inside(Record):
    """Paths as the program will see them."""

    home: str
    data: str
    socket: str


RESEARCHERS: Registry[Researcher] = Registry("researcher kind")
