"""Tables in the terminal at any width."""

import io

import pytest
from rich.console import Console

from aarlab.report.terminal import fitted

COLUMNS = [
    ("", ["1", "2"]),
    ("verdict", ["confirmed", "not distinguishable from tuned naive"]),
    ("final", ["0.97 [0.90, 1.05]", "0.12 [0.02, 0.22]"]),
    ("claimed", ["1.04 [1.00, 1.10]", "0.90 [0.85, 0.95]"]),
    ("family", ["distillation", "unsupervised elicitation"]),
    ("p adj", ["1.4e-08", "0.31"]),
]


def drawn(width):
    console = Console(file=io.StringIO(), width=width)
    console.print(fitted("Leaders", COLUMNS, width))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(120, None), (80, "family, p adj"), (60, "claimed, family, p adj"), (40, "final, claimed")],
)
def test_the_verdict_is_whole_at_every_width_and_what_has_no_room_is_named(width, left_out):
    text = drawn(width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.replace("│", " ").split())
    assert "confirmed" in words
    for word in ("distinguishable", "tuned", "naive"):
        assert word in words
    assert ("no room for" in text) == (left_out is not None)
    assert left_out is None or left_out in " ".join(text.split())
