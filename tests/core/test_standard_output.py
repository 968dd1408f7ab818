"""A stream that fails ends nothing: the work goes on, and what could not be shown is said."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

WORKS = """
import os, sys
from aarlab.core.standard_output import only_showing, open_streams

open_streams()

@only_showing()
def work():
    for number in range(3):
        print("a dot \\u00b7 and half \\ud83d", "x" * 100_000, flush=True)
    with open(sys.argv[1], "w") as file:
        file.write("done")

work()
"""


def worked(tmp_path, shell: str, **env: str) -> tuple[int, str, str]:
    """Exit status, stderr, and what the work wrote."""
    made = tmp_path / "made"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" "$2" {shell}', sys.executable, WORKS, str(made)],
        env=os.environ | env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr, made.read_text()


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("", ""),
        ("> /dev/full", "Standard output failed (No space left on device)"),
        (">&- <&-", ""),
        ("> /dev/full 2> /dev/full", ""),
    ],
)
def test_work_goes_on_whatever_becomes_of_its_output(tmp_path, shell, words):
    status, said, made = worked(tmp_path, shell, PYTHONIOENCODING="ascii")
    assert (status, made) == (0, "done")
    assert said.startswith(words)
    assert "Traceback" not in said


def test_a_pipe_that_nobody_reads_ends_nothing(tmp_path):
    made = tmp_path / "made"
    with subprocess.Popen(
        [sys.executable, "-c", WORKS, str(made)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdout.close()
        assert b"Traceback" not in child.stderr.read()
    assert (child.returncode, made.read_text()) == (0, "done")
