"""Homes that travel: what was packed comes back, and an archive that somebody made to harm writes
nothing outside."""

import json
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Transient
from aarlab.nodes.home_archive import MOST_DEPTH, HomeTooLarge, pack_home, unpack_home

MOST = 1 << 20


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    (made / "deep" / "deeper").mkdir(parents=True)
    (made / "deep" / "deeper" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (made / "deep" / "deeper" / "run.sh").chmod(0o755)
    (made / "empty").mkdir()
    (made / "notes.txt").write_text("one\ntwo\n")
    (made / "python").symlink_to("/usr/bin/python3")
    (made / "up").symlink_to("../../..")
    (made / os.fsdecode(b"no-utf-8-\xff")).write_bytes(b"\0\1")
    os.utime(made / "notes.txt", ns=(1_700_000_000_123_456_789,) * 2)
    return made


def listing(root):
    """Of each path: what it is, its mode, its content."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = os.fsencode(path.relative_to(root))
        mode = path.lstat().st_mode & 0o777
        found[name] = (
            ("l", str(path.readlink()))
            if path.is_symlink()
            else ("d", mode)
            if path.is_dir()
            else ("f", mode, path.read_bytes(), path.stat().st_mtime_ns)
        )
    return found


def test_a_home_comes_back_as_it_was_and_equal_homes_are_one(home, tmp_path):
    made = pack_home(home, tmp_path / "a", MOST)
    unpack_home(made.path, tmp_path / "back", MOST)
    assert listing(tmp_path / "back") == listing(home)
    again = pack_home(tmp_path / "back", tmp_path / "b", MOST)
    assert (again.sha256, again.left_out) == (made.sha256, 0)
    assert made.size == made.path.stat().st_size


def test_it_takes_the_place_of_a_home_and_a_damaged_one_leaves_that_as_it_was(home, tmp_path):
    made = pack_home(home, tmp_path / "a", MOST)
    other = tmp_path / "other"
    other.mkdir()
    (other / "old").write_text("old")
    before = listing(other)
    whole = made.path.read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(Transient):
            unpack_home(tmp_path / "cut", other, MOST)
        assert listing(other) == before
    (tmp_path / "long").write_bytes(whole + b"x")
    with pytest.raises(Transient, match="something follows"):
        unpack_home(tmp_path / "long", other, MOST)
    unpack_home(made.path, other, MOST)
    assert listing(other) == listing(home)
    assert not list(tmp_path.glob(".other-*"))


def test_what_is_no_file_is_left_out_and_counted(home, tmp_path):
    os.mkfifo(home / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(home / "s"))
    (home / "suid").write_text("x")
    (home / "suid").chmod(0o4755)
    made = pack_home(home, tmp_path / "a", MOST)
    assert made.left_out == 2
    unpack_home(made.path, tmp_path / "back", MOST)
    assert (tmp_path / "back" / "suid").stat().st_mode & 0o7777 == 0o755


def test_a_deep_tree_is_cut_and_a_large_home_is_refused(home, tmp_path):
    deep = home
    for _ in range(MOST_DEPTH + 30):
        deep = deep / "d"
    deep.mkdir(parents=True)
    made = pack_home(home, tmp_path / "a", MOST)
    assert made.left_out == 1
    unpack_home(made.path, tmp_path / "back", MOST)
    with (home / "sparse").open("wb") as file:
        file.truncate(1 << 40)  # no byte on the disk
    with pytest.raises(HomeTooLarge):
        pack_home(home, tmp_path / "b", MOST)
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_home_that_changes_while_it_is_packed_leads_to_no_file_of_others(home, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "run.sh").write_text("SECRET")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (home / "deep" / "deeper").rename(home / "aside")
            (home / "deep" / "deeper").symlink_to(secret)
            (home / "deep" / "deeper").unlink()
            (home / "aside").rename(home / "deep" / "deeper")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        until, packed = time.monotonic() + 1.0, 0
        while time.monotonic() < until or packed < 20:
            made = pack_home(home, tmp_path / f"a{packed}", MOST)
            assert b"SECRET" not in made.path.read_bytes()
            packed += 1
    finally:
        stop.set()
        thread.join()


def entry(kind, **more):
    return json.dumps({"kind": kind, **more}).encode() + b"\n"


END = entry("end")
HOSTILE = {
    "above": entry("f", path="../x", size=1) + b"x" + END,
    "absolute": entry("f", path="/tmp/x", size=1) + b"x" + END,
    "through a link": entry("l", path="a", target="/tmp")
    + entry("f", path="a/x", size=1)
    + b"x"
    + END,
    "link below a link": entry("l", path="a", target="/tmp")
    + entry("l", path="a/x", target="y")
    + END,
    "link in place of a folder": entry("d", path="a") + entry("l", path="a", target="/tmp") + END,
    "folder through a link": entry("l", path="a", target="/tmp") + entry("d", path="a/x") + END,
    "twice": 2 * (entry("f", path="a", size=1) + b"x") + END,
    "dot": entry("d", path=".") + END,
    "empty": entry("d", path="") + END,
    "NUL": entry("f", path="a\0b", size=0) + END,
    "half a pair": entry("f", path="a\ud800", size=0) + END,
    "a huge file": entry("f", path="a", size=1 << 50) + END,
    "a negative file": entry("f", path="a", size=-1) + END,
    "set-user-id": entry("f", path="a", size=0, mode=0o4755) + END,
    "no end": entry("d", path="a"),
    "nested": b"[" * 5_000 + b"\n",
    "long line": b'{"kind":"d","path":"' + b"a" * 100_000 + b'"}\n' + END,
    "unknown": entry("b", path="a") + END,
    "deep": entry("d", path="/".join("a" * 100)) + END,
    "long target": entry("l", path="a", target="b" * 5_000) + END,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(what, tmp_path):
    (tmp_path / "a").write_bytes(HOSTILE[what])
    around = set(tmp_path.iterdir())
    with pytest.raises(Transient, match="cannot be unpacked"):
        unpack_home(tmp_path / "a", tmp_path / "home", MOST)
    assert set(tmp_path.iterdir()) == around


@given(st.binary(max_size=300))
def test_any_bytes_are_an_archive_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a").write_bytes(data)
    with pytest.raises(Transient):
        unpack_home(folder / "a", folder / "home", MOST)
    assert [p.name for p in folder.iterdir()] == ["a"]
