"""The examination passes for what ships, and finds each way in which a sandbox can break its
contract."""

import os
import subprocess

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.sandbox import Bubblewrap, Directory, bubblewrap, check_sandbox
from aarlab.sandbox.sandbox import Usage

pytestmark = pytest.mark.process


@pytest.mark.parametrize("make", [Bubblewrap, Directory])
def test_what_ships_passes(make):
    check_sandbox(make)


class Boaster(Directory):
    """Says that it isolates, and does not."""

    isolates = Bubblewrap.isolates


@pytest.mark.long
def test_a_sandbox_that_only_says_that_it_isolates_is_found_out(monkeypatch):
    monkeypatch.setenv("AAR_NOISE", "1")
    with pytest.raises(Misconfigured) as caught:
        check_sandbox(Boaster)
    broken = "; ".join(caught.value.facts["broken"])
    assert "files of the host that are not mounted can be read" in broken
    assert "a port of the host is reached at 127.0.0.1" in broken
    assert "a process of the host can be signalled" in broken
    if os.geteuid() == 0:
        assert "capabilities" in broken
        assert "kernel's uid 0" in broken


class Deaf(Bubblewrap):
    """Gives a command no stdin to close, counts nothing."""

    def __init__(self, spec):
        super().__init__(spec)
        self.kept = []

    def start(self, argv, log):
        process = super().start(argv, log)
        self.kept.append(process.stdin)
        process.stdin = None
        return process

    def usage(self):
        return Usage(0.0, 0, 0, 0)

    def close(self):
        super().close()
        for stdin in self.kept:
            stdin.close()


@pytest.mark.long
def test_check_finds_a_sandbox_that_neither_stops_nor_counts():
    with pytest.raises(
        Misconfigured, match=r"not counted.*stdin of a started command.*disk is not counted"
    ):
        check_sandbox(Deaf)


@pytest.mark.long
def test_a_wall_taken_down_is_found_out(monkeypatch):
    honest = bubblewrap._options

    def shared(spec):
        words = honest(spec)
        return [*words[:1], "--share-net", *words[1:]]

    monkeypatch.setattr(bubblewrap, "_options", shared)
    with pytest.raises(
        Misconfigured, match=r"contract: a port of the host is reached at 127.0.0.1"
    ):
        check_sandbox(Bubblewrap)


class Lingering(Directory):
    """Lets commands outlive it."""

    left: tuple[subprocess.Popen, ...] = ()

    def close(self):
        Lingering.left += tuple(self._processes._all)


@pytest.mark.long
def test_one_that_lets_commands_outlive_it_is_found_out(monkeypatch):
    monkeypatch.setattr("aarlab.sandbox.examination.WAIT_S", 2.0)
    try:
        with pytest.raises(Misconfigured, match="still running after close"):
            check_sandbox(Lingering)
    finally:
        for process in Lingering.left:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
            if process.stdin:
                process.stdin.close()
