"""A report whose every text is hostile: pages and Markdown show words, and do nothing."""

import re
import types
from enum import Enum
from html.parser import HTMLParser
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from markdown_it import MarkdownIt
from pydantic import BaseModel

from aarlab.bench.bench_record import BenchReport
from aarlab.bench.render import markdown as bench_markdown
from aarlab.core.records import Measure
from aarlab.problems.study.card import DataCard
from aarlab.problems.study.card import markdown as card_markdown
from aarlab.redteam.sandbox_page import markdown as sandbox_markdown
from aarlab.redteam.system import AttackRow
from aarlab.redteam.system import markdown as system_markdown
from aarlab.report.pages import write, write_refusal
from aarlab.report.report_record import Report

HOSTILE = "x | ![i](http://evil.example/p.png) [l](http://evil.example) <img src=x> `c` \n# h\n- l"
ACTS = {"image", "link_open", "html_inline", "html_block", "fence", "code_block"}
PARSER = MarkdownIt("commonmark").enable("table")
PROBLEM = {
    name: HOSTILE
    for name in ("name", "card", "in_distribution", "out_of_distribution", "data_seed")
}
SPEC = {"name": HOSTILE, "student": HOSTILE, "selection": False, "seeds": 5, "data_seeds": [1]}


def made(kind: Any) -> Any:
    """A value of that type whose texts are all hostile."""
    if kind is Measure:
        return Measure(estimate=0.5, lower=0.4, upper=0.6, n=9, resampled=HOSTILE)
    if kind is str or kind is Any:
        return HOSTILE
    if kind in (int, float, bool):
        return kind(1)
    arguments = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return made(arguments[0])
    if get_origin(kind) is Literal:
        return arguments[0]
    if get_origin(kind) is tuple:
        return (made(arguments[0]),)
    if get_origin(kind) is dict:
        return {made(arguments[0]): made(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {name: made(f.annotation) for name, f in kind.model_fields.items()}
        return kind.model_construct(**fields)
    return {}


def changed(record: BaseModel, **values: Any) -> Any:
    return record.model_copy(update=values)


def acts(text: str) -> set[str]:
    found = PARSER.parse(text)
    return {t.type for token in found for t in (token, *(token.children or ()))} & ACTS


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)


@pytest.mark.slow
def test_a_report_shows_hostile_text_as_words(tmp_path):
    report = changed(made(Report), problem=PROBLEM, campaign={"name": HOSTILE})
    for faults in ((HOSTILE,), None, ()):
        html = write(changed(report, faults=faults), tmp_path).read_text()
        text = (tmp_path / "report.md").read_text()
        assert not acts(text)
        words = re.sub(r"`[^`\n]*`", "", text.replace(r"\`", ""))  # nothing is read in code
        assert "](" not in words
        assert "<" not in words
        assert "evil.example" in text
        assert not Tags(html).found & {"img", "a", "script"}
    rows = [line for line in text.splitlines() if "evil" in line and line.startswith("|")]
    assert len(rows) > 11
    heads = {line.count("|") for line in text.splitlines() if line.startswith("|---")}
    assert {line.replace("\\|", "").count("|") for line in rows} <= heads


def test_a_refusal_shows_hostile_text_as_words(tmp_path):
    write_refusal(HOSTILE, [HOSTILE], tmp_path)
    assert not acts((tmp_path / "report.md").read_text())
    assert not Tags((tmp_path / "report.html").read_text()).found & {"img", "a"}


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("bench", lambda: bench_markdown(changed(made(BenchReport), spec=SPEC))),
        ("data card", lambda: card_markdown(made(DataCard))),
        ("system", lambda: system_markdown([made(AttackRow)], "aar redteam")),
        ("sandbox", lambda: sandbox_markdown([made(AttackRow)], {}, "aar redteam")),
    ],
)
def test_other_pages_show_hostile_text_as_words(kind, page):
    text = page()
    assert "evil.example" in text
    images = {"![forest](forest.svg)", "![transfer](transfer.svg)"} if kind == "bench" else set()
    for own in images:
        text = text.replace(own, "")
    assert not acts(text)
