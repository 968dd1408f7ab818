"""Every SQLite file of ours: opened by many at once, locked, rolled back, closed and used again."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core import store
from aarlab.core.store import NotNow, Store, StoreError, connect

OWNERS, ROUNDS = 6, 30


@pytest.mark.slow
def test_many_may_open_a_new_store_at_the_same_moment(tmp_path):
    for number in range(ROUNDS):
        together = threading.Barrier(OWNERS)

        def own(_, number=number, together=together):
            made = Store(tmp_path / f"{number}.sqlite")
            together.wait()
            with made.writing() as connection:
                assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
                connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
                connection.execute("INSERT INTO t VALUES (1)")
            made.close()

        with ThreadPoolExecutor(OWNERS) as pool:
            list(pool.map(own, range(OWNERS)))
        raw = sqlite3.connect(tmp_path / f"{number}.sqlite")
        assert raw.execute("SELECT COUNT(*) FROM t").fetchone() == (OWNERS,)
        raw.close()


def test_a_lock_that_stays_is_an_error_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_S", 0.1)
    holder = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    made = Store(tmp_path / "s.sqlite")
    with pytest.raises(NotNow, match="locked"), made.reading():
        pass
    holder.execute("COMMIT")
    with made.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotNow, match="locked"), made.writing():
        pass
    holder.execute("COMMIT")
    holder.close()
    with made.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    made.close()


@pytest.fixture
def made(tmp_path):
    made = Store(tmp_path / "s.sqlite")
    with made.writing() as connection:
        connection.execute("CREATE TABLE t (x UNIQUE)")
    yield made
    made.close()


def rows(made):
    with made.reading() as connection:
        return [row["x"] for row in connection.execute("SELECT x FROM t ORDER BY x")]


@pytest.mark.parametrize("fault", [KeyError("ours"), NotNow("disk")])
def test_what_raises_inside_a_transaction_leaves_nothing_and_holds_no_lock(made, fault):
    with pytest.raises(type(fault)), made.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        raise fault
    with made.writing() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    assert rows(made) == [2]


def test_a_second_writer_of_this_process_waits_for_its_turn(made):
    def add(x):
        with made.writing() as connection:
            connection.execute("INSERT INTO t VALUES (?)", (x,))

    with ThreadPoolExecutor(OWNERS) as pool:
        list(pool.map(add, range(300)))
    assert rows(made) == list(range(300))


def test_a_reader_sees_what_was_committed_and_waits_for_no_writer(made):
    with made.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        assert rows(made) == []
    assert rows(made) == [1]


def test_a_store_that_was_closed_opens_again_and_one_to_read_from_changes_nothing(made, tmp_path):
    made.close()
    with made.writing() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    onlooker = Store(tmp_path / "s.sqlite", read_only=True)
    assert rows(onlooker) == [1]
    with pytest.raises(NotNow, match="readonly"), onlooker.writing() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    onlooker.close()


def test_what_is_no_database_is_a_fault_that_does_not_pass(tmp_path):
    (tmp_path / "s.sqlite").write_bytes(b"no database, and long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="not a database") as caught:
        connect(tmp_path / "s.sqlite")
    assert not isinstance(caught.value, NotNow)


def test_a_store_that_was_closed_is_one_file_and_is_read_where_nothing_can_be_written(
    tmp_path, monkeypatch
):
    path = tmp_path / "s.sqlite"
    made = Store(path)
    with made.writing() as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    assert len(list(tmp_path.iterdir())) == 3
    made.close()
    assert list(tmp_path.iterdir()) == [path]
    raw = sqlite3.connect(path)  # as a copy of a store that was killed, without its log
    raw.execute("PRAGMA journal_mode=WAL")
    raw.close()
    monkeypatch.setattr(store.os, "access", lambda *_: False)
    reader = Store(path, read_only=True)
    with reader.reading() as connection:
        assert connection.execute("SELECT x FROM t").fetchone()[0] == 7
    assert store.unsound(path) is None
    assert list(tmp_path.iterdir()) == [path]
    reader.close()
    with store.writable(path) as copy, sqlite3.connect(copy) as raw:
        raw.execute("UPDATE t SET x = 8")
    assert not copy.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_another_has_open_stays_as_it_is(tmp_path):
    first, second = Store(tmp_path / "s.sqlite"), Store(tmp_path / "s.sqlite")
    with first.writing() as connection:
        connection.execute("CREATE TABLE t (x)")
    with second.reading() as connection:
        first.close()
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    second.close()
    assert [p.name for p in tmp_path.iterdir()] == ["s.sqlite"]


def test_every_commit_is_synced_and_few_move_the_log_into_the_file(tmp_path):
    made = connect(tmp_path / "some.sqlite")
    settings = "journal_mode", "synchronous", "wal_autocheckpoint"
    found = [made.execute(f"PRAGMA {name}").fetchone()[0] for name in settings]
    made.close()
    full = 2
    assert found == ["wal", full, store.LOG_PAGES]
