"""The workers of one run compare the tests that they collected by name: a name that holds the hour,
an address or an order of a set ends the run before its first test."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def collected(hash_seed: int) -> list[str]:
    """The names of all tests, as one process of its own collects them."""
    out = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0"],
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [line for line in out.splitlines() if "::" in line]


@pytest.mark.process
@pytest.mark.long
def test_names_of_tests_depend_on_the_tree_alone():
    first = collected(1)
    time.sleep(1.1)  # some files' headers count seconds
    assert len(first) > 1000
    assert first == collected(2)


@pytest.mark.process
@pytest.mark.long
def test_what_make_quick_collects_imports_no_torch():
    """Each of its workers would take three seconds for that."""
    recipe = subprocess.run(
        ["make", "-n", "quick"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    (line,) = (line for line in recipe.splitlines() if "-m pytest" in line)
    words = shlex.split(line)[shlex.split(line).index("pytest") + 1 :]
    script = "import sys, pytest; print(int(pytest.main(sys.argv[1:])), 'torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", script, *words, "-n0", "--collect-only", "-qq"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines()[-1] == "0 False"
