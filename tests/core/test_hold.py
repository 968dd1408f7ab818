"""One process at a time, with real processes: what a lock survives, and what it does not."""

import os
import signal
import subprocess
import sys

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.hold import Hold

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from aarlab.core.hold import Hold
hold = Hold(Path(sys.argv[1]), str)
argv = [sys.executable, "-c", "import sys; sys.stdin.read()"]
child = subprocess.Popen(argv, close_fds=False, stdin=subprocess.PIPE)
print("held", child.pid, flush=True)
time.sleep(600)
"""


def busy(holder):
    return f"held by {holder}"


def test_second_holder_in_one_process_is_refused_and_told_the_first(tmp_path):
    with (
        Hold(tmp_path / "a" / "lock", busy),
        pytest.raises(Misconfigured, match=rf"held by {os.getpid()} \("),
    ):
        Hold(tmp_path / "a" / "lock", busy)
    Hold(tmp_path / "a" / "lock", busy).release()


@pytest.mark.process
def test_it_is_free_again_after_kill_9_also_while_a_child_lives_on(tmp_path):
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline().split()[1])
        try:
            with pytest.raises(Misconfigured, match=f"held by {holder.pid} "):
                Hold(tmp_path / "lock", busy)
            holder.kill()
            holder.wait()
            Hold(tmp_path / "lock", busy).release()
            os.kill(child, 0)  # it is there still
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


@pytest.mark.process
def test_a_fork_keeps_nobody_out(tmp_path):
    hold, (reading, writing) = Hold(tmp_path / "lock", busy), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent has seen
        os._exit(0)
    os.close(reading)
    try:
        with pytest.raises(Misconfigured, match=f"held by {os.getpid()}"):
            Hold(tmp_path / "lock", busy)  # the fork did not release the parent's
        hold.release()
        Hold(tmp_path / "lock", busy).release()
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_a_released_lock_is_free_also_while_a_starting_child_has_a_copy(tmp_path):
    hold = Hold(tmp_path / "lock", busy)
    copy = os.dup(hold._fd)
    # what a fork has until it drops it, and an exec until it has happened
    try:
        with pytest.raises(Misconfigured, match=f"held by {os.getpid()} "):
            Hold(tmp_path / "lock", busy)
        hold.release()
        Hold(tmp_path / "lock", busy).release()
    finally:
        os.close(copy)


@pytest.mark.process
def test_waiter_gets_the_lock_when_it_is_released(tmp_path):
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline().split()[1])
        waiting = (
            "import sys; from pathlib import Path; from aarlab.core.hold import Hold; "
            "Hold(Path(sys.argv[1]), str, wait_s=60)"
        )
        with subprocess.Popen([sys.executable, "-c", waiting, str(tmp_path / "lock")]) as waiter:
            holder.kill()
            assert waiter.wait(60) == 0
        os.kill(child, signal.SIGKILL)


def test_a_place_that_cannot_be_written_to_is_the_operators_to_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be locked"):
        Hold(tmp_path / "file" / "lock", busy)
