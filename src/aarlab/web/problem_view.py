"""The page of the campaign's problem: its card, what a researcher reads at the start, how large its
splits are, the policy in numbers, and baselines where they may be shown."""

from typing import Any

from aarlab.core.records import Receipt
from aarlab.web.campaign_book import CampaignBook
from aarlab.web.live_view import level_of, released
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.receipt_view import step_words
from aarlab.web.shown_text import block, line

ENROLLED = "enrolled"  # the event whose detail is the starting prompt of a researcher
KNOWN = ("name", "card", "items")  # fields of the card that have a place of their own
ABOVE_ALL = "no accuracy: the next step lies above 1"
DATA_WORDS = 100_000  # characters of the data's description


def problem_page(campaign: OpenCampaign) -> dict[str, Any]:
    """The problem of a campaign."""
    settings, card = campaign.settings(), campaign.card()
    with campaign.book.reading() as book:
        first = next(_enrolled(book), None)
        last = book.handed_in[-1].receipt if book.handed_in else None
        policy = _policy(last)
        level = level_of(book)
        words = campaign.body(first).get("detail") if first else None
    running = campaign.standing().startswith("running")
    return {
        "title": "Problem",
        "name": line(card.get("name") or (settings.problem if settings else "")),
        "card": block(card.get("card") or ""),
        "has_card": bool(card),
        "facts": _facts(card),
        "items": [{"split": line(s), "items": n} for s, n in (card.get("items") or {}).items()],
        "prompt": block(words, 40_000) if words else None,
        "data": _data_words(campaign),
        "policy_name": line(settings.policy if settings else ""),
        "mode": settings.mode if settings else None,
        "policy": policy,
        "level": level,
        "released": released(last.released) if last else None,
        "baselines": [] if running else [b.model_dump() for b in campaign.baselines()],
    }


def _facts(card: dict[str, Any]) -> list[dict[str, str]]:
    plain = {n: v for n, v in card.items() if n not in KNOWN and isinstance(v, str | int | float)}
    return [
        {"what": line(name.replace("_", " ")), "words": line(_said(v), 1_000)}
        for name, v in plain.items()
    ]


def _said(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _enrolled(book: CampaignBook) -> Any:
    """The entries that hold a researcher's starting prompt, the first researcher's first."""
    return (
        event.seq
        for mine in book.researchers.values()
        for event in mine.events
        if event.event == ENROLLED
    )


def _data_words(campaign: OpenCampaign) -> str | None:
    place = campaign.public()
    if place is None or not place.data_words.is_file():
        return None
    return block(place.data_words.read_text(errors="replace"), DATA_WORDS)


def _policy(receipt: Receipt | None) -> list[dict[str, str]]:
    """What the latest receipt says of the policy. All of it was reported to its submitter."""
    if receipt is None:
        return []
    found, noted = receipt.released, receipt.diagnostics
    unit, noise, bound, at_cap = (
        "accuracy",
        noted.noise_accuracy,
        found.inflation_bound,
        found.inflation_bound_at_cap,
    )
    if receipt.combined:
        unit, noise, bound, at_cap = (
            "score",
            noted.noise_pgr,
            found.inflation_bound_pgr,
            found.inflation_bound_at_cap_pgr,
        )
    rows = (
        ("an improvement is reported from", step_words(receipt) or ABOVE_ALL, "on feedback"),
        ("the next improvement releases at most", _price(receipt), ""),
        (
            "bits that may be released in all",
            _bits(found.cap_bits),
            "then every answer is the same",
        ),
        ("a smaller difference is noise", _plain(noise), unit),
        ("a reported level is too high by at most", _plain(bound), f"{unit}, 95 %"),
        ("the same once the cap is spent", _plain(at_cap), f"{unit}, 95 %"),
        ("labels that count as independent", _plain(found.independent_labels), ""),
    )
    return [{"what": what, "words": words, "note": note} for what, words, note in rows]


def _price(receipt: Receipt) -> str:
    price = receipt.price_of_next_yes_bits
    return "nothing: no further improvement is reported" if price is None else f"{price:.2f} bits"


def _bits(bits: float | None) -> str:
    return "no limit" if bits is None else f"{bits:.2f} bits"


def _plain(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
