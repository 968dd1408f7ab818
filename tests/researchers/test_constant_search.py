"""The built-in search on problems in folders: it changes numbers, and nothing else."""

import ast
import random

import pytest

from aarlab.researchers.constant_search import Found, changed, choose, numbers_in

CODE = '''"""A docstring with 12 in it."""
RATE = 0.25


def submit(public, inputs, out, seed):
    rows = range(1, 400)  # é 7
    return {"a": RATE * rows[0] + 16 - 0}
'''


def test_numbers_that_say_how_much_are_found():
    assert [node.value for node in numbers_in(CODE)] == [0.25, 400, 16]


def test_a_change_leaves_all_but_numbers_as_it_was():
    rng = random.Random(1)
    for _ in range(50):
        new = changed(CODE, rng)
        assert new != CODE
        assert "# é 7" in new
        assert "12 in it" in new
        values = [node.value for node in numbers_in(new)]
        assert [type(v) for v in values] == [float, int, int]
        assert all(v > 0 for v in values)
        ast.parse(new)


PROGRAM = '''"""Writes a program."""
import textwrap

RATE = 0.5
PROGRAM = """
# é
SIZE = 24  # at most
def answer(request):
    return {4: "7"}[4] + SIZE
"""
TEXT = """
of 12 items, 30 are
"""
'''


def test_numbers_of_a_program_in_a_text_are_changed_and_other_texts_are_not():
    assert [number.value for number in numbers_in(PROGRAM)] == [0.5, 24, 4, 4]
    rng = random.Random(3)
    for _ in range(50):
        new = changed(PROGRAM, rng)
        assert [type(n.value) for n in numbers_in(new)] == [float, int, int, int]
        assert "of 12 items, 30 are" in new
        assert "SIZE = " in new.split("é", 1)[1]
        ast.parse(new)


@pytest.mark.parametrize(
    "text",
    [
        'x = f"{2.5:.3f} {7}"\n',  # places within an f-string may be wrong
        'x = "a = 24\\nb = 3"\n',  # written with escapes, so that its bytes stand elsewhere
        "x = 0x10 + 1_000 + 2j\n",
    ],
)
def test_a_number_stands_where_the_text_says_it(text):
    for number in numbers_in(text):
        assert ast.literal_eval(text.encode()[number.start : number.end].decode()) == number.value
    assert changed("y = 5\n" + text, random.Random(0)).startswith("y = ")


def test_code_without_numbers_is_left_alone():
    assert changed("def submit(a):\n    return a[0] + 1\n", random.Random(0)) is None


def test_baselines_come_first_and_nothing_comes_twice():
    found, rng, got = Found({"a": CODE, "b": CODE.replace("400", "500")}), random.Random(2), []
    for _ in range(20):
        code = choose(found, rng)
        assert code not in found.seen
        found.seen.add(code)
        got.append(code)
    assert set(got[:2]) == set(found.baselines.values())


def test_researchers_that_begin_together_begin_with_different_baselines():
    found = Found({str(n): CODE.replace("400", str(500 + n)) for n in range(4)})
    assert len({choose(found, random.Random(f"{n}/0")) for n in range(20)}) == 4


def test_improvements_are_what_it_builds_on():
    found = Found({"a": CODE})
    found.seen.add(CODE)
    better = CODE.replace("0.25", "0.5").replace("400", "77").replace("16", "9")
    found.learn(better, {"improved": True, "level_pgr": 0.4})
    found.learn(CODE, {"improved": False, "level_pgr": 0.4})
    children = [choose(found, random.Random(n)) for n in range(60)]
    near = sum(sum(a in child for a in ("0.5", "77", "9")) >= 1 for child in children)
    assert near > 30
    assert found.improved == [(0.4, better)]


def test_where_nothing_can_be_changed_the_search_ends():
    plain = "def submit(a):\n    return a\n"
    found = Found({"a": plain})
    assert choose(found, random.Random(0)) == plain
    found.seen.add(plain)
    assert choose(found, random.Random(0)) is None


@pytest.mark.parametrize("other", ["'\x0c\x1c\u2028'", "'é'", "9" * 400, "1e999"])
def test_what_else_is_in_anothers_code_neither_ends_the_search_nor_is_changed(other):
    """Code of other researchers is changed, too, and may hold whatever Python takes."""
    code = f"x = {other}\r\ny = 2.5\rz = 1\n"
    found = changed(code, random.Random(1))
    assert found.startswith(f"x = {other}\r\ny = ")
    assert found != code
