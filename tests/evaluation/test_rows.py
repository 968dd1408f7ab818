"""Rows that a sender numbered are recorded once, however often they are sent, and kept small."""

import sys

import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.views import MOST_GAP, Rows

SPEND = {"wall_s": 600.0, "cpu_s": 1.0, "usd": None}
IDS = ["ab12-000001", "ab12-000002", "ab12-020000", "cd34-000001", "ab12-7", "mine", "x-١٢٣٤٥٦"]


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize("row", [*IDS, f"far-{10**15}"])
def test_a_row_counts_once_by_its_id(ledger, row):
    rows = Rows(ledger)
    first = [rows.append("spend", "ann", SPEND, one) for one in [*IDS, f"far-{10**15}"]]
    assert len({entry.seq for entry in first}) == len(IDS) + 1
    for again in (rows, Rows(ledger)):
        assert again.append("spend", "ann", SPEND, row).body["id"] == row
        assert ledger.count("spend") == len(IDS) + 1
        with pytest.raises(InvalidSubmission, match="says something else"):
            again.append("spend", "bob", SPEND, row)


def test_of_a_row_its_place_alone_is_kept(ledger):
    many = 5_000
    drafts = [Draft("spend", "ann", SPEND | {"id": f"ab12-{n:06d}"}) for n in range(1, many)]
    ledger.append_many(drafts)
    rows = Rows(ledger)
    rows.append("spend", "ann", SPEND, f"ab12-{many:06d}")
    held = sum(map(sys.getsizeof, rows._numbered.values())) + sys.getsizeof(rows._others)
    assert held < 12 * many
    assert many < MOST_GAP
