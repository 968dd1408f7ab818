"""What a program of the host's needs inside a sandbox: its file alone, a tree of Node packages, or
a Python environment; and how it is started there.

A link is followed, since only its target's tree is mounted. Node and Python are named by their
paths, since inside only the system's folders are on PATH.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SYSTEM = Path("/usr")  # is in every sandbox
_NODE = "node_modules"


class ProgramFiles(NamedTuple):
    """The first words of its command line, and the paths that it reads, none of them below
    /usr."""

    argv: tuple[str, ...]
    paths: tuple[Path, ...]


def program_files(name: str) -> ProgramFiles | None:
    """The program of that name or path; None where there is none."""
    found = shutil.which(name)
    if found is None:
        return None
    file = Path(found).resolve()
    trees = [p for p in file.parents if p.name == _NODE]
    argv: tuple[str, ...] = (str(file),)
    needed = [trees[-1] if trees else file]
    if (interpreter := _interpreter(file)) is not None:
        argv = (str(interpreter), str(file))
        needed += _environment(interpreter)
    return ProgramFiles(argv, tuple(_outermost(p for p in needed if not p.is_relative_to(SYSTEM))))


def _interpreter(file: Path) -> Path | None:
    """Node's or Python's path, where the program is a script of theirs and lies outside the
    system."""
    with file.open("rb") as text:
        first = text.readline(500)
    if not first.startswith(b"#!"):
        return None
    words = first[2:].decode(errors="replace").split()
    if words and Path(words[0]).name == "env":
        named = shutil.which(words[-1]) if words[-1] in ("node", "nodejs") else None
        return None if named is None else Path(named).resolve()
    python = words and Path(words[0]).name.startswith("python") and Path(words[0]).exists()
    return Path(words[0]) if python else None


def _environment(interpreter: Path) -> list[Path]:
    """A Python environment with the Python that it was made of; of anything else the file."""
    root = interpreter.parent.parent
    if not (root / "pyvenv.cfg").is_file():
        return [interpreter.resolve()]
    # its own Python is a link to `bin/python` of this one
    return [root, interpreter.resolve().parent.parent]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that lie below another."""
    found = sorted(set(paths))
    return [p for p in found if not any(p != o and p.is_relative_to(o) for o in found)]
