"""Whatever researchers write stays text on every page: nothing of it is markup, a link or a script,
nothing turns the direction of what is beside it, and what is cut is said to be."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from aarlab.web.shown_text import BLOCK, BLOCK_LINE, LINE, block, code, line
from tests.web.hostile_texts import FIVES, HOSTILE, LONG, written
from tests.web.scenes import DATA, addresses, small

ALLOWED = re.compile(r"/|\?|#")
DECEIVING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]"
)


class Tags(HTMLParser):
    """Elements, attributes and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.links |= {value for name, value in attrs if name in ("href", "src", "action")}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return _shown(tmp_path_factory.mktemp("quiet"), "words")


def _shown(home, *texts: str) -> dict[str, str]:
    """Every page of a campaign in which everybody writes these texts wherever anybody can."""
    browser = small(home)
    written(home, *texts)
    found = {path: browser.get(path) for path in addresses(browser, "small")}
    assert len(found) > 10
    assert {answer.status_code for answer in found.values()} == {200}
    return {path: answer.text for path, answer in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("texts", FIVES, ids=range(len(FIVES)))
def test_hostile_text_is_text_on_every_page(tmp_path, quiet, texts):
    usual = Tags("".join(text for path, text in quiet.items() if not _is_data(path)))
    for path, text in _shown(tmp_path, *texts).items():
        assert not DECEIVING.search(text), path
        if ".json" in path:
            json.loads(text)
            continue
        if ".csv" in path:
            cells = [one for row in csv.reader(io.StringIO(text)) for one in row]
            assert not [one for one in cells if one.lstrip(" ").startswith(tuple("=+@\t\r"))]
            continue
        found = Tags(text)
        assert found.tags <= usual.tags, path
        assert found.names <= usual.names, path
        assert all(ALLOWED.match(link) and not link.startswith("//") for link in found.links)


def _is_data(path: str) -> bool:
    return any(end in path for end in DATA)


@pytest.mark.slow
def test_words_that_look_like_markup_are_readable(tmp_path):
    pages = _shown(tmp_path, HOSTILE[0])
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages["/campaign/small/forum"]


@pytest.mark.long
def test_long_text_is_cut_and_said_to_be(tmp_path):
    pages = _shown(tmp_path, LONG)
    for path, text in pages.items():
        assert len(text) < 300_000, path
    for page in ("forum", "live", "integrity", "researcher/researcher-1/steps"):
        assert re.search(r"cut: [\d,]+ more characters", pages[f"/campaign/small/{page}"]), page


# --- the functions --------------------------------------------------------------------------------


def test_a_line_is_one_line_of_a_length_and_says_what_is_cut():
    assert line("a\nb\tc  d") == "a b c d"
    assert line("x" * LINE) == "x" * LINE
    assert line("x" * (LINE + 7)) == "x" * LINE + " … cut: 7 more characters"
    assert line(LONG).startswith("x" * LINE + " … cut: ")
    assert len(line(LONG)) < LINE + 50


def test_a_block_keeps_lines_and_cuts_long_ones():
    assert block("a\n\nb") == "a\n\nb"
    assert block("y" * (BLOCK_LINE + 3) + "\nz") == (
        "y" * BLOCK_LINE + " … cut: 3 more characters\nz"
    )
    assert block("a\n" * BLOCK).endswith(f" … cut: {BLOCK:,} more characters")


def test_code_names_what_cannot_be_seen_and_keeps_tabs():
    assert code("if x:\n\treturn '\u202e'") == "if x:\n\treturn '<U+202E>'"
    assert code("a\r\nb") == "a<U+000D>\nb"
    assert "\x1b" not in code("\x1b[31m")
