"""The contract of a problem in a folder: what may be submitted, what is measured, in which limits;
and how its folder is read."""

import ast
import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import HarborPackage, ProblemFolder
from aarlab.core.objectives import Aims, Combine, Objective
from aarlab.core.plain_text import read_text
from aarlab.core.records import STUDY_FAMILIES, FamilyName, Record
from aarlab.core.strict_yaml import Document, record_of

Kind = Literal["predictions", "program", "artifact"]
Weights = Literal["SmolLM2-135M-Instruct"]
Values = Literal["probability", "number", "class", "text", "ranking"]
FUNCTIONS = {
    "prepare": ("seed", "public", "sealed", "secret"),
    "grade": ("submission", "secret", "trial"),
    "ablate": ("seed", "public"),
}
CHECK = ("check", ("submission",))
FOLDER = "/[a-z][a-z0-9_-]{0,39}"
TAKEN = frozenset(
    {  # top folders of a system, and those that a run mounts
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "proc", "root", "run"),
        *("sbin", "sys", "tmp", "usr", "var"),
        *("answer", "begun", "code", "inputs", "out", "problem", "program", "public", "sealed"),
        *("secret", "submission"),
    }
)
PROBLEM_NAME = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")


class SubmissionForm(Record):
    """What a researcher hands in.

    predictions: a value for every item of a split; `values` says which, `classes` name those of a
    class. program: Python files with `program.py`, which defines `answer(request)`; each call takes
    `call_s` at most, all of them `total_s`. artifact: files of at most `max_bytes` together.
    `recipe`: a confirmation makes the submission again from code, and that is what counts.
    """

    kind: Kind
    values: Values | None = None
    classes: tuple[str, ...] = Field((), strict=False)
    max_bytes: int = Field(1 << 20, ge=1, le=1 << 30)
    recipe: bool = False
    call_s: float = Field(5.0, gt=0, le=3600)
    total_s: float = Field(60.0, gt=0, le=86_400)

    @model_validator(mode="after")
    def _fits(self) -> "SubmissionForm":
        if (self.kind == "predictions") != (self.values is not None):
            raise ValueError("predictions, and nothing else, have `values`")
        if (self.values == "class") != bool(self.classes):
            raise ValueError("`classes` are named where `values` is class, and nowhere else")
        return self


