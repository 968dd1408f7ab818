"""Kind `command`: any other agent command line that speaks MCP, described by a template; some are
presets.

The presets are the YAML files in presets/. Each was tested with the real program, in the version
that `TESTED` names, against a scripted model API (`make test-agents`).
"""

import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import BriefFolder
from aarlab.core.settings import expanded
from aarlab.core.strict_yaml import read_record
from aarlab.researchers.claude_code import NOTES, inside_env, write_brief
from aarlab.researchers.program_files import ProgramFiles, program_files
from aarlab.researchers.researcher import (
    BRIEF,
    DATA,
    GATE,
    HOME,
    RESEARCHERS,
    SOCKET_NAME,
    Brief,
    CommandTemplate,
    Ended,
    IncarnationStart,
    Inside,
    Launch,
    Options,
)
from aarlab.sandbox.sandbox import Mount

PRESETS = Path(__file__).parent / "presets"


class Package(NamedTuple):
    """What brings a preset's program, in the version that was tested with it."""

    installer: Literal["npm", "pip"]
    name: str
    version: str


TESTED = {  # by preset; `make test-agents` installs them; Claude's comes with the SDK
    "claude": Package("npm", "@anthropic-ai/claude-code", "2.1."),
    "codex": Package("npm", "@openai/codex", "0.171.0"),
    "gemini": Package("npm", "@google/gemini-cli", "0.61.0"),
    "opencode": Package("npm", "opencode-ai", "1.18.33"),
    "mini-swe-agent": Package("pip", "mini-swe-agent", "2.4.6"),
}
PLACEHOLDERS = (
    "prompt",
    "model",
    "session",
    "home",
    "brief",
    "data",
    "mcp_config",
    "python",
    "socket",
    "gate",
)
# names of places inside the sandbox, which are not known here
_INSIDE = re.compile(rf"\{{(?:{'|'.join(set(PLACEHOLDERS) - {'python', 'model'})})\}}")
LAST_WORDS = 4000  # characters of output in which the cause of an exit is looked for
_SPENT = re.compile(r"\b402\b.*\bspent\b|budget.*\bis spent\b", re.IGNORECASE | re.DOTALL)
_OUTAGE = re.compile(
    r"(status|error|code)\D{0,20}(429|5\d\d)\b|overloaded|rate.?limit|connection "
    r"(refused|reset|error|closed)|ECONNRE",
    re.IGNORECASE,
)


def preset(name: str) -> CommandTemplate:
    """The preset template of that name.

    Raises:
        Misconfigured: there is no such preset.
    """
    path = PRESETS / f"{name}.yaml"
    known = sorted(p.stem for p in PRESETS.glob("*.yaml"))
    if name not in known:
        words = (
            f"There is no command preset '{name}'. Use one of {', '.join(known)}, or give a "
            "template."
        )
        raise Misconfigured(words, name=name)
    return read_record(CommandTemplate, path)


