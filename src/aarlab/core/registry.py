"""One registry class for every extension point."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from aarlab.core.errors import Misconfigured

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things of one kind. An unknown name answers with the known ones."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that registers its argument under `name`.

        Raises:
            Misconfigured: the name is taken.
        """

        def register(thing: T) -> T:
            if name in self._things:
                raise Misconfigured(f"There is already a {self.kind} named '{name}'. Choose another name.")
            self._things[name] = thing
            return thing

        return register

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            known = ", ".join(sorted(self._things)) or "none"
            raise Misconfigured(f"There is no {self.kind} named '{name}'. Known: {known}.", name=name)
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __contains__(self, name: object) -> bool:
        return name in self._things
