"""The page of one submission: its receipt, why no more was reported, its code, and what changed
since the nearest earlier code of the same researcher."""

from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Receipt
from aarlab.core.snapshot import Files, difference
from aarlab.web import shown_score
from aarlab.web.board_view import row
from aarlab.web.campaign_book import BookSubmission, CampaignBook
from aarlab.web.live_view import released
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.shown_text import block, code, line
from aarlab.web.signed_files import covered

EARLIER = 40  # of a researcher's earlier snapshots, among which the nearest is looked for
MOST_LINES = 4_000  # of code that is compared
MOST_DIFF = 2_000  # lines of a difference that are shown


def receipt_page(campaign: OpenCampaign, receipt: str) -> dict[str, Any]:
    """Everything about one submission that may be shown.

    Raises:
        InvalidSubmission: there is no such receipt (404).
    """
    with campaign.book.reading() as book:
        made = known(book, receipt)
        mine = book.by(made.who).code
        earlier = mine[: mine.index(made.receipt.snapshot)] if _has(mine, made) else []
        page = {
            "title": f"Submission {made.receipt.id}",
            "row": row(book, made),
            "level": shown_score.reported(made.receipt),
            "level_accuracy": shown_score.reported_accuracy(made.receipt),
            "certified": shown_score.certified(made.receipt),
            "meaning": block(made.receipt.meaning or ""),
            "why_no_more": why_no_more(made.receipt),
            "released": released(made.receipt.released),
            "diagnostics": _diagnostics(made.receipt),
            "same_code": _same_code(book, made),
        }
    page |= {"entry": made.seq, "covered": covered(campaign, made.seq)}
    files = campaign.code(made.receipt.snapshot)
    return page | {"code": _shown(files)} | _difference(campaign, files, earlier[-EARLIER:])


def known(book: CampaignBook, receipt: str) -> BookSubmission:
    """The submission that has this receipt.

    Raises:
        InvalidSubmission: there is none (404).
    """
    made = book.submission(receipt)
    if made is None:
        raise InvalidSubmission(
            f"There is no receipt '{line(receipt, 40)}' in this campaign. The board lists "
            "those that there are.",
            absent=True,
        )
    return made


def _has(snapshots: list[str], made: BookSubmission) -> bool:
    return made.receipt.snapshot in snapshots


def step_words(receipt: Receipt) -> str:
    """What the next improvement needs; "" where no score can pass it."""
    pgr = receipt.next_step_pgr
    if receipt.combined:
        return f"score {pgr or 0.0:.2f}"
    if receipt.next_step_accuracy > 1:
        return ""
    return f"accuracy {receipt.next_step_accuracy:.3f}" + (
        "" if pgr is None else f" (PGR {pgr:.2f})"
    )


def why_no_more(receipt: Receipt) -> str:
    """Why the answer says so much and no more, with its step and its price."""
    if receipt.repeated:
        return (
            "The same predictions were submitted before. The answer came from memory and released "
            "nothing new."
        )
    step = step_words(receipt)
    if receipt.price_of_next_yes_bits is None:
        return "The label set is sealed: its cap of bits is spent, and nothing more is reported."
    next_one = (
        f"The next improvement would release {receipt.price_of_next_yes_bits:.2f} bits."
        if step
        else "None can be reported any more: the next step above the level lies above accuracy 1."
    )
    if receipt.improved:
        return (
            "An improvement was reported, on the policy's grid. The exact score stays with the "
            f"evaluator: each digit of it would release bits about the labels. {next_one}"
        )
    if not step:
        return f"No improvement was reported. {next_one}"
    return (
        "No improvement was reported: the score did not pass the next step above the level, "
        f"{step}. How far below it lies is not reported, since that would release bits. {next_one}"
    )


def _diagnostics(receipt: Receipt) -> list[dict[str, Any]]:
    """What a submitter may know about its own predictions: none depends on a hidden label."""
    found = receipt.diagnostics
    noise = f"{found.noise_accuracy:.3f} accuracy"
    if receipt.combined:
        return [{"what": "a smaller difference is noise", "words": f"{found.noise_pgr:.3f} score"}]
    rows = [
        ("answers that are 1", _share(found.class_share)),
        ("items on which a seed differs from the majority", _share(found.seed_disagreement)),
        ("answers that differ from the nearest earlier submission", _share(found.nearest_earlier)),
        ("a smaller difference is noise", noise),
    ]
    shown = [{"what": what, "words": words} for what, words in rows]
    return shown + [{"what": "warning", "words": line(w, 500)} for w in found.warnings]


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _same_code(book: CampaignBook, made: BookSubmission) -> list[str]:
    """Other receipts of the same snapshot, at most fifty."""
    return [
        other.receipt.id
        for other in book.handed_in
        if other.receipt.snapshot == made.receipt.snapshot and other is not made
    ][:50]


# --- code -----------------------------------------------------------------------------------------


def _shown(files: Files | None) -> list[dict[str, Any]] | None:
    if files is None:
        return None
    return [
        {"path": line(path, 200), "lines": text.count("\n") + 1, "text": code(text)}
        for path, text in sorted(files.items())
    ]


def _difference(campaign: OpenCampaign, files: Files | None, earlier: list[str]) -> dict[str, Any]:
    """What changed since the nearest earlier snapshot, line by line."""
    known = [(s, found) for s in earlier if (found := campaign.code(s)) is not None]
    if files is None or not known:
        return {"nearest": None, "difference": None}
    mine = _lines(files)
    nearest, old = max(known, key=lambda one: (_alike(mine, _lines(one[1])), one[0]))
    if max(_count(files), _count(old)) > MOST_LINES:
        words = f"Code of more than {MOST_LINES:,} lines is not compared."
        return {"nearest": nearest, "difference": [{"kind": "note", "text": words}]}
    rows = [_marked(text) for text in difference(old, files)]
    if len(rows) > MOST_DIFF:
        words = f"cut: {len(rows) - MOST_DIFF:,} more lines"
        rows = [*rows[:MOST_DIFF], {"kind": "note", "text": words}]
    return {"nearest": nearest, "difference": rows}


def _lines(files: Files) -> set[str]:
    return {row for text in files.values() for row in text.split("\n") if row.strip()}


def _alike(one: set[str], other: set[str]) -> float:
    return len(one & other) / (len(one | other) or 1)


def _count(files: Files) -> int:
    return sum(text.count("\n") + 1 for text in files.values())


def _marked(text: str) -> dict[str, str]:
    kinds = {"+": "added", "-": "removed", "@": "place"}
    kind = "file" if text.startswith(("+++ ", "--- ")) else kinds.get(text[:1], "same")
    return {"kind": kind, "text": code(text, 4_000)}
