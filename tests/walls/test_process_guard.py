"""A test without the marker `process` that starts one fails, whichever way it starts it."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from tests.process_marker import GUARD

NOTHING = [sys.executable, "-c", ""]


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(NOTHING, check=False),
        lambda: os.posix_spawn(sys.executable, NOTHING, {}),
        lambda: os.system("true"),
        lambda: os.fork() or os._exit(0),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    ],
    ids=["subprocess", "posix_spawn", "system", "fork", "multiprocessing"],
)
def test_unmarked_test_cannot_start_a_process(start):
    with GUARD.watch("the test"):
        with pytest.raises(
            pytest.fail.Exception, match=r"the test starts a process .* mark the test with"
        ):
            start()
        assert GUARD.started, "a test that catches the failure fails at its end"


@pytest.mark.process
def test_marked_test_can_start_a_process():
    assert subprocess.run(NOTHING, check=False).returncode == 0


def test_fixture_that_starts_a_process_marks_its_tests(request, starts_processes):
    assert request.node.get_closest_marker("process")