@RESEARCHERS.add("command")
class Command:
    """See the module's docstring."""

    def __init__(self, options: Options) -> None:
        self._options = options
        given = options.command
        self._name = given if isinstance(given, str) else None
        self._template = preset(given) if isinstance(given, str) else given

    @property
    def template(self) -> CommandTemplate:
        """What is to be started.

        Raises:
            Misconfigured: the campaign names none.
        """
        if self._template is None:
            raise Misconfigured(
                "Researchers of kind command need options.command: a preset's name, or a template "
                "with argv."
            )
        return self._template

    def require(self) -> None:
        """Raises Misconfigured: no command is named, a placeholder is misspelled, or a path is
        missing."""
        _spelled(self.template)
        program = self.template.argv[0]
        if self._program(program) is None:
            raise Misconfigured(
                f"The program '{program}' is not installed. Install it{self._package()}, or give "
                "its path."
            )
        for path in self._programs():
            if not path.exists():
                raise Misconfigured(
                    f"The path '{path}' does not exist. Correct `programs` of the command."
                )

    def _program(self, word: str) -> ProgramFiles | None:
        """The program that a template's first word names: here, or where a placeholder names a
        place inside the sandbox, as it stands."""
        word = word.replace("{python}", sys.executable).replace("{model}", self._options.model)
        if word == sys.executable or _INSIDE.search(word):
            return ProgramFiles((word,), ())
        return program_files(str(expanded(word, "command.argv")))

    def _programs(self) -> list[Path]:
        return [expanded(path, "command.programs") for path in self.template.programs]

    def _package(self) -> str:
        """The package that brings a preset's program, in brackets."""
        package = TESTED.get(self._name or "")
        return f" ({package.installer} install {package.name})" if package else ""

    def mounts(self) -> tuple[Mount, ...]:
        """The paths that the template names, and those that its program needs."""
        found, named = self._program(self.template.argv[0]), self._programs()
        needed = [] if found is None else found.paths
        paths = named + [p for p in needed if not any(p.is_relative_to(n) for n in named)]
        return tuple(Mount(p, str(p)) for p in paths)

    def prepare(self, folder: Path, brief: Brief) -> None:
        """The prompts, an MCP configuration in the usual form, and the template's own files."""
        made = write_brief(folder, brief)
        self._write(self.template.files, folder)
        self._write(self.template.home_files, made.home)

    def _write(self, files: Mapping[str, str], folder: Path) -> None:
        inside = Inside(home=HOME, brief=BRIEF, data=DATA, socket=f"{GATE}/{SOCKET_NAME}")
        for name, text in files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise Misconfigured(
                    f"The command's file '{name}' is outside its folder. Use a plain relative path."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._filled(text, inside, ""))

    def launch(self, inside: Inside, start: IncarnationStart) -> Launch:
        """`argv`, or `resume_argv` if the session was begun; `prompted` inserts the prompt."""
        begun = start.begun and self.template.resume_argv is not None
        argv = (
            self.template.resume_argv if begun and self.template.resume_argv else self.template.argv
        )
        program = self._program(argv[0])
        found = (*((argv[0],) if program is None else program.argv), *argv[1:])
        files = BriefFolder(Path(inside.brief))
        prompt = files.go_on if begun else files.prompt
        noted = start.ended is not None and (begun or start.ended == "refused")
        note = ("--note", NOTES.get(start.ended, "")) if noted and start.ended else ()
        module = (
            sys.executable,
            "-m",
            "aarlab.researchers.prompted",
            "--prompt",
            str(prompt),
            *note,
            *(("--home", str(files.home)) if self.template.home_files else ()),
            "--",
        )
        env = {
            name: self._filled(text, inside, start.session)
            for name, text in self.template.env.items()
        }
        words = tuple(self._filled(word, inside, start.session) for word in found)
        return Launch(argv=(*module, *words), env={**inside_env(inside), **env})

    def _filled(self, text: str, inside: Inside, session: str) -> str:
        values = {
            "model": self._options.model,
            "session": session,
            "home": inside.home,
            "brief": inside.brief,
            "data": inside.data,
            "mcp_config": str(BriefFolder(Path(inside.brief)).mcp),
            "python": sys.executable,
            "socket": inside.socket,
        }
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def ended(self, returncode: int, tail: str) -> Ended:
        """ "again" (an orderly exit), unless the last output names a spent budget or a failed
        API."""
        if returncode == 0:
            return "again"
        words = tail[-LAST_WORDS:]
        return "spent" if _SPENT.search(words) else "outage" if _OUTAGE.search(words) else "crashed"


def _spelled(template: CommandTemplate) -> None:
    """Raises Misconfigured if `{...}` is close to a placeholder's name. Other braces are left as
    they are."""
    texts = (
        *template.argv,
        *(template.resume_argv or ()),
        *template.env.values(),
        *template.files.values(),
        *template.home_files.values(),
    )
    for word in re.findall(r"\{(\w+)\}", " ".join(texts)):
        like = get_close_matches(word, PLACEHOLDERS, n=1, cutoff=0.75)
        if word not in PLACEHOLDERS and like:
            raise Misconfigured(
                f"'{{{word}}}' in the command is not a placeholder. Write '{{{like[0]}}}'."
            )
