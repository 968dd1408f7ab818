"""The page of actions: what the operator may do to a campaign, and what operators did. Each action
is an entry of its ledger."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.core.hold import holder
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.operator_asks import ask_to_stop, record, running
from aarlab.web.open_campaigns import OpenCampaign
from aarlab.web.shown_text import line

LATEST = 30  # entries of the operator
MOST_MINUTES = 1_000_000.0
Resume = Callable[[str, float | None], str]  # campaign, minutes -> what was said


def actions_page(campaign: OpenCampaign, token: str, done: str) -> dict[str, Any]:
    """What can be done now. `token`: which a form sends back; `done`: what was done just now."""
    settings = campaign.settings()
    happened = []
    if campaign.has_ledger:
        with campaign.book.reading() as book:
            happened = [
                {"entry": e.seq, "at": e.at, "event": e.event, "detail": e.detail}
                for e in reversed(book.happened[-LATEST:])
            ]
    return {
        "title": "Actions",
        "state": line(campaign.standing()),
        "running": holder(campaign.place.lock) is not None,
        "minutes": settings.minutes if settings else None,
        "budget": settings.limits_in_words if settings else "",
        "token": token,
        "done": done,
        "happened": happened,
    }


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
    raise InvalidSubmission(f"There is no action '{line(wanted, 40)}'. There are: stop, resume.")


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
