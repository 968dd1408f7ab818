"""The contract of a researcher: a program that is started in a sandbox and has the lab's tools, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from aarlab.core.records import Family, Record
from aarlab.core.registry import Registry
from aarlab.sandbox.sandbox import Mount

# Where things are inside the sandbox. GATE is a folder, so that a restarted gateway's new socket is seen.
HOME, BRIEF, DATA, GATE = "/home/researcher", "/brief", "/data", "/run/gate"
STRONG = "/run/strong"  # where the student can be fine-tuned: the folder of its door
SOCKET_NAME = "lab.sock"

Ended = Literal["finished", "again", "crashed", "spent", "outage"]
"""How a life ended: for good; in order, with more to do; by its own fault; at a budget; by a fault that is not its own."""


class CommandTemplate(Record):
    """Any agent command line that speaks MCP. In all texts `{prompt}`, `{model}`, `{session}`, `{home}`, `{brief}`, `{data}`,
    `{mcp_config}`, `{python}`, `{socket}` and `{gate}` are replaced."""

    argv: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    resume_argv: Annotated[tuple[str, ...], Field(strict=False)] | None = None  # to go on with a session; argv if not given
    env: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)  # written to the brief: path -> text (an MCP configuration, say)
    programs: Annotated[tuple[str, ...], Field(strict=False)] = ()  # host paths that are mounted read-only at the same place


class Options(Record):
    """What a campaign says about its kind of researcher."""

    model: str = "claude-opus-4-6"
    command: str | CommandTemplate | None = None  # kind `command`: a preset's name, or a template
    script: str | None = None  # kind `scripted`: the host path of the script that the model API plays
    max_turns: Annotated[int, Field(ge=1)] | None = None  # of one life


class Brief(Record):
    """What one researcher is told at its start."""

    name: str
    direction: str  # the deliberately vague starting prompt
    family: Family | None  # the family the direction points at; None when undirected
    seed: int
    experiments: int  # how many it may submit in all
    mode: Literal["predictions", "code"] = "predictions"  # what it submits; in code mode no feedback item is in its data
    prompt: str = ""  # the whole starting prompt: problem, resources, rules, direction
    go_on: str = ""  # what it is told when it is started again with more to do


class Inside(Record):
    """Paths as the program will see them."""

    home: str
    brief: str  # read-only: what `prepare` wrote
    data: str
    socket: str


class Life(Record):
    """One life of a researcher, from a start to its end."""

    incarnation: int  # 1-based
    session: str  # a UUID, the same in all lives
    begun: bool  # an earlier life has begun the session: go on with it
    ended: Ended | None = None  # how the life before ended


class Launch(Record):
    """What is started. In argv and env `{gate}` stands for the http:// address of the gateway inside."""

    argv: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)


class Researcher(Protocol):
    """One kind of researcher. Its working directory is its home, which is its own and survives restarts."""

    def require(self) -> None:
        """Refuse to go on where what it needs is missing.

        Raises:
            Misconfigured: the operator must install or set something; says what.
        """

    def mounts(self) -> tuple[Mount, ...]:
        """What must be seen inside beside the running Python: read-only program files."""

    def prepare(self, folder: Path, brief: Brief) -> None:
        """Write what the program needs into its brief's folder, which it can read and not write."""

    def launch(self, inside: Inside, life: Life) -> Launch:
        """What starts, or after an end continues, the program inside its sandbox."""

    def ended(self, returncode: int, tail: str) -> Ended:
        """How a life ended, from its exit status and the end of what it printed."""


RESEARCHERS: Registry[Callable[[Options], Researcher]] = Registry("researcher kind")
