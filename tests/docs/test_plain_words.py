"""README and docs use the glossary's terms, and no word that it replaces, outside code."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    DOCS.parent / "README.md",
    *(p for p in sorted(DOCS.rglob("*.md")) if p.name != "glossary.md"),
]
BANNED = re.compile(
    r"\b(told|ruler|doors?|decks?|till|trunk|shelf|desk|anew|take up|takes up|taken "
    r"up|whoever|life|lives|noes)\b",
    re.IGNORECASE,
)


def found(text: str) -> list[str]:
    """The banned words of the prose of `text`."""
    return BANNED.findall(re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_page_has_no_banned_word(page):
    assert found(page.read_text()) == []


def test_banned_words_are_found_outside_code_only():
    assert found(
        "The ruler is told anew.\n`--life` and\n```\nno improvement told\n```\n[a](door.md)"
    ) == [
        "ruler",
        "told",
        "anew",
    ]
