"""The forum: findings, each citation a link to its receipt."""

from typing import Any

from aarlab.web import shown_score
from aarlab.web.campaign_book import BookFinding, CampaignBook
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import block, line

ROWS = 30
KINDS = ("result", "hypothesis", "insight", "error")


def forum_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """One page of findings, the latest first, filtered as the address says."""
    with campaign.book.reading() as book:
        who = list(dict.fromkeys(p.who for p in book.posted))
        families = sorted({p.family for p in book.posted})
        chosen = {
            "researcher": query.choice("researcher", who),
            "family": query.choice("family", families),
            "kind": query.choice("kind", KINDS),
        }
        found = [p for p in reversed(book.posted) if _wanted(p, chosen)]
        shown, pager = query.paged(found, ROWS)
        pages = _pages(book, found)
        rows = [_finding(campaign, book, p, pages) for p in shown]
        since, other_code = book.reads.since, _other_code(book)
    return {
        "title": "Forum",
        "chosen": chosen,
        "choices": {"researcher": who, "family": families, "kind": KINDS},
        "pager": pager,
        "findings": rows,
        "reads_since": since,
        "other_code": other_code,
    }


def _wanted(posted: BookFinding, chosen: dict[str, str]) -> bool:
    return (
        chosen["researcher"] in ("", posted.who)
        and chosen["family"] in ("", posted.family)
        and chosen["kind"] in ("", posted.kind)
    )


def _pages(book: CampaignBook, found: list[BookFinding]) -> dict[str, int]:
    """On which page, without a filter, each finding is that another answers."""
    del found
    last = len(book.posted) - 1
    answered = {p.parent for p in book.posted if p.parent}
    return {p.id: (last - n) // ROWS + 1 for n, p in enumerate(book.posted) if p.id in answered}


def _finding(
    campaign: OpenCampaign, book: CampaignBook, posted: BookFinding, pages: dict[str, int]
) -> dict[str, Any]:
    text = campaign.body(posted.seq).get("text", "")
    return {
        "id": posted.id,
        "at": posted.at,
        "researcher": line(posted.who),
        "kind": posted.kind,
        "title": posted.title,
        "family": posted.family,
        "text": block(text),
        "snapshot": posted.snapshot,
        "parent": posted.parent,
        "parent_page": pages.get(posted.parent or ""),
        "hidden": book.orders.hidden.get(posted.id),
        "read": _read(book, posted),
        "citations": [_citation(book, receipt) for receipt in posted.receipts[:50]],
    }


def _read(book: CampaignBook, posted: BookFinding) -> dict[str, Any]:
    """Who read a finding, and who downloaded its code; `all`: nobody else did, from the start."""
    found = book.reads.of(posted.id)
    code = book.reads.of(posted.snapshot)["downloaded"] if posted.snapshot else []
    return found | {"downloaded": code, "all": book.reads.all_of(posted.seq)}


def _other_code(book: CampaignBook) -> list[dict[str, Any]]:
    """Code that no finding cites and that somebody else downloaded; the latest."""
    cited = {p.snapshot for p in book.posted}
    found = ((what, book.reads.of(what)["downloaded"]) for what in book.reads.readers)
    rows = [{"snapshot": what, "downloaded": who} for what, who in found if who]
    return [row for row in rows if row["snapshot"] not in cited][: -ROWS - 1 : -1]


def _citation(book: CampaignBook, receipt: str) -> dict[str, Any]:
    """A receipt that a finding cites, and what it reported; one that is not known is no link."""
    made = book.submission(receipt)
    return {
        "receipt": receipt,
        "known": made is not None,
        "improved": made and made.receipt.improved,
        "level": shown_score.reported(made.receipt) if made and made.receipt.improved else None,
        "own": made is not None,
    }
