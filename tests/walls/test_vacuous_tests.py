"""No test asserts something of each file of a folder without asserting that there are files: it
would pass on a folder that is empty."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LISTS = {"glob", "rglob", "iterdir"}


def of_files(tree: ast.expr) -> bool:
    """Whether a folder is listed in this very expression."""
    return any(isinstance(n, ast.Attribute) and n.attr in LISTS for n in ast.walk(tree))


def vacuous(text: str) -> Iterator[int]:
    """The lines of loops that assert, and of `assert all(...)`, over files that a folder may have.
    Files that a name stands for can be counted first."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.For(iter=files) if any(isinstance(n, ast.Assert) for n in ast.walk(node)):
                some = [files]
            case ast.Assert(test=ast.Call(func=ast.Name(id="all"), args=[ast.GeneratorExp() as g])):
                some = [generator.iter for generator in g.generators]
            case _:
                continue
        if any(of_files(one) for one in some):
            yield node.lineno


def test_no_test_passes_on_an_empty_folder():
    paths = sorted(TESTS.rglob("*.py"))
    assert len(paths) > 300
    found = {path.name: list(vacuous(path.read_text())) for path in paths}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("for p in folder.rglob('*'):\n    assert p", [1]),
        ("for p in sorted([*a.glob('x'), b]):\n    if p:\n        assert p", [1]),
        ("assert all(p for p in folder.iterdir())", [1]),
        ("files = list(folder.iterdir())\nassert files\nfor p in files:\n    assert p", []),
        ("for p in folder.iterdir():\n    p.unlink()", []),
    ],
)
def test_the_kind_is_found(text, lines):
    assert list(vacuous(text)) == lines
