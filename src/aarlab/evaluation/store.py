"""SQLite as ledger and meter use it: write-ahead log, synced at every commit, several processes at once."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, QueuePool, create_engine, event

from aarlab.core.sqlite import PATIENCE_S, write_ahead


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
        write_ahead(connection)
        connection.execute("PRAGMA synchronous=FULL")

    return engine
