"""SQLite as ledger and meter use it: write-ahead log, synced at every commit, several processes at once."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, QueuePool, create_engine, event

PATIENCE_S = 30.0  # for another's lock


def open_store(path: Path, *, read_only: bool = False) -> Engine:
    """In autocommit: a reading statement is its own transaction; who writes says BEGIN IMMEDIATE first."""
    options: dict[str, Any] = {"timeout": PATIENCE_S, "isolation_level": None, "check_same_thread": False}
    if read_only:
        where = f"{path.absolute().as_uri()}?mode=ro"
        return create_engine("sqlite://", creator=lambda: sqlite3.connect(where, uri=True, **options), poolclass=QueuePool)
    engine = create_engine(f"sqlite:///{path}", connect_args=options)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        del record
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _write_ahead(connection: Any) -> None:
    """Switch to the write-ahead log. SQLite does not wait for others there, so those who open a new store at once must."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
