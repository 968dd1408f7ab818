"""A ledger in a real PostgreSQL: what the database itself refuses, and what becomes of an append
whose connection, server or process ends at each of its steps."""

import hashlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.ledger import postgres_storage
from aarlab.evaluation.ledger.chain import GENESIS, LedgerRow
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import (
    Places,
    check_url,
    database,
    note_places,
    shown,
)
from aarlab.evaluation.ledger.storage import StorageFailed
from tests.cutting_proxy import CuttingProxy
from tests.evaluation.ledger_places import LedgerPlace
from tests.store_servers import PostgresServer, free_port, prepared_postgres

pytestmark = pytest.mark.process


@pytest.fixture
def place(postgres, tmp_path):
    return LedgerPlace(tmp_path, postgres)


@pytest.fixture
def through(place, postgres):
    """The same ledger behind a proxy, and the proxy."""
    proxy = CuttingProxy(postgres.port)
    url = postgres.url().replace(f":{postgres.port}/", f":{proxy.port}/")
    note_places(place.folder, Places(ledger=url, log=place.log))
    yield proxy
    proxy.down()


def appender(postgres: PostgresServer, log: str):
    """A connection with the rights of the evaluator's login, and no more."""
    import psycopg

    return psycopg.connect(postgres.url(), autocommit=True, password=postgres.passwords["aar"])


# --- what the database refuses --------------------------------------------------------------------


@pytest.mark.parametrize("table", ["aar.entries", "aar.blobs"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET log='x'", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"]
)
def test_the_login_may_change_nothing_and_the_owners_triggers_refuse_it_too(
    ledger, postgres, place, table, change
):
    import psycopg

    ledger.append("spend", "a", {})
    with (
        appender(postgres, place.log) as login,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        login.execute(change.format(table))
    if "DROP" not in change:
        with (
            postgres.owner("aar") as owner,
            pytest.raises(psycopg.errors.IntegrityError, match="append-only"),
        ):
            owner.execute(change.format(table))
    assert ledger.verify() == 1


def forged(seq: int, prev: str, words: str) -> LedgerRow:
    """A row that hashes right, by somebody who knows the ledger."""
    row = LedgerRow(
        seq, "2026-01-01T00:00:00.000+00:00", "a", "spend", f'{{"x": "{words}"}}', prev, ""
    )
    return row._replace(hash=hashlib.sha256(row.canonical).hexdigest())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda es: forged(2, es[0].hash, "fork"), "UniqueViolation|entries_pkey"),
        (lambda es: forged(4, es[1].hash, "fork"), "does not follow"),
        (lambda es: forged(4, "f" * 64, "loose"), "does not follow"),
        (lambda es: forged(5, es[2].hash, "gap"), "does not follow"),
        (lambda es: forged(1, GENESIS, "new start"), "entries_pkey"),
        (lambda es: forged(0, GENESIS, "zero"), "does not follow|entries_seq_check"),
    ],
)
def test_a_second_appender_cannot_fork_it(ledger, postgres, place, make, why):
    import psycopg

    entries = [ledger.append("spend", "a", {"n": n}) for n in range(3)]
    row = make(entries)
    marks = ", ".join(["%s"] * 10)
    with (
        appender(postgres, place.log) as login,
        pytest.raises(psycopg.errors.IntegrityError, match=why),
    ):
        login.execute(f"INSERT INTO aar.entries VALUES ({marks})".encode(), (place.log, *row))
    assert ledger.append("spend", "a", {}).seq == 4
    assert ledger.verify() == 4


def test_two_processes_append_in_turns_and_fork_nothing(place):
    words = (
        "import sys; from pathlib import Path\n"
        "from aarlab.evaluation.ledger.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(40): ledger.append('spend', sys.argv[2], {'n': n})\n"
        "ledger.close()\n"
    )
    argv = [sys.executable, "-c", words, str(place.path)]
    both = [subprocess.Popen([*argv, who], stderr=subprocess.PIPE, text=True) for who in "ab"]
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in both] == [("", 0)] * 2
    ledger = place.open()
    assert ledger.verify() == 80
    assert [e.body["n"] for e in ledger.entries() if e.who == "a"] == list(range(40))
    ledger.close()


def test_ledgers_of_one_database_know_nothing_of_each_other(postgres, tmp_path):
    places = [LedgerPlace(tmp_path / name, postgres) for name in "ab"]
    both = [one.open() for one in places]
    for ledger in both:
        name = hashlib.sha256(b"x").hexdigest()
        ledger.append_many([Draft("spend", "a", {"x": name}, {name: b"x"})])
        assert (ledger.verify(), ledger.blob(name)) == (1, b"x")
        ledger.close()


