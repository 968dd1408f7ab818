"""Text that others wrote, made ready for a page: characters that deceive a reader are taken out or
named, and what is cut off is said to be. Templates escape it; nothing here is markup."""

from aarlab.core.printable import visible
from aarlab.core.untrusted import clean

LINE = 300  # characters of a name, a title, a last action
BLOCK = 20_000  # of a finding, of the output of a tool
BLOCK_LINE = 2_000  # of one line of it
CODE = 200_000  # of one file


def line(text: object, limit: int = LINE) -> str:
    """One line, with what is cut off said at its end."""
    plain = " ".join(clean(str(text)[: 8 * limit + 64]).split())
    left_out = max(len(plain) - limit, len(str(text)) - (8 * limit + 64), 0)
    return f"{plain[:limit].rstrip()}{_cut(left_out)}" if left_out else plain


def block(text: object, limit: int = BLOCK) -> str:
    """Lines of text; a long line, and a long text, end with what is cut off."""
    whole = str(text)
    lines = [_short(row) for row in clean(whole[:limit]).split("\n")]
    return "\n".join(lines) + _cut(len(whole) - limit)


def code(text: str, limit: int = CODE) -> str:
    """A file of code as it is; a character that could make it read otherwise than it runs is named
    by its number."""
    shown = visible(text[:limit])
    return "\n".join(_short(row) for row in shown.split("\n")) + _cut(len(text) - limit)


def _short(row: str) -> str:
    return row[:BLOCK_LINE] + _cut(len(row) - BLOCK_LINE)


def _cut(left_out: int) -> str:
    return f" … cut: {left_out:,} more characters" if left_out > 0 else ""
