"""What all SQLite files of ours have in common: a write-ahead log, and patience with other processes."""

import sqlite3
import time

PATIENCE_S = 30.0  # for another's lock


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait for others there, so those who open a new file at once must.

    Raises:
        sqlite3.OperationalError: another process held the file for PATIENCE_S.
    """
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
