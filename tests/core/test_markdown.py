"""Text from outside does nothing in Markdown, by a parser and by eye."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aarlab.core.markdown import Markdown, code, escaped, table, table_row

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
ACTS = {"image", "link_open", "html_inline", "html_block", "code_block", "fence", "heading_open"}
HOSTILE = [
    "![x](http://evil.example/pixel.png)",
    "[click](javascript:alert(1))",
    "[click][1]\n\n[1]: http://evil.example",
    "[0.1, 0.2](http://evil.example)",
    "[0.1, 0.2]: http://evil.example",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "<http://evil.example>",
    "&lt;script&gt; &#33;&#91;x&#93;(http://evil.example)",
    "a | b | c\n---|---|---",
    "\\![x](y) \\\\[x](y) \\| \\",
    "`` ` `` <b> ``",
    "# a heading",
    "    code",
    "```\nfence",
    "1. a list",
    "- a list\n===",
    "~~gone~~ **bold** _it_ $x$",
    "[^1]: a note",
]


def tokens(text):
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def acts(text):
    return {t.type for t in tokens(text)} & (ACTS | {"bullet_list_open", "ordered_list_open"})


def shown(text):
    return "".join(t.content for t in tokens(text) if t.type in {"text", "text_special"})


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["{}", "- {}", "**{}**", "before {} after"])
def test_nothing_comes_of_it_wherever_it_stands(text, place):
    made = place.format(escaped(text))
    assert acts(made) <= ({"bullet_list_open"} if place == "- {}" else set())
    assert not re.search(r"(?<!\\)!\[|\]\(|<", made)
    assert "\n" not in made


@given(st.text(st.sampled_from("![]()<>&|\\`*_~#$:/ \n-+=1.wabc@^'\""), max_size=60))
def test_the_words_are_shown_as_they_are(text):
    seen = shown(escaped(text)).replace("\u200b", "").strip()
    assert seen == " ".join(text.split())
    assert not acts(escaped(text))


def test_addresses_are_no_links_where_viewers_make_some():
    for text in ("see https://evil.example/x", "www.evil.example", "mail me@evil.example"):
        assert not re.search(r"://|www\.|[a-z]@", escaped(text))


def test_our_own_figures_stay_readable():
    for text in ("0.62 [0.55, 0.69]", "-0.01 [-0.020, 1.5e-3], says nothing", "$1.20 [1.10, 1.40]"):
        assert escaped(text) == text
    assert escaped(Markdown("**NO**")) == "**NO**"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_one_cell_and_code_is_code(text):
    lines = [*table(("one", "two", "three"), [(text, "b", code(text))]), table_row(("c", text, ""))]
    found = list(tokens("\n".join(lines)))
    assert [t.type for t in found].count("td_open") == 6
    assert sum(t.type == "tr_open" for t in found) == 3
    assert not acts("\n".join(lines))
