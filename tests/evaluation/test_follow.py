"""Views of the ledger: what they show is what a reading of the whole ledger would, however the
entries came."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.core.view import View
from aarlab.evaluation.leaderboard import PAGE, Activity, Board
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.views import Receipts
from tests.fleet.fleets import confirmation, submission

SUBMITTED = st.tuples(
    st.just("submission"), st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()
)
SETTLED = st.tuples(
    st.just("confirmation"), st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()
)
SHARED = st.tuples(st.just("finding"), st.sampled_from("ab"), st.just("x"), st.just(False))


def body_of(kind: str, who: str, snapshot: str, good: bool, number: int) -> dict:
    if kind == "confirmation":
        return confirmation(snapshot, who, verdict="confirmed" if good else "not reproducible")
    if kind == "finding":
        return {"kind": "result", "title": "seen", "text": "", "family": "other"}
    return submission(number, improved=good, level=number / 100, family="other", snapshot=snapshot)


@settings(max_examples=25, deadline=None)
@given(st.lists(SUBMITTED | SETTLED | SHARED, max_size=40), st.integers(1, 7))
def test_the_board_is_what_sorting_all_entries_gives(tmp_path_factory, events, every):
    ledger = Ledger(tmp_path_factory.mktemp("board") / "ledger.sqlite")
    board, reported, verdicts = Board(ledger), [], {}
    for number, (kind, who, snapshot, good) in enumerate(events):
        ledger.append(kind, who, body_of(kind, who, snapshot, good, number))
        if kind == "confirmation":
            verdicts[snapshot, who] = good
        elif good:
            reported.append((number, who, snapshot))
        if number % every == 0:
            board.page(0)  # looking in between changes nothing
    order = sorted(
        reported[::-1], key=lambda t: {True: 0, None: 1, False: 2}[verdicts.get((t[2], t[1]))]
    )
    pages = [board.page(n)[0] for n in range(1 + len(order) // PAGE)]
    assert [row.receipt for page in pages for row in page] == [
        f"r-{number:06d}" for number, _, _ in order
    ]
    assert [row.provisional for page in pages for row in page] == [
        verdicts.get((t[2], t[1])) is not True for t in order
    ]
    assert board.page(0)[1] == len(order)
    for who in "ab":
        mine = [e for e in events if e[0] == "submission" and e[1] == who]
        shared = sum(e[0] == "finding" and e[1] == who for e in events)
        expected = (len(mine), sum(e[3] for e in mine), shared, "other" if mine else None)
        assert board.activity(who) == Activity(
            **dict(zip(Activity.model_fields, expected, strict=True))
        )
    ledger.close()


def test_view_reads_entries_of_another_process_once(tmp_path: Path):
    class Numbers(View):
        def __init__(self, ledger: Ledger) -> None:
            super().__init__(ledger)
            self.taken: list[int] = []

        def _take(self, entry) -> None:
            self.taken.append(entry.seq)

        def all(self) -> list[int]:
            with self._current():
                return list(self.taken)

    mine, others = Ledger(tmp_path / "l.sqlite"), Ledger(tmp_path / "l.sqlite")
    view = Numbers(mine)
    for count in range(1, 6):
        (mine if count % 2 else others).append("spend", "a", {"n": count})
        assert view.all() == view.all() == list(range(1, count + 1))
    mine.close()
    others.close()


def test_there_is_no_receipt_that_was_not_given(tmp_path: Path):
    ledger = Ledger(tmp_path / "l.sqlite")
    with pytest.raises(InvalidSubmission, match="no receipt 'r-000001'"):
        Receipts(ledger).get("r-000001")
    ledger.close()
