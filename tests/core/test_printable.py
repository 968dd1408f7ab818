"""What others wrote does nothing to a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.amounts import amount, duration, size
from aarlab.core.printable import one_line, printable

DROPPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ATTACKS = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;a title\x07after": "after",
    "\x1b]52;c;cm0gLXJm\x1b\\after": "after",  # sets the clipboard
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link",
    "\x9b2Jgone": "gone",
    "\x1bPq#0\x1b\\sixel": "sixel",
    "\x1b[2J\x1b[1;1H": "",
    "a\rb": "a\nb",
    "a\x08\x08b": "ab",
    "user\u202egnp.exe": "usergnp.exe",
    "zero\u200bwidth": "zerowidth",
    "half \ud800 pair": "half  pair",
    "tab\tnull\x00": "tab null",
    "line\u2028sep": "linesep",
}


@pytest.mark.parametrize("text", ATTACKS)
def test_known_attacks_are_disarmed(text):
    assert printable(text) == ATTACKS[text]


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode(errors="replace")))
def test_nothing_that_controls_survives_and_nothing_else_is_lost(text):
    shown = printable(text)
    assert all(c == "\n" or unicodedata.category(c) not in DROPPED for c in shown)
    assert printable(shown) == shown
    shown.encode()
    if "\x1b" not in text and "\x9b" not in text:
        assert [c for c in shown if c not in "\n "] == [
            c for c in text if unicodedata.category(c) not in DROPPED and c != " "
        ]


@given(st.text(max_size=300), st.integers(2, 80))
def test_one_line_is_one_line_of_that_length(text, limit):
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_what_is_cut_off_is_said():
    assert one_line("a\nb   c", 10) == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


def test_amounts_in_few_characters():
    assert [duration(s) for s in (-3, 0, 99.4, 119, 5999, 6001, 200_000)] == [
        "0 s",
        "0 s",
        "99 s",
        "2 m",
        "100 m",
        "1.7 h",
        "2.3 d",
    ]
    assert [amount(n) for n in (0, 9_999, 12_345, 4.5e6, 1.2e9)] == [
        "0",
        "9999",
        "12.3k",
        "4.5M",
        "1.2G",
    ]
    assert [size(n) for n in (0, 5, 12e6, 1.5e9)] == ["0", "<1 MB", "12 MB", "1.5 GB"]