# --- an append that is cut short ------------------------------------------------------------------


def test_a_commit_whose_answer_is_lost_is_recorded_once(place, through):
    ledger = place.open(alone=True)
    ledger.append("spend", "a", {"n": 0})
    through.cut = "after"
    made = ledger.append("spend", "a", {"n": 1})
    assert (made.seq, through.cuts) == (2, 1)
    ledger.append("spend", "a", {"n": 2})
    assert [e.body["n"] for e in ledger.entries()] == [0, 1, 2]
    assert ledger.verify() == 3
    ledger.close()


def test_a_commit_that_did_not_arrive_is_not_recorded_and_may_be_asked_for_again(place, through):
    ledger = place.open(alone=True)
    ledger.append("spend", "a", {"n": 0})
    through.cut = "before"
    with pytest.raises(Transient, match=r"Not recorded.*operator must bring it back.*Try again"):
        ledger.append("spend", "a", {"n": 1})
    assert through.cuts == 1
    assert ledger.append("spend", "a", {"n": 1}).seq == 2
    assert [e.body["n"] for e in ledger.entries()] == [0, 1]
    assert ledger.verify() == 2
    ledger.close()


def test_a_connection_that_was_lost_meanwhile_is_replaced_without_a_word(place, through):
    ledger = place.open(alone=True)
    ledger.append("spend", "a", {"n": 0})
    through.down()
    through.up()
    ledger.append("spend", "a", {"n": 1})
    through.down()
    through.up()
    assert ledger.verify() == 2
    ledger.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_cannot_be_known_stops_the_appender_and_a_restart_finds_out(
    place, through, monkeypatch, when
):
    """The connection is lost during a commit, and the server is not back in time."""
    monkeypatch.setattr(postgres_storage, "PATIENCE_S", 1.0)
    ledger, called = place.open(alone=True), []
    ledger.append("spend", "a", {"n": 0})
    ledger.when_unsettled = lambda: called.append(1)
    real = ledger._storage._recorded

    def and_down(last: LedgerRow) -> bool:
        through.down()
        return real(last)

    monkeypatch.setattr(ledger._storage, "_recorded", and_down)
    through.cut = when
    with pytest.raises(Transient, match="not known whether this was recorded.*starts again"):
        ledger.append("spend", "a", {"n": 1})
    assert called == [1]
    through.up()
    with pytest.raises(Transient, match="not known"):
        ledger.append("spend", "a", {"n": 2})
    assert len(ledger.entries(after=1)) in {0, 1}, "it can still be read"
    ledger.close()
    again = place.open(alone=True)
    known = [e.body["n"] for e in again.entries()] if again.count() else []
    assert known == ([0, 1] if when == "after" else [0])
    again.append("spend", "a", {"n": 2})
    assert again.verify() == len(known) + 1
    again.close()


def test_a_server_that_is_killed_while_many_append_loses_and_doubles_nothing(tmp_path, monkeypatch):
    """kill -9 of all of PostgreSQL's processes, several times, while eight threads append. What
    `append` returned is there once; what it refused as not recorded is not there."""
    server = prepared_postgres()
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    place = LedgerPlace(tmp_path, server)
    ledger = place.open(alone=True)
    made, refused, stop = [], [], threading.Event()

    def work(who: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                made.append((ledger.append("spend", str(who), {"n": n}).seq, who, n))
            except Transient as error:
                refused.append((who, n, str(error)))
                time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.4)
            server.kill()
            time.sleep(0.2)
            server.start()
        time.sleep(0.4)
        stop.set()
        for thread in threads:
            thread.join(60)
        there = [(e.seq, int(e.who), e.body["n"]) for e in ledger.entries()]
        assert sorted(made) == there
        assert len(made) > 50
        assert refused, "the server was down for a while"
        assert all(words.startswith("Not recorded") for _, _, words in refused)
        assert ledger.verify() == len(there)
        ledger.close()
    finally:
        stop.set()
        server.close()


