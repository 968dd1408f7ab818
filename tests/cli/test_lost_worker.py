"""A worker process that the machine ends is reported in one sentence, and blamed on nobody who
submits."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

LOSES = """
import os
from concurrent.futures import ProcessPoolExecutor

from aarlab.cli import main


@main.app.command()
def lose():
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os._exit, 9).result()


main.main()
"""


def test_a_lost_worker_is_a_sentence_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-c", LOSES, "lose"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("try again: A worker process was killed or ran out of memory")
    assert "Traceback" not in done.stderr
