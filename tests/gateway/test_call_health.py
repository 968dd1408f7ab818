"""Refused model calls are kept by cause, with their count and words, until a call goes well."""

import pytest

from aarlab.core.budget import Budget
from aarlab.gateway.admission import CallOpened, Reserve
from aarlab.gateway.call_health import MOST_CAUSES, MOST_WORDS, OTHER
from aarlab.gateway.journal import Journal
from aarlab.gateway.journal_rows import Taken

KEY = "anthropic refuses the lab's key or account (401): invalid x-api-key"


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def call(journal: Journal, who: str, *, failed: bool = False) -> None:
    asked = journal.open(who, "m", Reserve(1, 0.0), researcher=Budget(), campaign=Budget())
    assert isinstance(asked, CallOpened)
    journal.settle(asked.call, Taken(1, 0, 0, 1, 0.0), failed=failed)


def test_refusals_that_differ_in_ids_alone_are_one_cause(journal):
    for place in (3, 5, 41):
        words = f"anthropic refuses what was asked (400): messages.{place}: toolu_01A{place}b"
        journal.trouble("ann", "refused", words)
    journal.trouble("bob", "refused", KEY)
    one, other = journal.troubles()
    assert (one.who, one.calls, one.words) == ("ann", 3, words)
    assert (other.who, other.calls, other.words) == ("bob", 1, KEY)


def test_a_refusal_is_open_until_a_call_of_the_same_researcher_goes_well(journal):
    for who in ("ann", "bob"):
        journal.trouble(who, "refused", KEY)
    call(journal, "ann", failed=True)
    assert [t.who for t in journal.troubles()] == ["ann", "bob"]
    call(journal, "ann")
    assert [t.who for t in journal.troubles()] == ["bob"]


def test_a_researcher_cannot_fill_the_journal_with_causes(journal):
    for n in range(3 * MOST_CAUSES):
        journal.trouble("eve", "refused", chr(ord("a") + n % 26) * (n // 26 + 1) + "x" * 1_000)
    found = journal.troubles()
    assert len(found) == MOST_CAUSES + 1
    assert {len(t.words) for t in found} == {MOST_WORDS}
    assert sum(t.calls for t in found if t.cause == OTHER) == 2 * MOST_CAUSES


def test_a_silent_model_api_is_seen_as_failing_without_a_call_that_ends(journal):
    journal.trouble("ann", "failed", "anthropic has sent nothing for 120 s", failing=True)
    assert journal.failing_since("ann") is not None
    call(journal, "ann")
    assert journal.failing_since("ann") is None


def test_a_session_is_another_after_the_incarnation_in_which_it_was_left(journal):
    assert journal.session("ann") == (0, 0)
    assert [journal.begin("ann"), journal.begin("ann")] == [1, 2]
    assert journal.begin_session("ann") == 1
    assert journal.session("ann") == (1, 2)
    journal.begin("ann")
    assert (journal.begin_session("ann"), journal.session("bob")) == (2, (0, 0))
    assert journal.session("ann") == (2, 3)
