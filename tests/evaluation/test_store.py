import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import OperationalError

from aarlab.core import sqlite
from aarlab.evaluation import store
from aarlab.evaluation.store import open_store

OWNERS, ROUNDS = 6, 30


def test_many_may_open_a_new_store_at_the_same_moment(tmp_path):
    for number in range(ROUNDS):
        together = threading.Barrier(OWNERS)

        def own(_, number=number, together=together):
            engine = open_store(tmp_path / f"{number}.sqlite")
            together.wait()
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x)")
                connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            engine.dispose()

        with ThreadPoolExecutor(OWNERS) as pool:
            list(pool.map(own, range(OWNERS)))
        raw = sqlite3.connect(tmp_path / f"{number}.sqlite")
        assert raw.execute("SELECT COUNT(*) FROM t").fetchone() == (OWNERS,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        raw.close()


def test_a_lock_that_stays_is_an_error_in_the_end(tmp_path, monkeypatch):
    for module in (sqlite, store):
        monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    holder = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    engine = open_store(tmp_path / "s.sqlite")
    with pytest.raises(OperationalError, match="locked"), engine.connect():
        pass
    holder.execute("COMMIT")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()
    holder.close()
