"""The journal: two processes, one file; nothing is lost, nothing counts twice."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aarlab.core import store
from aarlab.core.budget import Budget, Spent
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.operator_records import NewEvent, NewSpend
from aarlab.gateway import journal_rows as module
from aarlab.gateway.admission import BudgetSpent, CallOpened, InFlight, MustWait, Reserve
from aarlab.gateway.journal import Journal
from aarlab.gateway.journal_rows import JournalRow, Taken

FREE = Budget()
TURN = Taken(
    input_tokens=3, cache_write_tokens=200, cache_read_tokens=1_000, output_tokens=50, usd=0.25
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "journal.sqlite"


@pytest.fixture
def journal(path: Path):
    made = Journal(path)
    yield made
    made.close()


def opened(journal: Journal, who: str = "ann", *, usd: float = 1.0) -> int:
    answer = journal.open(
        who, "claude-opus-4-6", Reserve(2_000, usd), researcher=FREE, campaign=FREE
    )
    assert isinstance(answer, CallOpened)
    return answer.call


def test_lives_are_numbered_from_one_each_researcher_by_itself(journal: Journal) -> None:
    assert journal.incarnation("ann") == 0
    assert [journal.begin("ann"), journal.begin("ann"), journal.begin("bob")] == [1, 2, 1]
    assert (journal.incarnation("ann"), journal.incarnation("bob")) == (2, 1)


def test_what_the_machine_cost_adds_up_by_researcher_and_campaign(journal: Journal) -> None:
    journal.charge("ann", wall_s=10.0, cpu_s=4.0, usd=0.5)
    journal.charge("ann", wall_s=5.0, cpu_s=1.0, usd=None)
    journal.charge("bob", wall_s=1.0, cpu_s=0.5, usd=0.25)
    assert journal.spent("ann") == Spent(wall_s=15.0, cpu_s=5.0, usd=0.5)
    assert journal.spent(None) == Spent(wall_s=16.0, cpu_s=5.5, usd=0.75)
    assert journal.spent("nobody") == Spent()
    journal.release()
    assert [row.body["usd"] for row in journal.unposted(10)] == [0.5, None, 0.25], (
        "unknown is not 0"
    )


@pytest.mark.long
def test_days_of_charges_are_one_row_each_ten_minutes(path: Path, journal: Journal) -> None:
    for _ in range(2 * 6 * 60):  # two hours, charged every ten seconds
        journal.charge("ann", wall_s=10.0, cpu_s=2.5, usd=0.01)
        journal.charge("bob", wall_s=0.0, cpu_s=10.0, usd=None)
    spent = journal.spent("ann")
    assert (spent.wall_s, spent.cpu_s, round(spent.usd, 9)) == (7_200.0, 1_800.0, 7.2)
    mine = [row.body for row in journal.unposted(100) if row.who == "ann"]
    assert len(journal.unposted(100)) == 24
    assert {(b["wall_s"], b["cpu_s"], round(b["usd"], 9)) for b in mine} == {(600.0, 150.0, 0.6)}
    journal.charge("ann", wall_s=7.5, cpu_s=1.0, usd=0.01)
    again = Journal(path)  # after a kill
    again.release("ann")
    again.release()
    (last,) = again.unposted(100)[24:]
    assert (last.who, last.body["wall_s"]) == ("ann", 7.5)
    again.close()


def test_a_call_is_reserved_then_settled_once(journal: Journal) -> None:
    call = opened(journal)
    assert journal.in_flight("ann") == journal.in_flight(None) == InFlight(1, 2_000, 1.0)
    assert journal.spent("ann") == Spent()
    for _ in range(2):
        journal.settle(call, TURN)
    assert journal.in_flight("ann") == InFlight(0, 0, 0.0)
    assert journal.spent("ann") == Spent(tokens=1_253, usd=0.25)
    assert len(journal.unposted(10)) == 1


def test_both_budgets_are_asked_before_a_call(journal: Journal) -> None:
    def ask(who: str, usd: float) -> object:
        limits = {"researcher": Budget(usd=1.0), "campaign": Budget(usd=1.5)}
        return journal.open(who, "m", Reserve(1, usd), **limits)

    first = ask("ann", 0.75)
    assert isinstance(first, CallOpened)
    assert ask("ann", 0.5) == MustWait(), "its own budget"
    second = ask("bob", 0.75)
    assert isinstance(second, CallOpened), "together exactly the campaign's"
    assert ask("eve", 0.1) == MustWait(), "the campaign's"
    journal.settle(first.call, Taken(1, 0, 0, 0, 0.75))
    journal.settle(second.call, Taken(1, 0, 0, 0, 0.75))
    assert ask("eve", 0.1) == BudgetSpent("the campaign: budget of $1.50 is spent")


def test_rows_wait_in_order_until_they_are_posted(journal: Journal) -> None:
    first = journal.note("researcher", "ann", {"event": "started", "incarnation": 1})
    second = journal.note("campaign", "operator", {"event": "paused"})
    assert [row.id for row in journal.unposted(10)] == [first, second]
    (row,) = journal.unposted(1)
    assert abs(row.body.pop("at") - time.time()) < 60, "when it happened, whenever it is posted"
    assert row == JournalRow(first, "researcher", "ann", {"event": "started", "incarnation": 1})
    journal.posted([first])
    journal.posted([first])
    assert [row.id for row in journal.unposted(10)] == [second]


def test_every_row_is_an_entry_that_the_server_takes(journal: Journal) -> None:
    journal.note("researcher", "ann", {"event": "started", "incarnation": 1})
    journal.charge("ann", wall_s=1.5, cpu_s=0.5, usd=None)
    journal.release("ann")
    journal.settle(opened(journal), TURN)
    opened(journal)
    journal.recover()
    event, *spends = journal.unposted(10)
    NewEvent.model_validate(
        {"kind": event.kind, "who": event.who, "id": event.id, "body": event.body}, strict=True
    )
    read = [
        NewSpend.model_validate({"kind": r.kind, "who": r.who, "id": r.id, "body": r.body})
        for r in spends
    ]
    machine, turn, lost = (spend.body for spend in read)
    assert (machine.wall_s, machine.cpu_s, machine.usd, machine.call) == (1.5, 0.5, None, None)
    assert turn.call is not None
    assert turn.call.model_dump() == {
        "model": "claude-opus-4-6",
        "input_tokens": 3,
        "cache_write_tokens": 200,
        "cache_read_tokens": 1_000,
        "output_tokens": 50,
        "interrupted": False,
        "assumed": False,
    }
    assert lost.call is not None
    assert (lost.usd, lost.call.interrupted, lost.call.output_tokens) == (None, True, 0)


def test_maximum_charges_are_counted_by_cause_and_marked(journal: Journal) -> None:
    for why in (
        "the answer has no usage",
        "the answer has no usage",
        "the answer is no JSON",
        None,
    ):
        journal.settle(opened(journal), TURN, unread=why)
    assert journal.unread() == [
        "claude-opus-4-6: 2 calls were charged as the most that they can have been, since the "
        "answer has no usage",
        "claude-opus-4-6: 1 calls were charged as the most that they can have been, since the "
        "answer is no JSON",
    ]
    assert [row.body["call"].get("assumed") for row in journal.unposted(10)] == [
        True,
        True,
        True,
        None,
    ]
    read = [
        NewSpend.model_validate({"kind": r.kind, "who": r.who, "id": r.id, "body": r.body})
        for r in journal.unposted(10)
    ]
    assert [spend.body.call.assumed for spend in read if spend.body.call] == [
        True,
        True,
        True,
        False,
    ]


def test_ids_of_another_journal_are_other_ids(journal: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other.sqlite")
    assert other.note("campaign", "operator", {"event": "x"}) != journal.note(
        "campaign", "operator", {"event": "x"}
    )
    other.close()


def test_calls_of_a_dead_gateway_are_charged_once_as_far_as_known(
    path: Path, journal: Journal
) -> None:
    journal.progress(opened(journal), Taken(900, 0, 0, 1, 0.75))
    opened(journal, "bob")
    journal.settle(opened(journal, "eve"), TURN)
    again = Journal(path)
    assert again.recover() == 2
    assert again.recover() == 0
    assert again.spent("ann") == Spent(tokens=901, usd=0.75)
    assert again.spent("bob") == Spent(), "not even the start of an answer: ours failed, not bob"
    assert again.spent("eve") == Spent(tokens=1_253, usd=0.25)
    assert again.in_flight(None) == InFlight(0, 0, 0.0)
    assert [(r.who, r.body["call"]["interrupted"]) for r in again.unposted(9)] == [
        ("eve", False),
        ("ann", True),
        ("bob", True),
    ]
    again.close()


def test_failures_cost_nothing_and_are_known_since_the_first(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(1_000, 2_000))
    monkeypatch.setattr(module.time, "time", lambda: float(next(now)))
    assert journal.failing_since("ann") is journal.last_call("ann") is None
    journal.fail(opened(journal))
    since = journal.failing_since("ann")
    assert since is not None
    journal.fail(opened(journal))
    assert journal.failing_since("ann") == since
    assert journal.failing_since("bob") is None
    journal.drop(opened(journal))  # a mistake of the client's says nothing about the provider
    assert journal.failing_since("ann") == since
    assert journal.spent("ann") == Spent()
    assert journal.unposted(10) == []
    before = journal.last_call("ann")
    journal.settle(opened(journal), TURN)
    assert journal.failing_since("ann") is None
    after = journal.last_call("ann")
    assert before is not None
    assert after is not None
    assert after > before
    journal.settle(opened(journal), TURN, interrupted=True, failed=True)
    assert journal.failing_since("ann") is not None, "a stream that the provider cut"


def test_everything_is_there_after_the_process_is_gone(path: Path, journal: Journal) -> None:
    journal.begin("ann")
    journal.settle(opened(journal), TURN)
    journal.fail(opened(journal))
    rows, since = journal.unposted(10), journal.failing_since("ann")
    again = Journal(path)
    assert (again.incarnation("ann"), again.unposted(10), again.failing_since("ann")) == (
        1,
        rows,
        since,
    )
    again.close()


FOUR_AT_ONCE = """
import sys, time
from pathlib import Path
from aarlab.gateway.journal import Journal
while time.time() < float(sys.argv[2]): pass
journal = Journal(Path(sys.argv[1]))
for _ in range(25):
    journal.charge("ann", wall_s=1.0, cpu_s=0.0, usd=0.5)
    journal.release("ann")
    print(journal.begin("ann"))
