"""The live page as it was after an entry of the ledger: which entry, and the way to others."""

from bisect import bisect_left, bisect_right
from typing import Any

from aarlab.web.campaign_book import CampaignBook
from aarlab.web.page_query import PageQuery


def replay(book: CampaignBook, query: PageQuery) -> dict[str, Any]:
    """After which entry the page is asked for (None: as it is now), and the addresses of others.

    Raises:
        InvalidSubmission: the ledger has no entry of that number.
    """
    at = query.number("at", 0, most=max(1, book.seq)) or None
    here, rises = at or book.seq, [book.handed_in[place].seq for place in book.improved]
    before, after = bisect_left(rises, here), bisect_right(rises, here)

    def link(seq: int | None) -> str | None:
        return None if seq is None or seq == at or not 1 <= seq <= book.seq else query.link(at=seq)

    return {
        "at": at,
        "last": book.seq,
        "links": {
            "first": link(1),
            "previous": link(here - 1),
            "next": link(here + 1),
            "last": None if at is None else link(book.seq),
            "improvement_before": link(rises[before - 1] if before else None),
            "improvement_after": link(rises[after] if after < len(rises) else None),
            "now": None if at is None else query.link(at=None),
        },
    }


def as_shown(row: dict[str, Any], book: CampaignBook) -> dict[str, Any]:
    """A researcher's row with the state that its latest event in the ledger says."""
    events = book.by(row["name"]).events
    last = events[-1] if events else None
    return row | {
        "state": last.event if last else "no event yet",
        "incarnation": last.incarnation if last else None,
    }
