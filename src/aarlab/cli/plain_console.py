"""The terminal to which commands print. What they print may quote researchers, other people's
files and ledgers: it is never markup, and no escape sequence of it reaches the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from aarlab.core.printable import printable


class PlainConsole(Console):
    """Takes texts as they are: `[bold]` is six characters, `:smile:` seven. What is to have a style
    is a `Text`."""

    def __init__(self, **given: Any) -> None:
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        super().__init__(**plain | given)

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich's, of harmless texts."""
        super().print(*map(_harmless, objects), **how)


def _harmless(given: Any) -> Any:
    if isinstance(given, str):
        return printable(given)
    if isinstance(given, Text) and (plain := printable(given.plain)) != given.plain:
        return Text(plain, given.style, justify=given.justify, overflow=given.overflow)
    return given
