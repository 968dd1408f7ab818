"""The table of attackers inside a sandbox, for the terminal and as a page."""

import re
import tempfile
from collections.abc import Iterable, Mapping

from rich.table import Table

from aarlab.core.markdown import table_row
from aarlab.redteam import system
from aarlab.redteam.system import HELD, NOT_HELD, AttackRow
from aarlab.sandbox.processes import LIMITED

PREAMBLE = """# Red team inside a researcher's sandbox

Made by `{command}`. Each row is a program of `src/aarlab/redteam/inside` that runs as
researcher-1 of a fleet of two, in the sandbox that the fleet's supervisor makes (data, brief,
home, a socket of a real gateway process), against a lab whose labels, tokens, keys, homes,
processes, ports and sockets hold one secret word each. Held means, seen from outside: no secret
in what it printed, nothing of the host's changed, nothing outlives the sandbox, no limit
passed; and it boasts of nothing. The control is the same program where it must get through
(PLACE: a temporary folder of the lab that is attacked). The last rows run on our side, in the
code that takes what a sandbox hands out.

Limits on this machine: {limits}.

What is seen inside and cannot be hidden by bind mounts: the path names of what is mounted, in
/proc/self/mountinfo (names; what is beside them is not there).

| attack | what was tried | what came back | held | control |
| --- | --- | --- | --- | --- |
"""


def limits_text(held: Mapping[str, str]) -> str:
    """How each limit is held, and which is not."""
    return "; ".join(f"{name}: {held.get(name, 'NOT HELD')}" for name in LIMITED)


def summary(rows: Iterable[AttackRow], held: Mapping[str, str]) -> Table:
    """For the terminal."""
    words = f"Limits: {limits_text(held)}"
    return system.summary(rows, "Red team inside a sandbox", words)


def markdown(rows: Iterable[AttackRow], held: Mapping[str, str], command: str) -> str:
    """The rows as a page."""
    lines = [
        table_row(
            (r.attack, r.tried, _without_place(r.came_back), word, _without_place(r.evidence))
        )
        for r in rows
        for word in (HELD if r.held else NOT_HELD,)
    ]
    return PREAMBLE.format(command=command, limits=limits_text(held)) + "\n".join(lines) + "\n"


def _without_place(text: str) -> str:
    """The text without the name of a temporary folder, which differs each time."""
    return re.sub(re.escape(tempfile.gettempdir()) + r"/aarlab-[\w-]+", "PLACE", text)
