"""One registry class for every extension point. A name that ends in .py is an operator's own file,
which registers one thing."""

import hashlib
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.settings import expanded

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind. An unknown name answers with the known ones."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}
        self._files: dict[tuple[Path, str], str] = {}  # (file, SHA-256 of its content) -> name

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that registers its argument under `name`.

        Raises:
            Misconfigured: the name is taken.
        """

        def register(thing: T) -> T:
            if name in self._things:
                raise Misconfigured(
                    f"There is already a {self.kind} named '{name}'. Choose another name."
                )
            self._things[name] = thing
            return thing

        return register

    def __getitem__(self, name: str) -> T:
        if name.endswith(".py"):
            return self._things[self.registered_by(Path(name))]
        if name not in self._things:
            known = ", ".join(sorted(self._things)) or "none"
            raise Misconfigured(
                f"There is no {self.kind} named '{name}'. Known: {known}.", name=name
            )
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def registered_by(self, path: Path) -> str:
        """The name that an operator's Python file registers. The file is run once for each content
        that it has.

        Raises:
            Misconfigured: there is no such file, it cannot be run, or it does not register exactly
                one thing of this kind.
        """
        path = expanded(path, f"the file of your own {self.kind}").resolve()
        try:
            key = path, hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise Misconfigured(
                f"The file {path} of your own {self.kind} cannot be read ({error.strerror}). "
                "Correct the path."
            ) from error
        if key not in self._files:
            for known in [known for known in self._files if known[0] == path]:
                del self._things[self._files.pop(known)]
            before = set(self._things)
            _run(path, key[1])
            new = sorted(set(self._things) - before)
            if len(new) != 1:
                words = f"{path} registers {', '.join(new) or f'no {self.kind}'}"
                raise Misconfigured(f"{words}. It must register exactly one {self.kind}.")
            self._files[key] = new[0]
        return self._files[key]


def _run(path: Path, digest: str) -> None:
    """Run the file and keep it as a module, whose name follows from its content: what its classes
    hold can be stored and read again by another process that has run the same file."""
    module = ModuleType(f"own_{digest[:16]}")
    try:
        vars(module).update(runpy.run_path(str(path), run_name=module.__name__))
    except AarError:
        raise
    except SyntaxError as error:
        raise Misconfigured(f"{path}, line {error.lineno}: {error.msg}. Fix the file.") from error
    except (Exception, SystemExit) as error:
        place, words = place_of(error, path), in_short(error)
        raise Misconfigured(f"{place} fails when it is loaded ({words}). Fix the file.") from error
    sys.modules[module.__name__] = module


def place_of(error: BaseException, path: Path | str) -> str:
    """The file, and where the traceback has one, its line that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def in_short(error: BaseException) -> str:
    """An error of an operator's own code: its class and its message."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