"""


@pytest.mark.process
def test_four_processes_open_a_new_journal_at_the_same_moment(path: Path) -> None:
    """The first opening is the race: switching to the write-ahead log does not wait by itself."""
    argv = [sys.executable, "-c", FOUR_AT_ONCE, str(path), str(time.time() + 1.5)]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    numbers = [
        int(line) for process in running for line in process.communicate(timeout=60)[0].split()
    ]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert sorted(numbers) == list(range(1, 101))
    journal = Journal(path)
    assert journal.spent("ann") == Spent(wall_s=100.0, usd=50.0)
    rows = journal.unposted(1_000)
    assert len({row.id for row in rows}) == len(rows)
    # one row may hold the charges of two processes, and none is in two
    assert sum(row.body["wall_s"] for row in rows) == 100
    journal.close()


def test_threads_share_a_journal(journal: Journal) -> None:
    def work() -> None:
        for _ in range(20):
            journal.settle(opened(journal, usd=0.0), TURN)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.spent("ann") == Spent(tokens=80 * 1_253, usd=20.0)


def test_a_locked_journal_says_try_again_and_is_usable_after(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 0.05)
    impatient = Journal(path)
    with journal._transaction():
        with pytest.raises(Transient, match="Try again"):
            impatient.begin("ann")
        assert impatient.incarnation("ann") == 0, "reading waits for nobody"
    assert impatient.begin("ann") == 1
    impatient.close()


def test_an_error_inside_leaves_nothing_behind(journal: Journal) -> None:
    with pytest.raises(TypeError, match="set"):
        journal.note("campaign", "operator", {"event": {1}})
    assert journal.unposted(10) == []
    assert journal.begin("ann") == 1


def test_a_file_that_is_no_journal_is_the_operators_move(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, whatever it is called" * 100)
    with pytest.raises(Misconfigured, match="cannot be used as the journal"):
        Journal(path)


def test_commits_are_synced_to_the_disk(journal: Journal) -> None:
    assert journal._read("PRAGMA synchronous")[0] == 2
    assert journal._read("PRAGMA journal_mode")[0] == "wal"
