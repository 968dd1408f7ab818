"""Importing this module registers the kinds of researcher that ship; `kind_named` also finds an operator's own."""

import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.researchers import claude_code as claude_code
from aarlab.researchers import command as command
from aarlab.researchers import search as search
from aarlab.researchers.researcher import RESEARCHERS as RESEARCHERS
from aarlab.researchers.researcher import Options, Researcher


def kind_named(kind: str) -> Callable[[Options], Researcher]:
    """A kind that ships, by its name; or the one that a Python file of the operator's registers, by its path (`mine.py`).

    Raises:
        Misconfigured: there is no such kind; or the file cannot be read, or registers none, or more than one.
    """
    return RESEARCHERS[_registered_by(Path(kind).resolve()) if kind.endswith(".py") else kind]


@cache
def _registered_by(path: Path) -> str:
    if not path.is_file():
        raise Misconfigured(f"There is no file {path} with a kind of researcher. Correct `kind`.")
    before = set(RESEARCHERS)
    runpy.run_path(str(path))
    new = sorted(set(RESEARCHERS) - before)
    if len(new) != 1:
        words = f"{path} registers {', '.join(new) or 'no kind of researcher'}"
        raise Misconfigured(f"{words}. It must have one class under @RESEARCHERS.add(NAME), and one only.")
    return new[0]
