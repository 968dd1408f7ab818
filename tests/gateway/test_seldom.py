"""A researcher cannot fill the host's disk by what the gateway logs about it."""

import logging
import socket

import pytest

from aarlab.gateway import rate_limited_log as seldom
from aarlab.gateway.rate_limited_log import EVERY_S, MOST, RepeatFilter
from tests.gateway.running import Running


def record(words: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "x.py", 1, words, args, None)


def test_repeated_messages_are_logged_seldom_with_their_count(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(seldom.time, "monotonic", lambda: now[0])
    log = RepeatFilter()
    assert log.filter(record("%s is %d", "a", 401))
    assert not any(log.filter(record("%s is %d", "a", 401)) for _ in range(5))
    assert log.filter(record("%s is %d", "b", 401)), "other words are not held back"
    now[0] += EVERY_S
    again = record("%s is %d", "a", 401)
    assert log.filter(again)
    assert again.getMessage() == "a is 401 (5 more like it were left out)"
    assert not log.filter(record("%s is %d", "a", 401))


def test_what_is_remembered_is_bounded():
    log = RepeatFilter()
    assert all(log.filter(record(str(n))) for n in range(10 * MOST))
    assert len(log._said) <= MOST


@pytest.mark.process
def test_garbage_on_a_socket_hardly_writes_anything(tmp_path):
    with Running(tmp_path / "campaign", "http://127.0.0.1:9") as gateway:
        folder = gateway.admit("researcher-1")
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as unix:
                unix.connect(str(folder / "lab.sock"))
                unix.sendall(b"\x00garbage\r\n\r\n")
                assert unix.recv(1000).startswith(b"HTTP/1.1 400")
        assert 1 <= len(gateway.log.splitlines()) <= 10
