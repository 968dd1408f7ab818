"""Which code decides a result: the modules of aarlab that can be imported on the way to it, the
data files that these read, and the libraries that compute.

A closure is static: the imports of a module wherever they stand in it, strings that name a module
(`-m` of a child process) and strings that name a file beside the module, all followed to the end;
what is only for type checkers is left out. `tests/walls/test_own_code.py` compares it with what is
loaded and opened.
"""

import ast
import hashlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.records import Record

NAME = "aarlab"
ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "problems" / "shipped"  # problems in folders
LIBRARIES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn", "scipy"),
    "torch": ("torch",),
    "transformers": ("transformers", "tokenizers"),
    "peft": ("peft",),
    "trl": ("trl",),
    "vllm": ("vllm",),
    "gguf": ("gguf",),
    "accelerate": ("accelerate",),
}  # as it is imported -> the distributions whose versions decide numbers
_OURS = re.compile(rf"\b{NAME}(?:\.[A-Za-z_]\w*)*")
_FILE = re.compile(r"\w[\w-]*(?:/\w[\w-]*)*\.\w+")  # a file's name, with folders or without
_THEIRS = re.compile(rf"\b(?:{'|'.join(LIBRARIES)})\b")
DIGITS = 12  # of a digest in a name
NAMED = 4  # modules that a message names


class CodeRecord(Record):
    """What decides one kind of result."""

    # name, or a data file's path in the package -> the first 16 digits of the SHA-256 of its source
    modules: dict[str, str]
    libraries: dict[str, str]  # distribution, or "python" -> version

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: part of the key of whatever is kept."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def since(self, before: "CodeRecord | None") -> str:
        """As text, what is not as it was `before` (None: nobody knows); "" where all is."""
        if before is None:
            return "it was made by an older version, which did not record its code"
        found = [
            m
            for m in sorted({*self.modules, *before.modules})
            if self.modules.get(m) != before.modules.get(m)
        ]
        more = [f"{len(found) - NAMED} more modules"] if len(found) > NAMED else []
        words = [" and ".join([", ".join(found[:NAMED]), *more]) + " changed"] if found else []
        names = sorted({*self.libraries, *before.libraries})
        versions = [
            (n, before.libraries.get(n, "none"), self.libraries.get(n, "none")) for n in names
        ]
        return "; ".join(
            words + [f"{n} was {old} and is {new}" for n, old, new in versions if old != new]
        )

    def apart(self, other: "CodeRecord | None") -> str:
        """As `since`, of what both have: what two results that stand side by side do not have in
        common."""
        if other is None:
            return self.since(None)
        mine, theirs = (
            CodeRecord(
                modules={n: h for n, h in a.modules.items() if n in b.modules},
                libraries={n: v for n, v in a.libraries.items() if n in b.libraries},
            )
            for a, b in ((self, other), (other, self))
        )
        return mine.since(theirs)

    def require_unchanged(self) -> None:
        """Raise where a file on disk is no longer what it was when it was hashed: what was computed
        since is of unknown code.

        Raises:
            Misconfigured: the library was changed under a running process.
        """
        for name, known in self.modules.items():
            path = _modules().get(name, ROOT / name)
            if not path.is_file() or _sha256(path.read_bytes())[:16] != known:
                raise Misconfigured(
                    f"{name} was changed while this process ran. Start the command again; it goes "
                    "on."
                )


class Build(Record):
    """Which aarlab this is."""

    version: str
    # of the checkout, "-dirty" where its files are not as committed; null where nobody recorded it
    commit: str | None
    source: str  # digest of `whole_code`

    def __str__(self) -> str:
        commit = "commit unknown" if self.commit is None else f"commit {self.commit}"
        return f"aarlab {self.version}, {commit}, source {self.source[:DIGITS]}"


class _Module(NamedTuple):
    digest: str
    imports: frozenset[str]  # modules of aarlab
    libraries: frozenset[str]  # keys of LIBRARIES
    data: Mapping[str, str]  # path in the package of each data file that it names -> digest


@cache
def code_of(*entries: str, alone: tuple[str, ...] = ()) -> CodeRecord:
    """The code that is reached from these modules. `alone`: modules that are part of it and are not
    followed, such as one that imports everything of a kind, of which one decides.

    Raises:
        Misconfigured: there is no module of aarlab of that name.
    """
    return _code(entries, (), alone)


def code_of_files(
    files: Mapping[str, str], *entries: str, alone: tuple[str, ...] = ()
) -> CodeRecord:
    """The code that is reached from these modules and from files of somebody else's: every module
    that is named anywhere in their text, with all that is below a package."""
    text = "\n".join(files.values())
    named = {name for found in set(_OURS.findall(text)) for name in _below(found)}
    return _code(
        (*entries, *sorted(named)), _THEIRS.findall(text), tuple(a for a in alone if a not in named)
    )


