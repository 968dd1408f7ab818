"""What a program prints for days is kept in parts: the first, and the latest."""

import io
import threading
from pathlib import Path

import pytest

from aarlab.sandbox import output
from aarlab.sandbox.output import END_BYTES, aside, copy_capped, put_aside
from aarlab.sandbox.sandbox import LOG_PARTS
from tests.nodes.test_full_disk import room


def said(lines: range) -> bytes:
    return b"".join(b"line %05d\n" % n for n in lines)  # 11 bytes each


def test_what_fits_is_kept_as_it_is(tmp_path):
    copy_capped(io.BytesIO(b"one\ntwo\n"), tmp_path / "log", cap=100)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    assert put_aside(tmp_path / "log") == []


def test_a_full_log_is_put_aside_at_the_end_of_a_line_and_nothing_is_lost(tmp_path: Path):
    log = tmp_path / "001.jsonl"
    log.write_bytes(said(range(3)))
    copy_capped(io.BytesIO(said(range(3, 20))), log, cap=50)
    parts = [aside(log, n) for n in put_aside(log)]
    assert [path.name for path in parts] == ["001.1.jsonl", "001.2.jsonl", "001.3.jsonl"] + [
        "001.4.jsonl"
    ] * (len(parts) > 3)
    assert b"".join(path.read_bytes() for path in [*parts, log]) == said(range(20))
    assert all(path.read_bytes().endswith(b"\n") for path in parts)


def test_of_a_flood_the_first_part_and_the_latest_are_kept(tmp_path: Path):
    log = tmp_path / "001.jsonl"
    copy_capped(io.BytesIO(said(range(1_000))), log, cap=110)
    kept = put_aside(log)
    assert len(kept) == LOG_PARTS - 1
    assert kept == [1, *range(kept[-1] - LOG_PARTS + 3, kept[-1] + 1)]
    assert aside(log, 1).read_bytes() == said(range(10))
    assert aside(log, kept[-1]).read_bytes() + log.read_bytes() == said(range(990, 1_000))


def test_a_line_without_an_end_does_not_fill_the_disk(tmp_path: Path):
    log = tmp_path / "001.jsonl"
    copy_capped(io.BytesIO(b"x" * (40 * END_BYTES)), log, cap=1_000)
    sizes = [p.stat().st_size for p in tmp_path.iterdir()]
    assert len(sizes) <= LOG_PARTS
    assert max(sizes) <= 1_000 + 2 * END_BYTES


@pytest.mark.parametrize("size", [0, 5, 50, 131])  # in a file, and between two
def test_what_finds_no_room_is_written_once_there_is_some(tmp_path: Path, monkeypatch, size):
    monkeypatch.setattr(output, "AGAIN_S", 0.01)
    why, stuck = [], threading.Event()

    def unwritten(words):
        why.append(words)
        if words:
            stuck.set()

    log, lines = tmp_path / "001.jsonl", said(range(20))
    copying = (io.BytesIO(lines), log, 132, unwritten)
    thread = threading.Thread(target=copy_capped, args=copying)
    with room(size):
        thread.start()
        assert stuck.wait(20)
    thread.join(20)
    assert set(why) == {"", "File too large"}
    assert why[-1] == ""
    assert b"".join(path.read_bytes() for path in (aside(log, 1), log)) == lines
