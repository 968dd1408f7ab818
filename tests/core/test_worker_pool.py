"""Jobs in processes end with their context."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from aarlab.core.worker_pool import worker_pool

pytestmark = pytest.mark.process


def test_an_error_ends_running_jobs_at_once_and_leaves_no_process():
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        pool.submit(time.sleep, 10_000)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


def test_ctrl_c_in_a_worker_prints_no_traceback(capfd):
    with worker_pool(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_DFL
    assert "Traceback" not in capfd.readouterr().err


def _busy(ours: int) -> None:
    """Start a pool whose worker's number is written to the file descriptor, and be killed."""
    with worker_pool(1) as pool:
        os.write(ours, str(pool.submit(os.getpid).result()).encode())
        os.kill(os.getpid(), signal.SIGKILL)


def test_no_process_outlives_a_starter_that_is_killed():
    theirs, ours = os.pipe()
    starter = multiprocessing.get_context("fork").Process(target=_busy, args=(ours,))
    starter.start()
    os.close(ours)
    worker = int(os.read(theirs, 20))
    starter.join()
    os.close(theirs)
    process, until = Path("/proc", str(worker)), time.monotonic() + 20
    while process.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not process.exists()
