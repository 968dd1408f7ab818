"""The contract of a researcher: a program that runs in a sandbox and has the lab's tools, and
nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from aarlab.core.records import Record
from aarlab.core.registry import Registry
from aarlab.sandbox.sandbox import Mount

# Paths inside the sandbox. GATE is a folder, so that a restarted gateway's new socket appears in
# it.
HOME, BRIEF, DATA, GATE = "/home/researcher", "/brief", "/data", "/run/gate"
STRONG = "/run/strong"  # folder of the strong model's socket, where the model can be fine-tuned
SOCKET_NAME = "lab.sock"

Ended = Literal["finished", "again", "crashed", "spent", "outage"]
"""How an incarnation ended. finished: the work is done. again: an orderly exit, with more to do.
crashed: a fault of the program. spent: a budget is spent. outage: a fault outside the program."""
EndedBefore = Ended | Literal["refused"]
"""The same of the incarnation before. refused: the model API refused the session twice alike,
so this incarnation begins another one in the same home."""


class CommandTemplate(Record):
    """Any agent command line that speaks MCP. In all texts `{prompt}`, `{model}`, `{session}`,
    `{home}`, `{brief}`, `{data}`, `{mcp_config}`, `{python}`, `{socket}` and `{gate}` are
    replaced."""

    argv: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    # to resume a session [argv]
    resume_argv: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(
        default_factory=dict
    )  # path -> text, written to the brief's folder (for example an MCP configuration)
    # path -> text, written below the home before each incarnation (settings that are read nowhere
    # else)
    home_files: dict[str, str] = Field(default_factory=dict)
    # whose wire format it speaks: that provider's key is needed, and its price of the model
    provider: Literal["anthropic", "openai", "google"] | None = None
    # of OpenAI's two wire formats, the one that it speaks; None: it is not known
    api: Literal["chat", "responses"] | None = None
    # host paths that are mounted read-only at the same place
    programs: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Options(Record):
    """What a campaign says about its kind of researcher."""

    model: str = "claude-opus-4-6"
    command: str | CommandTemplate | None = None  # kind `command`: a preset's name, or a template
    # kind `scripted`: the host path of the script that the model API plays
    script: str | None = None
    max_turns: Annotated[int, Field(ge=1)] | None = None  # of one incarnation


class Brief(Record):
    """The instructions of one researcher."""

    name: str
    direction: str  # the deliberately vague starting prompt
    family: str | None  # the family the direction points at; None when undirected
    seed: int
    experiments: int  # the most submissions, over all incarnations
    # what it submits; in code mode its data has no feedback items
    mode: Literal["predictions", "code"] = "predictions"
    prompt: str = ""  # the whole starting prompt: problem, resources, rules, direction
    go_on: str = ""  # the prompt of a later incarnation


class Inside(Record):
    """Paths as the program sees them."""

    home: str
    brief: str  # read-only: what `prepare` wrote
    data: str
    socket: str


class IncarnationStart(Record):
    """One incarnation of a researcher: its process from a start to its exit."""

    incarnation: int  # 1-based
    session: str  # a UUID, the same until the model API refuses the session
    begun: bool  # an earlier incarnation began the session: resume it
    ended: EndedBefore | None = None  # how the last incarnation ended


class Launch(Record):
    """The process to start. In argv and env, `{gate}` stands for the gateway's http:// address
    inside."""

    argv: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)


class Researcher(Protocol):
    """One kind of researcher. Its working directory is its home folder, which is kept across
    restarts."""

    def require(self) -> None:
        """Check that everything that this kind needs is installed and set.

        Raises:
            Misconfigured: the operator must install or set something; the message says what.
        """

    def mounts(self) -> tuple[Mount, ...]:
        """Read-only program files that the sandbox needs besides the running Python."""

    def prepare(self, folder: Path, brief: Brief) -> None:
        """Write the program's files into its brief's folder, which is read-only inside the
        sandbox."""

    def launch(self, inside: Inside, start: IncarnationStart) -> Launch:
        """The command that starts, or later resumes, the program inside its sandbox."""

    def ended(self, returncode: int, tail: str) -> Ended:
        """How an incarnation ended, from its exit status and the end of its output."""


RESEARCHERS: Registry[Callable[[Options], Researcher]] = Registry("researcher kind")