def _code(entries: Iterable[str], libraries: Iterable[str], alone: tuple[str, ...]) -> CodeRecord:
    found: dict[str, _Module] = {}
    waiting = [part for name in (*entries, *alone) for part in _with_parents(name)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _module(name)
            waiting += [] if name in alone else found[name].imports
    used = {*libraries, *(lib for module in found.values() for lib in module.libraries)}
    versions = {dist: _version(dist) for lib in used for dist in LIBRARIES[lib]}
    versions["python"] = _python()
    digests = {n: module.digest for n, module in found.items()} | {
        n: d for m in found.values() for n, d in m.data.items()
    }
    return CodeRecord(
        modules={n: digests[n][:16] for n in sorted(digests)},
        libraries=dict(sorted(versions.items())),
    )


@cache
def _modules() -> Mapping[str, Path]:
    """Every module of aarlab by its dotted name. The files of shipped problems are none: they run
    as any author's, and are keyed by their own digest."""
    found = (path for path in sorted(ROOT.rglob("*.py")) if SHIPPED not in path.parents)
    return {_name_of(path): path for path in found}


def _name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((NAME, *(parts[:-1] if parts[-1] == "__init__" else parts)))


# Python 3.11's parser counts its depth for all threads together, and fails if two are in it at once
_PARSING = threading.Lock()


@cache
def _module(name: str) -> _Module:
    path = _modules().get(name)
    if path is None:
        raise Misconfigured(
            f"There is no module {name} in {ROOT}. Install aarlab again.", name=name
        )
    source = path.read_bytes()
    with _PARSING:
        tree = ast.parse(source, str(path))
    beside = set(_files_beside(tree, path))
    names = {*_names(tree), *(_name_of(file) for file in beside if file.suffix == ".py")}
    ours = frozenset(part for n in names if _is_ours(n) for part in _with_parents(_longest(n)))
    theirs = frozenset(head for n in names if (head := n.partition(".")[0]) in LIBRARIES)
    data = {
        f.relative_to(ROOT).as_posix(): _sha256(f.read_bytes()) for f in beside if f.suffix != ".py"
    }
    return _Module(_sha256(source), ours, theirs, data)


def _names(node: ast.AST) -> Iterator[str]:
    """Dotted names that are imported, or are strings that may name a module to be run."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports in aarlab are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from [node.value] if node.value in _modules() or node.value in LIBRARIES else []
    elif not _for_type_checkers(node):
        for child in ast.iter_child_nodes(node):
            yield from _names(child)
    elif isinstance(node, ast.If):
        for child in node.orelse:
            yield from _names(child)


def _files_beside(tree: ast.AST, path: Path) -> Iterator[Path]:
    """Files beside a module, or in a folder there, that a string in it names: data that it reads, a
    script that it runs."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _FILE.fullmatch(node.value)
        ):
            yield from [file] if (file := path.parent / node.value).is_file() else []


def _for_type_checkers(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _is_ours(name: str) -> bool:
    return name == NAME or name.startswith(f"{NAME}.")


def _longest(name: str) -> str:
    """The module that a dotted name means, which may go on with what is in it."""
    while name not in _modules() and "." in name:
        name = name.rpartition(".")[0]
    return name


def _with_parents(name: str) -> list[str]:
    """A module and the packages that are imported before it."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _below(name: str) -> list[str]:
    """A module that somebody's text names, and all that is below it."""
    module = _longest(name)
    return [n for n in _modules() if n == module or n.startswith(f"{module}.")]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _version(dist: str) -> str:
    try:
        return version(dist)
    except PackageNotFoundError:
        return "none"


# --- kept by code ---------------------------------------------------------------------------------


def stamped(key: str, code: CodeRecord) -> str:
    """The name of a result: what was asked, and the code that answered."""
    return f"{key}-{code.digest[:DIGITS]}"


def remember(store: Path, code: CodeRecord) -> None:
    """Keep in a store which code a digest was, so that a later one can say what changed."""
    path = store / "code" / f"{code.digest[:DIGITS]}.json"
    if not path.exists():
        write_whole(path, code.model_dump_json())


def kept_code(store: Path, digest: str) -> CodeRecord | None:
    """The code of a digest, or of its beginning, that was kept in a store; None where it was
    not."""
    return recorded(store / "code" / f"{digest[:DIGITS]}.json")


def recorded(path: Path) -> CodeRecord | None:
    """The code that a file holds; None where there is no such file."""
    return CodeRecord.model_validate_json(path.read_text()) if path.exists() else None


def again(
    store: Path, key: str, code: CodeRecord, *, suffix: str = "", folder: Path | None = None
) -> str | None:
    """Why what was asked is made again, as text; None where it was never made. It lies in
    `folder`, by default the store's."""
    found = [
        p
        for p in (folder or store).glob(f"{key}*{suffix}")
        if p.name.startswith((f"{key}-", f"{key}{suffix}"))
    ]
    if not found:
        return None
    digest = (
        max(found, key=lambda p: p.stat().st_mtime)
        .name.removesuffix(suffix)
        .removeprefix(key)
        .removeprefix("-")
    )
    return code.since(kept_code(store, digest))


# --- the whole package ----------------------------------------------------------------------------


@cache
def whole_code() -> CodeRecord:
    """Every module and every other file of the package, as it was when this was first called, and
    every library."""
    other = [
        p
        for p in ROOT.rglob("*")
        if p.is_file()
        and (p.suffix != ".py" or SHIPPED in p.parents)
        and "__pycache__" not in p.parts
    ]
    files = _modules() | {p.relative_to(ROOT).as_posix(): p for p in other}
    versions = {dist: _version(dist) for some in LIBRARIES.values() for dist in some} | {
        "python": _python()
    }
    modules = {name: _sha256(path.read_bytes())[:16] for name, path in sorted(files.items())}
    return CodeRecord(modules=modules, libraries=dict(sorted(versions.items())))


@cache
def this_build() -> Build:
    """The aarlab that runs."""
    return Build(version=_version(NAME), commit=_commit(), source=whole_code().digest)


def _commit() -> str | None:
    """Of the checkout that tracks this very file, else as the installer recorded it."""
    if _git("ls-files", "--error-unmatch", "core/own_code.py") is not None:
        found = _git("describe", "--always", "--tags", "--abbrev=12")
        return (
            None
            if found is None
            else found + ("-dirty" if _git("status", "--porcelain", "--", ".") else "")
        )
    try:
        record = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None
    return record.get("vcs_info", {}).get("commit_id")


def _git(*words: str) -> str | None:
    """What git says of the package's folder; None where it cannot."""
    try:
        said = subprocess.run(
            ["git", "-C", str(ROOT), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None