class Resources(Record):
    """Limits of one run. It has no network. `folders`: top folders such as /workspace that are
    there, empty and writable, for code that has its paths written in it. `image`: of a docker
    engine, whose programs there are instead of this machine's; it needs the sandbox `docker`."""

    wall_s: float = Field(120.0, gt=0, le=7 * 86_400)
    memory_gib: float = Field(4.0, gt=0, le=4096)
    cpus: float = Field(1.0, gt=0, le=1024)
    folders: tuple[str, ...] = Field((), strict=False)
    image: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9._/:@-]{0,254}$")

    @field_validator("folders")
    @classmethod
    def _free(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        for folder in folders:
            if not re.fullmatch(FOLDER, folder) or folder[1:] in TAKEN:
                raise ValueError(
                    f"{folder[:60]!r} is no top folder that code may have, such as /workspace"
                )
        if len(set(folders)) < len(folders):
            raise ValueError("a folder is named twice")
        return folders


class Contract(Record, Aims):
    """problem.yaml. `card`: the task as researchers read it. `trials`: how often a grading is
    repeated where it has noise of its own (generation, timing, a judge). `weights`: a frozen model
    that all code of the problem may read, at `aarlab.core.author.WEIGHTS`. `families`: the
    problem's own names of kinds of methods; the study's eleven where it has none. `ablations`:
    files of ablations/ that take something out of the public data; a confirmed claim's code is run
    without it, to be shown. `fixed`: the secrets are the author's files and not drawn, so that
    every data seed gives the same."""

    name: str = PROBLEM_NAME
    version: str = Field("1", pattern=r"^[A-Za-z0-9._-]{1,20}$")
    card: str = Field(min_length=40)
    submission: SubmissionForm
    objectives: tuple[Objective, ...] = Field(strict=False)
    combine: Combine = "mean"
    trials: int = Field(1, ge=1, le=100)
    weights: Weights | None = None
    run: Resources = Resources()
    grading: Resources = Resources()
    baselines: tuple[str, ...] = Field(strict=False)
    ablations: tuple[str, ...] = Field((), strict=False)
    families: tuple[FamilyName, ...] = Field(STUDY_FAMILIES, min_length=2, strict=False)
    fixed: bool = False

    @property
    def aims(self) -> tuple[tuple[Objective, ...], Combine]:
        """What is measured, and how the climbed objectives become one score."""
        return self.objectives, self.combine

    @property
    def ends(self) -> tuple[str, ...]:
        """The baselines that a floor or a ceiling names."""
        named = {end.baseline for o in self.objectives for end in (o.floor, o.ceiling)}
        return tuple(name for name in self.baselines if name in named)


@dataclass(frozen=True)
class FolderProblem:
    """A problem in a folder, read and found whole. `checks`: whether grade.py has a `check`."""

    folder: ProblemFolder
    contract: Contract
    checks: bool
    digest: str  # of all that decides a grading

    @property
    def key(self) -> str:
        """The name of what is made of it on disk."""
        return f"{self.contract.name}-v{self.contract.version}-{self.digest[:12]}"


def no_problem(folder: Path) -> str:
    """Why a folder without a contract is no problem, and what makes one of it."""
    package, contract = HarborPackage(folder), ProblemFolder(folder).contract
    if package.settings.is_file():
        return (
            f"{folder} is a Harbor task ({package.settings.name}), and no problem yet. `aar import "
            f"harbor {folder} NEW_FOLDER` makes one of it; then give that folder."
        )
    return f"{folder} holds no {contract.name}. `aar problem new NAME` writes a folder that runs."


def read_problem(folder: Path) -> FolderProblem:
    """Read a problem's folder.

    Raises:
        Misconfigured: a file is missing, or says something that cannot be; with file, line, key and
            remedy.
    """
    found = ProblemFolder(folder.resolve())
    if not found.contract.is_file():
        raise Misconfigured(no_problem(folder))
    _require_inside(found.root)
    _require_readable(found.root)
    document = Document(read_text(found.contract), str(found.contract))
    contract = record_of(Contract, document, str(found.contract))
    _refuse_inconsistent(contract, document, found)
    _require_function(found.prepare, "prepare", FUNCTIONS["prepare"])
    functions = _require_function(found.grade, "grade", FUNCTIONS["grade"])
    checks = CHECK[0] in functions
    if checks:
        _require_function(found.grade, *CHECK)
    for name in contract.ablations:
        _require_function(found.ablation(name), "ablate", FUNCTIONS["ablate"])
    return FolderProblem(found, contract, checks, digest_of_files(found))


def _require_inside(root: Path) -> None:
    """What a link leads to outside is no part of the problem: no sandbox shows it, its changes are
    not seen, and set-up would publish it where it stands for a baseline."""
    for path in _own_paths(root):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise Misconfigured(f"{path} is a link that leads outside of {root}. Write a copy.")


def _require_readable(root: Path) -> None:
    """As root, a sandbox runs code as another user, who must be able to read the folder."""
    for path in (root, *_own_paths(root)) if os.geteuid() == 0 else ():
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            raise Misconfigured(
                f"{path} cannot be read by other users, and sandboxes run as one. Run `chmod -R "
                f"a+rX {shlex.quote(str(root))}`."
            )


def _refuse_inconsistent(contract: Contract, document: Document, folder: ProblemFolder) -> None:
    """Raise where parts of the contract do not fit each other, or the folder."""
    for words, *place in (*_in_objectives(contract), *_in_files(contract, folder)):
        line = document.line(tuple(place))
        at = ".".join(map(str, place)) + (f" (line {line})" if line else "")
        raise Misconfigured(f"{folder.contract}: {at}: {words}")


OF_TOOLS = frozenset(
    {".git", ".hg", ".svn", ".aar", ".venv", ".idea", ".vscode", ".DS_Store", "__pycache__"}
    | {".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
LEFT_BY_EDITOR = re.compile(r"\.#.*|#.*#|.*~|\..*\.sw[a-p]")
Wrong = tuple[str | int, ...]  # what is wrong, in words; and its place in the contract


def _in_objectives(contract: Contract) -> Iterator[Wrong]:
    names = [o.name for o in contract.objectives]
    for n, objective in enumerate(contract.objectives):
        if objective.name in names[:n]:
            yield f"'{objective.name}' occurs twice. Rename one.", "objectives", n, "name"
        for end in ("floor", "ceiling"):
            baseline = getattr(objective, end).baseline
            if baseline is not None and baseline not in contract.baselines:
                known = ", ".join(contract.baselines) or "none is named"
                words = f"there is no baseline '{baseline}'. Name one of: {known}."
                yield words, "objectives", n, end, "baseline"
    for n, family in enumerate(contract.families):
        if family in contract.families[:n]:
            yield f"'{family}' occurs twice. Remove one.", "families", n
    if not contract.climbed:
        yield "no objective has the role climb. Give it to one.", "objectives"


def _in_files(contract: Contract, folder: ProblemFolder) -> Iterator[Wrong]:
    if not contract.baselines:
        yield "no baseline is named. Name one, and write it.", "baselines"
    for kind, path_of in (("baselines", folder.baseline), ("ablations", folder.ablation)):
        for n, name in enumerate(getattr(contract, kind)):
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name):
                yield f"'{name}' is no name of a file without its .py. Rename it.", kind, n
            elif not path_of(name).is_file():
                yield f"{path_of(name)} is missing. Write it.", kind, n


def _require_function(path: Path, name: str, arguments: tuple[str, ...]) -> set[str]:
    """The names of all functions of a file, of which one must be there with these arguments."""
    try:
        tree = ast.parse(read_text(path), str(path))
    except SyntaxError as error:
        raise Misconfigured(
            f"{path}, line {error.lineno}: it is no Python ({error.msg}). Correct it."
        ) from error
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    shown = f"{name}({', '.join(arguments)})"
    if name not in functions:
        raise Misconfigured(f"{path} defines no function {shown}. Add it.")
    taken = functions[name].args
    if tuple(a.arg for a in (*taken.posonlyargs, *taken.args))[: len(arguments)] != arguments:
        line = functions[name].lineno
        raise Misconfigured(f"{path}, line {line}: write this function as {shown}.")
    return set(functions)


def digest_of_files(folder: ProblemFolder) -> str:
    """SHA-256 of all files of a problem, by their paths."""
    whole = hashlib.sha256()
    for path in _deciding(folder):
        whole.update(path.relative_to(folder.root).as_posix().encode() + b"\0")
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _deciding(folder: ProblemFolder) -> Iterator[Path]:
    """The files of a problem, without what a check found and what tools keep there."""
    for path in sorted(_own_paths(folder.root)):
        if path.is_file() and path != folder.card:
            yield path


def _own_paths(root: Path) -> Iterator[Path]:
    """The files and folders in a problem's folder that are its author's, and not a tool's: those
    change while the problem stays what it is."""
    for here, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in OF_TOOLS]
        for name in (*folders, *files):
            path = Path(here, name)
            if name not in OF_TOOLS and not LEFT_BY_EDITOR.fullmatch(name) and path.exists():
                yield path


class UnchangedFiles:
    """Whether a problem's files are still those that were read: they are used where they are. Their
    bytes are read again only where the file system says that something was written."""

    def __init__(self, problem: FolderProblem) -> None:
        self._problem, self._seen = problem, ()

    def require(self) -> None:
        """Raises Misconfigured where they are others, or are gone."""
        folder = self._problem.folder
        try:
            now = tuple(
                (p, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
                for p, s in ((path, path.stat()) for path in _deciding(folder))
            )
            if now == self._seen or digest_of_files(folder) == self._problem.digest:
                self._seen = now
                return
        except OSError as error:
            raise Misconfigured(f"{folder.root} cannot be read ({error.strerror}).") from error
        raise Misconfigured(
            f"{folder.root} was changed since it was read: what is graded now and what was graded "
            "before would not be one measure. Put its files back as they were, and go on; or begin "
            "another campaign on what it is now."
        )
