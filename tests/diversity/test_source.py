"""The lexer: what it keeps, what it leaves out, and that no text takes it long or breaks it."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.diversity.source import MAX_CHARS, joined, normalised, shingles, words

CODE = '''"""Says ensemble."""
from aarlab.methods import parts
LIMIT = "bagging"  # a population
def run(task, seed):
    mine = parts.dense(task.student, share=0.5)
    return parts.train(mine)
'''


def test_words_are_names_and_nothing_that_is_only_said():
    found = words(CODE)
    assert "parts dense task student share" in found
    for said in ("ensemble", "bagging", "population"):
        assert said not in found


def test_camel_and_snake_are_taken_apart():
    assert words("BaggingClassifier(n_jobs=2).fit_all") == "bagging classifier n jobs fit all"


def test_a_name_that_stands_for_none_says_nothing():
    assert (
        words("keep = None\nweights = f()\ntrain(x, keep=keep, weights_N=weights, rank=None)")
        == "weights f train x weights n weights"
    )


def test_names_numbers_and_comments_do_not_matter_and_calls_do():
    other = (
        CODE.replace("mine", "chosen")
        .replace("0.5", "0.9")
        .replace("# a population", "# else")
        .replace("Says", "Told")
    )
    assert shingles(other) == shingles(CODE)
    assert shingles(CODE.replace("dense", "confident")) != shingles(CODE)
    assert shingles(CODE.replace("share=", "part=")) != shingles(CODE)


def test_normalised_by_hand():
    assert normalised("a = f(b, k=2).c  # d") == [
        "_",
        "=",
        "f",
        "(",
        "_",
        ",",
        "k",
        "=",
        "0",
        ")",
        ".",
        "c",
    ]
    assert normalised("x = rb'''a\n\"''' + u\"\\\"\"") == ["_", "=", '""', "+", '""']


@given(st.text(alphabet="abc'\"\\\n#(){}=. 1", max_size=400))
def test_any_text_is_taken(text):
    assert isinstance(words(text), str)
    assert shingles(text)


@pytest.mark.parametrize(
    "text",
    [
        '"""' + '\\"""' * 20_000,
        "(" * 50_000,
        "'" * 49_999,
        "\\" * 50_000,
        "x" * 50_000,
        '"""\\' * 20_000,
    ],
)
def test_hostile_texts_are_read_in_one_pass(text):
    """Nesting that breaks Python's own parser, and quotes that would make a naive pattern start
    over at each of them."""
    assert len(normalised(text)) <= MAX_CHARS
    assert shingles(text)
    assert len(words(text)) <= MAX_CHARS


def test_strings_and_comments_end_where_python_ends_them():
    """Against Python's own tokens: the same names in the same order, for a file with every kind of
    text."""
    code = "a = 'b' + \"c\" + '''d\n''' # e\nf = r'\\\\' + g if h else i\n"
    names = [n.id for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name)]
    assert sorted(words(code).split()) == sorted(names)


def test_a_snapshot_is_its_python_files_and_no_more_than_so_much():
    assert joined({"b.py": "two", "a.py": "one", "notes.md": "ensemble"}) == "one\ntwo"
    assert len(joined({"a.py": "x" * 10 * MAX_CHARS})) == MAX_CHARS
