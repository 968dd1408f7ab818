"""The workers of one run compare the tests that they collected by name: a name that holds the hour,
an address or an order of a set ends the run before its first test."""

import os
import subprocess
import sys
import time

import pytest


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
