"""Kind `command`: any other agent command line that speaks MCP, described by a template; some are presets.

The presets are YAML files beside this module. `claude` was run against a scripted model API; `codex` and `gemini` are UNTESTED:
they are written from the manuals of these programs, and nobody has run them here.
"""

import json
import re
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path

import yaml

from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.researchers.bridge_config import bridge_server
from aarlab.researchers.claude_code import GO_ON, NOTES, inside_env
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
    Inside,
    Launch,
    Life,
    Options,
)
from aarlab.sandbox.sandbox import Mount

PRESETS = Path(__file__).parent / "presets"
UNTESTED = ("codex", "gemini")
PLACEHOLDERS = ("prompt", "model", "session", "home", "brief", "data", "mcp_config", "python", "socket", "gate")
LAST_WORDS = 4000  # characters in which the cause of an end is looked for
_SPENT = re.compile(r"\b402\b.*\bspent\b|budget.*\bis spent\b", re.IGNORECASE | re.DOTALL)
_OUTAGE = re.compile(
    r"(status|error|code)\D{0,20}(429|5\d\d)\b|overloaded|rate.?limit|connection (refused|reset|error|closed)|ECONNRE",
    re.IGNORECASE,
)


def preset(name: str) -> CommandTemplate:
    """A template that ships.

    Raises:
        Misconfigured: there is none of that name.
    """
    path = PRESETS / f"{name}.yaml"
    known = sorted(p.stem for p in PRESETS.glob("*.yaml"))
    if name not in known:
        words = f"There is no preset '{name}' of an agent command. Known: {', '.join(known)}; or give a template."
        raise Misconfigured(words, name=name)
    return validated(CommandTemplate, yaml.safe_load(path.read_text()), str(path))


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
            raise Misconfigured("Researchers of kind command need a command: a preset's name, or a template with its argv.")
        return self._template

    def require(self) -> None:
        """Raises Misconfigured where no command is named, a placeholder is misspelled, or a program or path is missing."""
        _spelled(self.template)
        untested = f" (The preset {self._name} is untested: nobody has run it here.)" if self._name in UNTESTED else ""
        program = self.template.argv[0]
        if self._found(program) is None:
            raise Misconfigured(f"There is no program '{program}' here. Install it, or give its path.{untested}")
        for path in self.template.programs:
            if not Path(path).exists():
                raise Misconfigured(f"There is no '{path}' to mount. Correct `programs` of the command.{untested}")

    @staticmethod
    def _found(program: str) -> str | None:
        return shutil.which(program)

    def mounts(self) -> tuple[Mount, ...]:
        """The paths that the template names, and the program itself where it does not come with the system."""
        paths = [Path(p) for p in self.template.programs]
        found = self._found(self.template.argv[0])
        if found and not Path(found).is_relative_to("/usr") and not any(Path(found).is_relative_to(p) for p in paths):
            paths.append(Path(found))
        return tuple(Mount(p, str(p)) for p in paths)

    def prepare(self, folder: Path, brief: Brief) -> None:
        """The prompts, an MCP configuration in the usual form, and the template's own files."""
        (folder / "brief.json").write_text(brief.model_dump_json(indent=1))
        (folder / "prompt.md").write_text(brief.prompt or brief.direction)
        (folder / "go_on.md").write_text(brief.go_on or GO_ON)
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": bridge_server()}, indent=1))
        inside = Inside(home=HOME, brief=BRIEF, data=DATA, socket=f"{GATE}/{SOCKET_NAME}")
        for name, text in self.template.files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise Misconfigured(f"The command's file '{name}' leads out of the brief. Use a plain relative path.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._filled(text, inside, ""))

    def launch(self, inside: Inside, life: Life) -> Launch:
        """`argv`, or `resume_argv` once the session was begun; `prompted` puts the prompt in."""
        begun = life.begun and self.template.resume_argv is not None
        argv = self.template.resume_argv if begun and self.template.resume_argv else self.template.argv
        found = (self._found(argv[0]) or argv[0], *argv[1:])
        prompt = Path(inside.brief) / ("go_on.md" if begun else "prompt.md")
        note = ("--note", NOTES.get(life.ended, "")) if begun and life.ended else ()
        module = (sys.executable, "-m", "aarlab.researchers.prompted", "--prompt", str(prompt), *note, "--")
        env = {name: self._filled(text, inside, life.session) for name, text in self.template.env.items()}
        words = tuple(self._filled(word, inside, life.session) for word in found)
        return Launch(argv=(*module, *words), env={**inside_env(inside), **env})

    def _filled(self, text: str, inside: Inside, session: str) -> str:
        values = {
            "model": self._options.model,
            "session": session,
            "home": inside.home,
            "brief": inside.brief,
            "data": inside.data,
            "mcp_config": f"{inside.brief}/mcp.json",
            "python": sys.executable,
            "socket": inside.socket,
        }
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def ended(self, returncode: int, tail: str) -> Ended:
        """In order, with more to do, unless the last words name a budget, or an API that failed."""
        if returncode == 0:
            return "again"
        words = tail[-LAST_WORDS:]
        return "spent" if _SPENT.search(words) else "outage" if _OUTAGE.search(words) else "crashed"


def _spelled(template: CommandTemplate) -> None:
    """Raises Misconfigured where `{...}` is nearly a placeholder. Other braces are the program's own matter."""
    texts = (*template.argv, *(template.resume_argv or ()), *template.env.values(), *template.files.values())
    for word in re.findall(r"\{(\w+)\}", " ".join(texts)):
        like = get_close_matches(word, PLACEHOLDERS, n=1, cutoff=0.75)
        if word not in PLACEHOLDERS and like:
            raise Misconfigured(f"'{{{word}}}' in the command is replaced by nothing. Did you mean '{{{like[0]}}}'?")
