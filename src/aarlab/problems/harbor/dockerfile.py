"""A Dockerfile read for what a sandbox without an engine can do of it: copying files, setting
variables, and commands that need nothing but Python and a shell; and what it cannot."""

import importlib.metadata
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.plain_text import read_text
from aarlab.problems.folder.folder_problem import FOLDER, TAKEN

FILE_BYTES = 1 << 20
BASES = frozenset({"python", "debian", "ubuntu"})  # what this machine has instead is near enough
PASSED_OVER = frozenset({"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "USER"})
PASSED_OVER |= {"MAINTAINER", "STOPSIGNAL"}
NEEDS = frozenset(
    {  # commands that need a network, a compiler, or root
        *("apt", "apt-get", "apk", "yum", "dnf", "curl", "wget", "git", "pip", "pip3", "uv"),
        *("uvx", "conda", "mamba", "npm", "npx", "yarn", "cargo", "gem", "go", "make", "cmake"),
        *("gcc", "cc", "g++", "c++", "useradd", "adduser", "groupadd", "chown", "su", "sudo"),
        *("docker", "service", "systemctl"),
    }
)
WORDS = 100  # characters of a line that a message shows


@dataclass
class BuildPlan:
    """What is done, in order, as [kind, words, line]; and what cannot be, with the line."""

    steps: list[list[Any]] = field(default_factory=list)
    workdir: str = "/"
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def folders(self) -> set[str]:
        """The top folders that the steps write to."""
        found = {top(self.workdir)} - {"/"}
        for kind, words, _ in self.steps:
            if kind == "copy":
                found.add(top(words[-1]))
            elif kind == "run":
                paths = re.findall(rf"(?<![\w./-])({FOLDER})(?=[/\s\"';]|$)", words)
                found |= {p for p in paths if p[1:] not in TAKEN}
        return found


def top(path: str) -> str:
    """The top folder of an absolute path."""
    return "/" + "/".join(PurePosixPath(path).parts[1:2])


def script_needs(path: Path) -> list[str]:
    """The commands of a script that need a network or root, each with its line."""
    found, end = [], ""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if end:  # what is between is the input of a command
            end = "" if line.strip() == end else end
            continue
        words = sorted(set(_commands(line)) & NEEDS)
        found += [f"{path.parent.name}/{path.name}, line {number}: {word}" for word in words]
        here = re.search(r"<<-?\s*['\"\\]?(\w+)", line)
        end = here[1] if here else ""
    return found


def read_dockerfile(path: Path) -> BuildPlan:
    """Read a Dockerfile.

    Raises:
        Misconfigured: it is too large, or copies from outside of its folder.
    """
    if path.stat().st_size > FILE_BYTES:
        raise Misconfigured(f"{path} has more than {FILE_BYTES:,} bytes. Name a Harbor task.")
    plan, stages = BuildPlan(), 0
    for number, word, rest in _instructions(read_text(path)):
        where = f"{path.parent.name}/{path.name}, line {number}: {word} {rest}"
        where = where if len(where) <= WORDS else f"{where[:WORDS]} ..."
        stages += word == "FROM"
        if word == "FROM" and not _is_base(rest):
            plan.missing.append(where)
        elif word in {"ENV", "ARG"}:
            plan.steps.append(["env", _pairs(rest), number])
        elif word == "WORKDIR" and "$" not in rest:
            plan.workdir = str(PurePosixPath(plan.workdir) / rest.strip("\"'"))
            plan.steps.append(["workdir", plan.workdir, number])
        elif word in {"COPY", "ADD"}:
            _copy(plan, rest, number, where, path)
        elif word == "RUN":
            _run(plan, rest, number, where)
        elif word not in PASSED_OVER | {"FROM"}:
            plan.missing.append(where)
    if stages != 1:
        plan.missing.append(f"{path.parent.name}/{path.name}: {stages} stages (FROM)")
    return plan


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, word, rest) of each instruction, continued lines joined and comments left out."""
    begun, parts = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not parts):
            continue
        begun = begun if parts else number
        parts.append(line.rstrip().removesuffix("\\").strip())
        if line.rstrip().endswith("\\"):
            continue
        word, _, rest = " ".join(parts).partition(" ")
        yield begun, word.upper(), rest.strip()
        parts = []


def _is_base(rest: str) -> bool:
    image = rest.split()[0] if rest.split() else ""
    return re.split("[:@]", image)[0] in BASES and len(rest.split()) in {1, 3}


def _pairs(rest: str) -> dict[str, str]:
    try:
        words = shlex.split(rest)
    except ValueError:
        words = rest.split()
    if words and "=" not in words[0]:
        return {words[0]: " ".join(words[1:])}
    return dict(word.split("=", 1) for word in words if "=" in word)


def _copy(plan: BuildPlan, rest: str, number: int, where: str, path: Path) -> None:
    flags = re.match(r"(?:--\S+\s+)*", rest)
    words = rest[flags.end() if flags else 0 :].split()
    given = flags[0] if flags else ""
    if "--from" in given or rest.startswith("[") or len(words) < 2 or "$" in rest or "<<" in rest:
        plan.missing.append(where)
        return
    if any("://" in word or word.endswith((".tar", ".gz", ".tgz", ".zip")) for word in words[:-1]):
        plan.missing.append(where)
        return
    for word in words[:-1]:
        if ".." in PurePosixPath(word).parts:
            raise Misconfigured(
                f"{path}, line {number}: it copies {word[:60]!r} from outside of {path.parent}. "
                "Put the file into that folder."
            )
    slash = "/" if words[-1].endswith("/") or len(words) > 2 else ""
    target = str(PurePosixPath(plan.workdir) / words[-1]) + slash
    if not re.fullmatch(FOLDER, top(target)) or top(target)[1:] in TAKEN:
        plan.missing.append(where)
        return
    plan.steps.append(["copy", [*words[:-1], target], number])


def _run(plan: BuildPlan, rest: str, number: int, where: str) -> None:
    commands = _commands(rest)
    if "<<" in rest or rest.startswith(("[", "--")):
        plan.missing.append(where)
    elif not set(commands) & NEEDS:
        plan.steps.append(["run", rest, number])
    elif (found := _installed(rest, commands)) is not None:
        plan.notes += found
    else:
        plan.missing.append(where)


def _commands(text: str) -> list[str]:
    """The first word of each command of a line of shell, without its folder."""
    lexer = shlex.shlex(text, posix=False, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    found, first = [], True
    try:
        for word in lexer:
            if set(word) <= set("();<>|&"):
                first = "<" not in word and ">" not in word
            elif first and (
                word in {"if", "then", "else", "do", "!", "exec", "time", "{", "while"}
            ):
                continue
            elif first and not re.match(r"\w+=", word):
                found.append(word.rpartition("/")[2])
                first = False
    except ValueError:
        found += text.split()
    return found


def _installed(rest: str, commands: list[str]) -> list[str] | None:
    """Notes on packages that a line installs by pip alone and that are here; None of any other
    line."""
    words = rest.replace("python3 -m pip", "pip").replace("python -m pip", "pip").split()
    if (
        set(commands) - {"pip", "pip3", "python", "python3"}
        or "install" not in words
        or "-r" in words
    ):
        return None
    notes = []
    for word in (w.strip("\"'") for w in words[words.index("install") + 1 :]):
        if word.startswith("-"):
            continue
        name, _, version = word.partition("==")
        try:
            here = importlib.metadata.version(re.split(r"[\[<>=~!]", name)[0])
        except importlib.metadata.PackageNotFoundError:
            return None
        if version and version != here:
            notes.append(f"{name} is {here} here, and {version} in the package")
    return notes
