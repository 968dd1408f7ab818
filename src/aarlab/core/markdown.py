"""Text from outside in Markdown: names, titles and the output of a failing method stay text.

Every writer of Markdown sends its cells and sentences through `escaped`: no image, link, HTML,
heading, list or table cell can come of them. Characters that a parser reads are escaped; addresses
get an invisible space, since viewers make links even of bare ones.
"""

import re
from collections.abc import Iterable, Sequence

from aarlab.core.printable import printable

_NUMBER = r"[-+]?\$?[\d.,]+(?:e[-+]?\d+)?%?"
# an interval of aarlab, `[0.55, 0.69]`, is no link as long as nothing makes it one
_INTERVAL = re.compile(rf"\[{_NUMBER}, {_NUMBER}\](?![(\[:])")
_READ = re.compile(r"[\\`*_\[\]{}|~#!]|(?<=\])\(|\$(?!\d)")
# at the start of a line: of a list, a rule, a heading's underline
_STRUCTURE = re.compile(r"^(\d{0,9})(?=[-+=:](?![\d.])|[.)](?:\s|$))")
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=mailto)(?=:)|(?<=xmpp)(?=:)|(?=@)", re.I)
_INVISIBLE = "&#8203;"  # a space without width


class Markdown(str):
    """Text that is Markdown already."""


def escaped(text: str) -> Markdown:
    """The text as one line of Markdown that shows just its words; `Markdown` is left as it is."""
    if isinstance(text, Markdown):
        return text
    line = " ".join(printable(text).split())
    parts, at = [], 0
    for interval in _INTERVAL.finditer(line):
        parts += [_escaped(line[at : interval.start()]), interval[0]]
        at = interval.end()
    return Markdown(_STRUCTURE.sub(r"\1\\", "".join([*parts, _escaped(line[at:])])))


def _escaped(text: str) -> str:
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ADDRESS.sub(_INVISIBLE, _READ.sub(r"\\\g<0>", plain))


def code(text: str) -> Markdown:
    """The text as inline code in one line, in which nothing is read; a backtick becomes an
    apostrophe, a bar is escaped as tables want it."""
    line = " ".join(printable(text).split()).replace("`", "'").replace("|", "\\|")
    return Markdown(f"`{line}`" if line else "")


def table_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(map(escaped, cells))} |"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [table_row(head), f"|{'---|' * len(head)}", *map(table_row, rows)]
