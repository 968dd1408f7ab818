"""The page on integrity: what answers have released, to whom; flags; and the signed checkpoints."""

from typing import Any

from aarlab.core.errors import AarError
from aarlab.core.layout import SignedFolder
from aarlab.web import shown_score
from aarlab.web.campaign_book import BookFlag, CampaignBook
from aarlab.web.live_view import released
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.page_query import PageQuery
from aarlab.web.shown_text import line
from aarlab.web.signed_files import newest

ROWS = 50


def integrity_page(campaign: OpenCampaign, query: PageQuery) -> dict[str, Any]:
    """What speaks for and against the campaign's figures."""
    with campaign.book.reading() as book:
        flags, pager = query.paged(book.raised[::-1], ROWS)
        page = {
            "title": "Integrity",
            "released": released(book.released),
            "bits_by": bits_by(book),
            "flags": [_flag(book, raised) for raised in flags],
            "pager": pager,
            "claims": claims(book),
            "detectors_aside": [line(words, 500) for words in book.aside.values()],
            "entries": book.seq,
        }
    return page | {"checkpoint": _checkpoint(campaign.place.checkpoints, page["entries"])}


def bits_by(book: CampaignBook) -> list[dict[str, Any]]:
    """By how much the meter of the label set grew until each submitter's answers, with their
    number. What it held at the first answer is a row of its own: earlier campaigns may share it."""
    bits: dict[str, float] = {}
    before: float | None = None
    for made in book.handed_in:
        now = made.receipt.released.bits
        name = "before and with the first answer" if before is None else made.who
        bits[name] = bits.get(name, 0.0) + max(0.0, now - (before or 0.0))
        before = now
    total = sum(bits.values()) or 1.0
    works = book.by_name
    return [
        {
            "name": line(name),
            "bits": round(found, 3),
            "share": round(found / total, 4),
            "submissions": works[name].experiments if name in works else None,
            "improvements": works[name].improvements if name in works else None,
        }
        for name, found in sorted(bits.items(), key=lambda pair: -pair[1])
    ]


def claims(book: CampaignBook) -> list[dict[str, Any]]:
    """What was reported to the submitter of each claim that was put to confirmation, and what the
    evaluator's own run on final came to, in one unit."""
    found = [(book.submission(s.receipt), s) for s in book.settled.values() if s.score]
    return [
        {
            "receipt": made.receipt.id,
            "researcher": line(made.who),
            "claimed": shown_score.reported_accuracy(made.receipt),
            "final": settled.score,
            "verdict": line(settled.verdict),
        }
        for made, settled in found
        if made is not None and settled.score and settled.score["lower"] is not None
    ]


def _flag(book: CampaignBook, raised: BookFlag) -> dict[str, Any]:
    return {
        "at": raised.at,
        "detector": raised.detector,
        "submitter": raised.submitter,
        "receipts": [{"receipt": r, "known": r in book.place} for r in raised.receipts[:50]],
        "evidence": raised.evidence,
    }


def _checkpoint(folder: SignedFolder, entries: int) -> dict[str, Any]:
    """The newest signed checkpoint, and whether its signature is right. Whether the ledger fits it
    is for `aar ledger verify` to say."""
    try:
        checkpoint, key, count = newest(folder)
    except OSError:
        return {"words": "There are no checkpoints here.", "count": 0}
    except AarError as error:
        return {"words": f"The newest checkpoint cannot be believed: {line(error)}.", "count": None}
    if checkpoint is None:
        return {"words": "No checkpoint has been signed yet.", "count": 0}
    return {
        "words": (
            f"The newest checkpoint is signed, and covers {checkpoint.size:,} of {entries:,} "
            "entries."
        ),
        "count": count,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "origin": line(checkpoint.origin),
        "key": line(str(key)),
    }
