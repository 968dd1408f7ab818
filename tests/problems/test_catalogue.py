"""The data files of small-code and small-math: what they hold, and what is refused in them."""

import hashlib
import json
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.problems import math_situations
from aarlab.problems.code_catalogue.catalogue import FILES, catalogue, read_catalogue
from aarlab.problems.math_situations import read_situations

CATALOGUE = "d69dd9013572ab24c3e2a8a8b3d2d7823cfaf078633a585dc2ff96b6cb04f743"
FOLDER = Path(math_situations.__file__).parent


def test_catalogue_is_that_of_version_0_1_0():
    """With the data seed they decide every item; the digest is of the catalogue when it was Python
    code."""
    found = [
        [d.kind.name, d.kind.part, d.family, d.text, d.functions, d.kind.arguments, d.kind.inputs()]
        for d in catalogue()
    ]
    assert hashlib.sha256(json.dumps(found).encode()).hexdigest() == CATALOGUE


def changed(path: Path, old: str, new: str, folder: Path) -> Path:
    """A copy of a data file in which one text stands for another."""
    text = path.read_text()
    assert text.count(old) >= 1
    copy = folder / path.name
    copy.write_text(text.replace(old, new, 1))
    return copy


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "  list:\n",
            "  lists:\n",
            r"families\.lists: unknown kind of input\. There are list, non-empty list",
        ),
        (
            "      over: conditions\n",
            "      over: condition\n",
            r"families\.list\.0 .*: there are no parameters 'condition'",
        ),
        (
            "      rows: [1, 14]\n",
            "      rows: [1, 15]\n",
            r"families\.list\.2 .*: rows: \[1, 15\] is no range of the 14 rows",
        ),
        (
            "that are $words\n",
            "that are $word\n",
            r"families\.list\.0 .*: over: the row .* must give code, word, and no more",
        ),
        (
            "return sum(kept)",
            "return sum(kept",
            r"families\.list\.0 .*: bodies: this is not Python",
        ),
        (
            "return sum(kept)",
            "return sum($ kept)",
            r"families\.list\.0 .*: bodies: a \$ without a name",
        ),
        (
            "    - text: the number of",
            "    - txt: the number of",
            r"families\.list\.1\.txt: unknown field",
        ),
        (
            "{words: odd, code",
            "{words: even, code",
            r"the description 'the sum of the elements that are even' stands twice",
        ),
        ("  non-empty list:\n", "  list:\n", r"the key 'list' stands twice"),
    ],
)
def test_a_fault_in_the_catalogue_is_refused_by_file_and_field(tmp_path, old, new, words):
    path = changed(FOLDER / "code_catalogue" / FILES["id"], old, new, tmp_path)
    with pytest.raises(Misconfigured, match=rf"{path.name}.*{words}"):
        read_catalogue(path, "id")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[[2, 10],", "[[10, 2],", r"ranges\.few: a range of \(\(10, 2\), .* is empty"),
        ("  ood:\n", "  odd:\n", r"situations\.odd"),
        (
            "few amount total",
            "few amounts total",
            r"situations\.id\.change: numbers: unknown amounts",
        ),
        (
            "[a * b, c - x]",
            "[a * b, c - y]",
            r"situations\.id\.change: steps\.1: 'c - y' is no equation",
        ),
        (
            "[a * b, c - x]",
            "[a * b, c -+ x]",
            r"situations\.id\.change: steps\.1: 'c -\+ x' is no equation",
        ),
        (
            "buys {a} {goods}",
            "buys {a} {good}",
            r"situations\.id\.change: phrasings\.0: nothing stands for good ",
        ),
        (
            "and pays with {c} dollars",
            "and pays",
            r"situations\.id\.change: phrasings\.0: .* does not give c\.",
        ),
        ("    shopping:\n", "    change:\n", r"the key 'change' stands twice"),
        ("steps: [a * b, c - x]", "step: [a * b, c - x]", r"steps: Field required"),
    ],
)
def test_a_fault_in_the_situations_is_refused_by_file_and_field(tmp_path, old, new, words):
    path = changed(FOLDER / "math_situations.yaml", old, new, tmp_path)
    with pytest.raises(Misconfigured, match=rf"{path.name}.*{words}"):
        read_situations(path)
