"""Words and shingles of source code, by a lexer of our own: what an untrusted author sends never
meets a parser, however deep it nests or however broken it is. Comments and the insides of texts are
no evidence of what code does, and are left out."""

import keyword
import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise

MAX_CHARS = 32_000  # of a snapshot that are looked at: a method file has some 2,000
SHINGLE = 4  # tokens
_TRIPLE = "|".join(rf"{q}(?:[^\\]|\\.)*?(?:{q}|\\?\Z)" for q in ('"""', "'''"))
# what is not closed ends with its line
_SINGLE = "|".join(rf"{q}(?:[^{q}\\\n]|\\.)*+(?:{q}|(?=\n)|\\?\Z)" for q in ('"', "'"))
_TOKEN = re.compile(
    rf"(?P<comment>\#[^\n]*)|(?P<text>\b[rbfu]{{1,2}}(?:{_TRIPLE}|{_SINGLE})|{_TRIPLE}|{_SINGLE})"
    r"|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)|(?P<other>[^\s\w])",
    re.DOTALL | re.IGNORECASE,
)
_KEPT = frozenset(keyword.kwlist)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def joined(files: Mapping[str, str]) -> str:
    """The Python files of a snapshot one after another, at most MAX_CHARS of them."""
    return "\n".join(text for name, text in sorted(files.items()) if name.endswith(".py"))[
        :MAX_CHARS
    ]


def _tokens(source: str) -> list[tuple[str, str]]:
    found = [(m.lastgroup or "", m[0]) for m in _TOKEN.finditer(source[:MAX_CHARS])]
    return [(kind, text) for kind, text in found if kind != "comment"]


def normalised(source: str) -> list[str]:
    """Tokens with what an author chooses freely taken out: a number is 0, a text is "", a local
    name is _. What is called, what is asked of a module, and names of arguments stay."""
    tokens, depth, out = [*_tokens(source), ("other", "")], 0, [""]
    for (kind, text), (_, after) in pairwise(tokens):
        if kind == "other":
            depth += (text in "([{") - (text in ")]}")
            out.append(text)
        elif kind == "name":
            argument = depth > 0 and after == "="
            out.append(text if text in _KEPT or after == "(" or out[-1] == "." or argument else "_")
        else:
            out.append("0" if kind == "number" else '""')
    return out[1:]


def shingles(source: str) -> frozenset[int]:
    """Hashes (32 bits) of all runs of SHINGLE normalised tokens."""
    tokens = normalised(source)
    return frozenset(
        zlib.crc32(" ".join(tokens[i : i + SHINGLE]).encode())
        for i in range(max(1, len(tokens) - SHINGLE + 1))
    )


def words(source: str) -> str:
    """The names that code uses, in order, as lower-case words: `parts.self_trained_labels(x)` is
    "parts self trained labels x". A name that stands for None, and an argument that it is given
    for, say nothing."""
    return " ".join(_words(source))


def _words(source: str) -> Iterator[str]:
    tokens = _tokens(source)
    texts = [text for _, text in tokens]
    nothing = {"None"} | {
        a for a, b, c in zip(texts, texts[1:], texts[2:], strict=False) if (b, c) == ("=", "None")
    }
    after = [*pairwise(texts[1:]), ("", ""), ("", "")]
    for (kind, text), (sign, value) in zip(tokens, after, strict=False):
        if (
            kind == "name"
            and text not in _KEPT | nothing
            and not (sign == "=" and value in nothing)
        ):
            yield from (
                part.casefold() for piece in text.split("_") for part in _CAMEL.split(piece) if part
            )
