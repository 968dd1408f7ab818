"""Search over transcripts: finds what is there, once, however the files came and whatever happened
to the index."""

import json
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.fleet import transcript_index
from aarlab.fleet.transcript_index import BEGIN, END, TranscriptIndex

WORDS = st.text("abc", min_size=1, max_size=3)


def say(words: str, message: str) -> str:
    return (
        json.dumps(
            {
                "type": "assistant",
                "message": {"id": message, "content": [{"type": "text", "text": words}]},
            }
        )
        + "\n"
    )


@pytest.fixture
def folder(tmp_path):
    for name, incarnation, line in [
        ("researcher-1", 1, "plain alpha\n"),
        ("researcher-1", 2, say("beta alpha", "m1")),
        ("r2", 1, "gamma\n"),
    ]:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"{incarnation:03d}.jsonl").write_text(line)
    return tmp_path


def found(index: TranscriptIndex, words: str) -> set[tuple[str, int]]:
    return {(hit.name, hit.incarnation) for hit in index.search(words)}


def test_steps_with_all_the_words_are_found_wherever_they_are(folder):
    index = TranscriptIndex(folder)
    assert index.update() == 3
    assert index.update() == 0
    assert found(index, "alpha") == {("researcher-1", 1), ("researcher-1", 2)}
    assert found(index, "ALPHA beta") == {("researcher-1", 2)}
    assert found(index, "alpha gamma") == set()
    assert index.search("gamma")[0].excerpt == f"{BEGIN}gamma{END}"


def test_what_is_added_is_taken_up_and_a_line_that_is_not_done_waits(folder):
    index, path = TranscriptIndex(folder), folder / "r2" / "001.jsonl"
    index.update()
    with path.open("a") as file:
        file.write("delta")
    assert index.update() == 0
    with path.open("a") as file:
        file.write(" epsilon\n" + say("zeta", "m2") + say("zeta", "m2"))
    assert index.update() == 2, "the message that came twice is one step"
    with path.open("a") as file:
        file.write(say("zeta", "m2"))
    assert index.update() == 0, "also when it comes again later"
    assert found(index, "delta epsilon") == {("r2", 1)}


def test_a_file_that_was_written_anew_is_read_anew(folder):
    index, path = TranscriptIndex(folder), folder / "r2" / "001.jsonl"
    index.update()
    path.write_text("eta\n")
    assert index.update() == 1
    assert found(index, "gamma") == set()
    assert found(index, "eta") == {("r2", 1)}


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "a OR b",
        "NEAR(",
        "text:alpha",
        "alpha*",
        "-alpha",
        "(",
        "alpha AND",
        "\x00alpha",
        "'; DROP",
    ],
)
def test_words_are_words_and_no_query_language(folder, query):
    index = TranscriptIndex(folder)
    index.update()
    assert found(index, query) <= {("researcher-1", 1), ("researcher-1", 2)}


def test_nothing_to_search_for_and_nowhere_are_said(folder, tmp_path):
    for words in ("", "  ", "\x1b"):
        with pytest.raises(Misconfigured, match="at least one word"):
            TranscriptIndex(folder).search(words)
    with pytest.raises(Misconfigured, match="no transcripts"):
        TranscriptIndex(tmp_path / "none").update()


@pytest.mark.parametrize(
    "damage",
    [b"not a database at all, whatever it is called" * 99, b"SQLite format 3\x00" + b"\xff" * 4096],
)
def test_a_damaged_index_is_made_anew(folder, damage):
    TranscriptIndex(folder).update()
    (folder / "index.sqlite").write_bytes(damage)
    assert TranscriptIndex(folder).update() == 3


def test_an_index_of_another_version_is_made_anew(folder, monkeypatch):
    TranscriptIndex(folder).update()
    monkeypatch.setattr(transcript_index, "VERSION", 99)
    monkeypatch.setattr(
        transcript_index, "_SCHEMA", (*transcript_index._SCHEMA[:-1], "PRAGMA user_version = 99")
    )
    assert TranscriptIndex(folder).update() == 3
    assert TranscriptIndex(folder).update() == 0


def test_two_who_index_at_once_take_up_everything_once(folder, monkeypatch):
    monkeypatch.setattr(transcript_index, "BATCH", 3)
    (folder / "r2" / "002.jsonl").write_text("".join(f"word{n}\n" for n in range(200)))
    added: list[int] = []
    threads = [
        threading.Thread(target=lambda: added.append(TranscriptIndex(folder).update()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(added) == 203
    with sqlite3.connect(folder / "index.sqlite") as db:
        assert db.execute("SELECT count(*), count(DISTINCT text) FROM steps").fetchone() == (
            203,
            203,
        )
    db.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), max_size=12), WORDS)
def test_a_search_finds_what_looking_at_every_line_finds(tmp_path_factory, rows, wanted):
    folder = tmp_path_factory.mktemp("t")
    (folder / "a").mkdir()
    (folder / "a" / "001.jsonl").write_text("".join(" ".join(row) + "\n" for row in rows))
    index = TranscriptIndex(folder)
    index.update()
    assert len(index.search(wanted, limit=100)) == sum(wanted in row for row in rows)
