"""The page of actions: what the operator may do to a campaign, and what operators did. Each action
is an entry of its ledger."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.hold import holder
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.operator_asks import ask_to_stop, record, running
from aarlab.fleet.operator_orders import ASKS, ask_for
from aarlab.fleet.raised_limits import extended, limit_of, names_of_limits
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.shown_text import line

LATEST = 30  # entries of the operator
MOST_MINUTES = 1_000_000.0
Resume = Callable[[str, float | None], str]  # campaign, minutes -> what was said


def actions_page(
    campaign: OpenCampaign, token: str, done: str, finding: str = ""
) -> dict[str, Any]:
    """What can be done now. `token`: which a form sends back; `done`: what was done just now;
    `finding`: of which the link led here."""
    settings = campaign.settings()
    happened: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"paused": None, "hidden": []}
    if campaign.has_ledger:
        with campaign.book.reading() as book:
            happened = [
                {"entry": e.seq, "at": e.at, "event": e.event, "detail": e.detail}
                for e in reversed(book.happened[-LATEST:])
            ]
            asked = {"paused": book.orders.paused, "hidden": list(book.orders.hidden)}
            settings = settings and extended(settings, book.orders)
    return asked | {
        "title": "Actions",
        "state": line(campaign.standing()),
        "running": holder(campaign.place.lock) is not None,
        "minutes": settings.minutes if settings else None,
        "budget": settings.limits_text if settings else "",
        "limits": _limits(settings) if settings else [],
        "researchers": settings.researchers if settings and settings.calls_a_model else 0,
        "finding": finding,
        "token": token,
        "done": done,
        "happened": happened,
    }


def _limits(settings: Campaign) -> list[str]:
    """What can be raised, as it is written."""
    found = {name: limit_of(settings, name) for name in names_of_limits()}
    return [f"{name}={value:g}" for name, value in found.items() if value is not None]


def act(campaign: OpenCampaign, form: Mapping[str, str], token: str, resume: Resume) -> str:
    """Do what a form asks for; what was done, as text.

    Raises:
        Unauthorised: the form is of another session.
        InvalidSubmission, Misconfigured, Transient: it cannot be done; the message says why.
    """
    if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
        raise Unauthorised(
            "This form is of another session. Load the page of actions again and repeat it.",
            forbidden=True,
        )
    wanted = form.get("action")
    if wanted == "stop":
        return _stop(campaign)
    if wanted == "resume":
        return _resume(campaign, form.get("minutes", ""), resume)
    if wanted in ASKS:
        fields = ("researcher", "text", "finding", "snapshot", "limits")
        given = {name: form[name] for name in fields if name in form}
        return line(ask_for(campaign.folder, wanted, given), 500)
    known = ", ".join(["stop", "resume", *ASKS])
    raise InvalidSubmission(f"There is no action '{line(wanted, 40)}'. There are: {known}.")


def _stop(campaign: OpenCampaign) -> str:
    """It is recorded first: what cannot be recorded is not done."""
    running(campaign.folder)
    seq = record(campaign.folder, "asked to stop", "by the operator, on the pages")
    ask_to_stop(campaign.folder)
    return f"The campaign was asked to stop (entry {seq}). It can last a minute."


def _resume(campaign: OpenCampaign, minutes: str, resume: Resume) -> str:
    """The run that is started records that it was resumed, and its limits."""
    settings = campaign.settings()
    if settings is None:
        raise Misconfigured("The settings of this campaign cannot be read. `aar ls` says why.")
    if runs := holder(campaign.place.lock):
        raise Misconfigured(f"The campaign is being run by process {runs}. Stop it first.")
    return line(resume(campaign.name, _minutes(minutes, settings)), 500)


def _minutes(given: str, settings: Campaign) -> float | None:
    """The new wall clock; None where it stays.

    Raises:
        InvalidSubmission: it is no number, or less than before.
    """
    if not given.strip():
        return None
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not settings.minutes <= value <= MOST_MINUTES:
        raise InvalidSubmission(
            f"minutes cannot be '{line(given, 40)}'. Give a number from {settings.minutes:g}, "
            "which is what the campaign had."
        )
    return value
