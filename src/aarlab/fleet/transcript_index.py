"""Full-text search over a campaign's transcripts: CAMPAIGN/transcripts/index.sqlite, which can be
made again from them."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import TranscriptsFolder
from aarlab.core.printable import printable
from aarlab.core.store import Connection, StoreError, connect, transaction
from aarlab.fleet.transcripts import TranscriptReader, transcript_paths
from aarlab.sandbox.output import put_aside

VERSION = 2  # of the tables and of how lines are read: another makes the index again
BATCH = 2_000  # lines a transaction
BEGIN, END = "\x02", "\x03"  # around a hit; no indexed text holds a control character
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS files (name TEXT, life INTEGER, part INTEGER NOT NULL, offset "
    "INTEGER NOT NULL, seen TEXT NOT NULL, PRIMARY KEY (name, life))",
    "CREATE VIRTUAL TABLE IF NOT EXISTS steps USING fts5 (text, name UNINDEXED, life UNINDEXED, "
    "kind UNINDEXED, at UNINDEXED)",
    f"PRAGMA user_version = {VERSION}",
)


class Hit(NamedTuple):
    """A step that has all the words; in `excerpt` each stands between BEGIN and END."""

    name: str
    incarnation: int
    kind: str
    at: str
    excerpt: str


class TranscriptIndex:
    """The index of one campaign's `transcripts` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def update(self) -> int:
        """Read what was written since; how many steps that were. Another process may do the same
        at the same time.

        Raises:
            Misconfigured: the index cannot be written.
        """
        added = 0
        with self._opened() as db:
            for home in sorted(p for p in self.folder.iterdir() if p.is_dir()):
                for incarnation, path in transcript_paths(home).items():
                    while (steps := self._batch(db, home.name, incarnation, path)) is not None:
                        added += steps
        return added

    def _batch(self, db: Connection, name: str, incarnation: int, path: Path) -> int | None:
        """Read the next lines of one file; None if there are none."""
        with transaction(db):
            row = db.execute(
                "SELECT part, offset, seen FROM files WHERE name = ? AND life = ?",
                (name, incarnation),
            ).fetchone()
            part, offset, seen = row or (0, 0, "{}")
            parts = max(put_aside(path), default=0)
            if parts < part or (parts == part and path.stat().st_size < offset):  # written again
                db.execute("DELETE FROM steps WHERE name = ? AND life = ?", (name, incarnation))
                part, offset, seen = 0, 0, "{}"
            reader = TranscriptReader(path, offset=offset, part=part, seen=json.loads(seen))
            before = reader.at
            rows = (
                (s.text, name, incarnation, s.kind, s.at)
                for s in reader.new(whole=False, limit=BATCH)
                if s.text
            )
            # one at a time in memory
            added = db.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?)", rows).rowcount
            kept = (name, incarnation, *reader.at, json.dumps(reader.parser.seen))
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", kept)
        return max(0, added) if reader.at > before else None

    def search(self, words: str, limit: int = 50) -> list[Hit]:
        """Steps that have all of the words, the best first.

        Raises:
            Misconfigured: there is no word, or the index cannot be read.
        """
        wanted = [word.replace('"', '""') for word in printable(words).split()]
        if not wanted:
            raise Misconfigured("Nothing to search for. Give at least one word: --search WORDS.")
        query = " ".join(f'"{word}"' for word in wanted)
        select = (
            f"SELECT name, life, kind, at, snippet(steps, 0, '{BEGIN}', '{END}', '…', 24) FROM "
            "steps"
        )
        with self._opened() as db:
            rows = db.execute(
                f"{select} WHERE steps MATCH ? ORDER BY rank, rowid LIMIT ?", (query, limit)
            ).fetchall()
        return [Hit(*row) for row in rows]

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        path = TranscriptsFolder(self.folder).index
        if not self.folder.is_dir():
            raise Misconfigured(
                f"There are no transcripts in {self.folder}: no researcher was started yet."
            )
        if not _usable(path):
            for stale in (
                path,
                *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")),
            ):
                stale.unlink(missing_ok=True)
        try:
            with closing(connect(path, write_ahead=False)) as db:
                with transaction(db):  # who looks on sees all of it or nothing
                    for statement in _SCHEMA:
                        db.execute(statement)
                yield db
        except StoreError as error:
            raise Misconfigured(
                f"{path} cannot be used ({error}). Remove it; it is made again."
            ) from error


def _usable(path: Path) -> bool:
    """Whether there is an index of this version, or none yet."""
    if not path.exists():
        return True
    try:
        with closing(connect(path, write_ahead=False)) as db:
            db.execute("BEGIN")  # both looks are at the same moment: another may just be making it
            version = db.execute("PRAGMA user_version").fetchone()[0]
            return version == VERSION or (
                version == 0 and not db.execute("SELECT 1 FROM sqlite_master").fetchone()
            )
    except StoreError:
        return False
