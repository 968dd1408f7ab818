"""What others wrote, made harmless for a terminal: no escape sequence, no control or direction
character survives."""

import re
import unicodedata

_SEQUENCES = re.compile(
    # title, clipboard and link sequences with what they carry
    r"\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[\x1b][\[][0-?]*[ -/]*[@-~]?|\x9b[0-?]*[ -/]*[@-~]?"  # colours, cursor
    r"|\x1b[ -/]*[0-~]?"
)
# controls, directions and invisible ones, lone surrogates, line separators
_DROPPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text without escape sequences and control characters; line ends stay, a tab is a
    space."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    plain = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return "".join(c for c in plain if c == "\n" or unicodedata.category(c) not in _DROPPED)


def visible(code: str) -> str:
    """Code as it is; a character that could make it read otherwise than it runs is named by its
    number."""
    return "".join(
        f"<U+{ord(c):04X}>" if c not in "\n\t" and unicodedata.category(c) in _DROPPED else c
        for c in code
    )


def one_line(text: str, limit: int) -> str:
    """The text as one printable line of at most `limit` characters; what is cut off is an
    ellipsis."""
    line = " ".join(printable(text[: 8 * limit + 64]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
