"""The board: what was claimed beside what was confirmed."""

from typing import Any

from aarlab.core.records import VERDICTS
from aarlab.web import shown_score
from aarlab.web.campaign_book import BookConfirmation, BookSubmission, CampaignBook
from aarlab.web.csv_table import KeptRow
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import line

ROWS = 50
SHOW = ("claims", "all", "with a verdict")
SORTS = ("verdict", "newest", "oldest", "level", "researcher", "family")
STANDING = {"confirmed": 0, None: 1}  # every other verdict stands last


def board_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """One page of submissions, sorted and filtered as the address says."""
    with campaign.book.reading() as book:
        who = [name for name, mine in book.researchers.items() if mine.submissions]
        families = sorted(set(book.families))
        chosen = {
            "show": query.choice("show", SHOW, "claims"),
            "researcher": query.choice("researcher", who),
            "family": query.choice("family", families),
            "verdict": query.choice("verdict", VERDICTS),
            "sort": query.choice("sort", SORTS, "verdict"),
        }
        found = [m for m in book.handed_in if _wanted(m, book.verdict_on(m), chosen)]
        rows, pager = query.paged(_sorted(found, chosen["sort"], book), ROWS)
        return {
            "title": "Board",
            "chosen": chosen,
            "choices": {
                "show": SHOW,
                "researcher": who,
                "family": families,
                "verdict": VERDICTS,
                "sort": SORTS,
            },
            "sort_links": {name: query.link(sort=name, page=None) for name in SORTS},
            "pager": pager,
            "flags_by": _flags_by(book),
            "rows": [row(book, made) for made in rows],
        }


def _wanted(made: BookSubmission, settled: BookConfirmation | None, chosen: dict[str, str]) -> bool:
    if chosen["show"] == "claims" and not (made.receipt.improved or _claims(made, settled)):
        return False
    if chosen["show"] == "with a verdict" and not _claims(made, settled):
        return False
    return (
        chosen["researcher"] in ("", made.who)
        and chosen["family"] in ("", made.receipt.family)
        and chosen["verdict"] in ("", settled.verdict if settled else None)
    )


def _claims(made: BookSubmission, settled: BookConfirmation | None) -> bool:
    """Whether there is a verdict on it, and it is no repeated answer."""
    return settled is not None and not made.receipt.repeated


def _sorted(found: list[BookSubmission], by: str, book: CampaignBook) -> list[BookSubmission]:
    """By one number or text after another, the last one first: a tuple for each of ten thousand
    would have Python look through all that it holds, every few pages."""
    newest = found[::-1]
    if by == "newest":
        return newest
    if by == "oldest":
        return found
    if by == "researcher":
        return sorted(newest, key=lambda m: m.who)
    if by == "family":
        return sorted(newest, key=lambda m: m.receipt.family)
    best = sorted(newest, key=lambda m: -m.receipt.level_pgr)
    if by == "level":
        return sorted(best, key=lambda m: not m.receipt.improved)
    return sorted(best, key=lambda m: _standing(book.verdict_on(m)))


def _standing(settled: BookConfirmation | None) -> int:
    return STANDING.get(settled.verdict if settled else None, 2)


def row(book: CampaignBook, made: BookSubmission) -> dict[str, Any]:
    """One submission: what was reported of it, and what became of the claim. It is kept, and nobody
    changes it."""
    settled = book.verdict_on(made)
    known = book.board_rows.get(made.receipt.id)
    if known is None or known[0] is not settled:
        known = book.board_rows[made.receipt.id] = settled, KeptRow(_row(made, settled))
    return known[1]


def _row(made: BookSubmission, settled: BookConfirmation | None) -> dict[str, Any]:
    receipt = made.receipt
    return {
        "receipt": receipt.id,
        "at_s": round(made.at_s, 3),
        "researcher": line(made.who),
        "family": receipt.family,
        "improved": receipt.improved,
        "repeated": receipt.repeated,
        "claimed": shown_score.reported(receipt) if receipt.improved else None,
        "certified": shown_score.certified(receipt) if receipt.improved else None,
        "confirmed": settled and settled.score,
        "verdict": settled and settled.verdict,
        "flags": list(settled.flags) if settled else [],
        "snapshot": receipt.snapshot,
    }


def _flags_by(book: CampaignBook) -> dict[str, int]:
    """How many flags name each submitter."""
    return {line(name): work.flags for name, work in book.by_name.items() if work.flags}