def test_an_appender_that_is_killed_leaves_a_whole_ledger_and_no_lock(place):
    words = (
        "import sys; from pathlib import Path\n"
        "from aarlab.evaluation.ledger.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "with ledger._storage.appending() as appending:\n"
        "    print('in it', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    ledger = place.open()
    ledger.append("spend", "a", {"n": 0})
    one = subprocess.Popen(
        [sys.executable, "-c", words, str(place.path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert one.stdout is not None
    assert one.stdout.readline() == "in it\n"
    one.kill()
    one.communicate()
    began = time.monotonic()
    assert ledger.append("spend", "a", {"n": 1}).seq == 2
    assert time.monotonic() - began < 10
    assert ledger.verify() == 2
    ledger.close()


def test_a_server_that_is_down_is_the_operators_and_loses_nothing(place, through):
    ledger = place.open(alone=True)
    ledger.append("spend", "a", {"n": 0})
    through.down()
    began = time.monotonic()
    with pytest.raises(Transient, match="PostgreSQL does not answer; the operator must") as refused:
        ledger.append("spend", "a", {"n": 1})
    assert "127.0.0.1" not in str(refused.value), "submitters read it"
    with pytest.raises(Transient, match="The ledger cannot be read"):
        ledger.entries()
    with pytest.raises(Transient, match="PostgreSQL does not answer"):
        place.open()
    assert time.monotonic() - began < 10
    through.up()
    assert ledger.append("spend", "a", {"n": 1}).seq == 2
    assert ledger.verify() == 2
    ledger.close()


# --- the database and its URL ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:hunter2@h:5432/d", "holds a password.*PGPASSFILE"),
        ("postgresql://u@h/d?password=hunter2", "holds a password"),
        ("postgresql://u@h/d?options=-c%20hunter2", "parameter 'options'"),
        ("postgresql://h:5432/", "Give postgresql://USER@HOST:PORT/DATABASE"),
        ("mysql://u:hunter2@h/d", "store is 'mysql://h/d'"),
        ("postgresql://h:hunter2/d", "no URL"),
        ("postgresql://[hunter2/d", "no URL"),
    ],
)
def test_a_url_with_a_password_or_another_one_is_refused_and_never_shown(url, words):
    with pytest.raises(Misconfigured, match=words) as refused:
        check_url(url)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in shown(url) or "hunter2/d" in url


def test_a_wrong_password_a_wrong_login_and_an_empty_database_are_the_operators(
    postgres, monkeypatch, tmp_path
):
    with pytest.raises(Misconfigured, match="was not prepared.*aar store init"):
        with postgres.owner() as owner:
            owner.execute("CREATE DATABASE empty")
        database(postgres.url(database="empty"), "x")
    with postgres.owner() as owner:
        owner.execute("CREATE ROLE stranger LOGIN PASSWORD 'word'")
    monkeypatch.setenv("PGPASSWORD", "word")
    with pytest.raises(Misconfigured, match="refuses us.*aar_append"):
        database(postgres.url("stranger"), "x")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(Misconfigured, match="refuses us.*authentication failed"):
        database(postgres.url(), "x")
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(Misconfigured, match="refuses us.*does not exist"):
        database(postgres.url(database="nowhere"), "x")
    url = f"postgresql://aar@127.0.0.1:{free_port()}/aar"
    with pytest.raises(StorageFailed, match="does not answer"):
        database(url, "x")


def test_a_database_that_was_loosened_is_refused(ledger, place, postgres):
    ledger.append("spend", "a", {})
    with postgres.owner("aar") as owner:
        for loosen, restore, words in (
            (
                "ALTER TABLE aar.entries DISABLE TRIGGER entries_append_only",
                "ALTER TABLE aar.entries ENABLE TRIGGER entries_append_only",
                "trigger entries_append_only is gone",
            ),
            (
                "GRANT DELETE ON aar.entries TO aar_append",
                "REVOKE DELETE ON aar.entries FROM aar_append",
                "may DELETE aar.entries",
            ),
        ):
            owner.execute(loosen)
            try:
                with pytest.raises(Misconfigured, match=words):
                    place.open()
                assert words in (ledger._storage.unsound() or "")
            finally:
                owner.execute(restore)
    assert ledger._storage.unsound() is None


def test_migrations_are_applied_once_and_others_are_refused(postgres):
    from aarlab.evaluation.ledger.postgres_schema import migrate, migrations

    with postgres.owner("aar") as owner:
        assert migrate(owner) == []
        newest = migrations()[-1].number
        owner.execute("INSERT INTO aar.migrations VALUES (%s, 'later', 'x')", (newest + 1,))
        try:
            with pytest.raises(Misconfigured, match="newer aarlab"):
                database(postgres.url(), "x")
        finally:
            owner.execute("DELETE FROM aar.migrations WHERE number > %s", (newest,))
        changed = pytest.raises(Misconfigured, match="another version")
        with changed, owner.transaction():
            owner.execute("UPDATE aar.migrations SET digest = 'x'")
            migrate(owner)


def test_ledgers_of_a_file_are_untouched_by_a_note_of_snapshots_alone(tmp_path: Path):
    note_places(tmp_path, Places(snapshots="s3://bucket/prefix"))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.append("spend", "a", {})
    ledger.close()
    assert (tmp_path / "ledger.sqlite").exists()
