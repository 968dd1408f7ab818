"""Progress where there is no terminal."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from aarlab.cli import show as show_module
from aarlab.cli.main import app
from aarlab.cli.show import Show
from aarlab.core.errors import Misconfigured


@pytest.fixture
def now(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(show_module.time, "monotonic", lambda: clock[0])
    return clock


def lines_of(now, *steps: tuple[int, int], each_s: float) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    show = Show(console)
    with show.steps():
        for done, of in steps:
            show.say("texts", done, of)
            now[0] += each_s
    return [line.strip() for line in console.file.getvalue().splitlines()]


def test_a_long_step_says_how_far_it_is_every_ten_seconds(now):
    lines = lines_of(now, *((done, 6) for done in range(7)), each_s=5)
    assert lines == [
        "texts: 2 of 6, about 20 s left",
        "texts: 4 of 6, about 10 s left",
        "texts: 6 of 6",
        "texts: 35.0 s",
    ]


def test_neither_what_was_done_earlier_nor_the_start_counts_for_the_estimate(now):
    steps = (3_000, 3_100, 4_100)
    lines = lines_of(now, *((done, 7_100) for done in steps), each_s=20)
    assert lines[:2] == ["texts: 3,100 of 7,100", "texts: 4,100 of 7,100, about 60 s left"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["-q", "bench"], []),
        (["bench", "--quiet"], []),
        (["bench", "-v"], ["texts: 1 of 4", "texts: 2 of 4, about 20 s left"]),
        (["-v", "bench", "-q"], ["texts: 1 of 4", "texts: 2 of 4, about 20 s left"]),
    ],
)
def test_more_or_less_of_it_is_shown(now, monkeypatch, words, lines):
    console = Console(file=io.StringIO(), width=100)

    def measured(spec, home, show):
        show.line("a warning")
        with show.steps():
            for done in range(3):
                show.say("texts", done, 4)
                now[0] += 10
        raise Misconfigured("measured")

    monkeypatch.setattr("aarlab.cli.bench_command.console", console)
    monkeypatch.setattr("aarlab.bench.run.run", measured)
    assert str(CliRunner().invoke(app, words).exception) == "measured"
    said = [line.strip() for line in console.file.getvalue().splitlines()]
    assert said == ["a warning", *lines, *(["texts: 30.0 s"] if lines else [])]
