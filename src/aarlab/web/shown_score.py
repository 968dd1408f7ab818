"""A score as a page may show it: never without its kind. There is no kind for an exact score."""

import math
from typing import Any, Literal

from aarlab.core.entries import ConfirmationBody
from aarlab.core.records import Receipt, Record
from aarlab.evaluation.confirmation.confirmation_record import reported_step
from aarlab.web.shown_text import line

Kind = Literal["reported", "certified", "confirmed", "not confirmed", "run again", "baseline"]
MEANING: dict[Kind, str] = {
    "reported": "the level on the policy's grid that the evaluator reported, provisional",
    "certified": "with 95 % confidence, what reached the level is at least this good",
    "confirmed": "from the evaluator's own run on final, rounded before it was released",
    "not confirmed": "from the evaluator's own run on final, rounded; the claim did not hold",
    "run again": "from the evaluator's own run on fresh seeds, rounded to two standard errors",
    "baseline": "a known method, measured by the lab on feedback, from the campaign's report",
}


class ShownScore(Record):
    """A score, its kind, and what it is a score in. `lower` and `upper` bound the values that it
    can stand for; None: it has no interval."""

    kind: Kind
    unit: Literal["PGR", "accuracy", "score"]  # score: 0 at a problem's floor, 1 at its ceiling
    value: float
    lower: float | None = None
    upper: float | None = None
    receipt: str | None = None  # where it was reported
    name: str | None = None  # of a baseline


def _plain(shown: ShownScore) -> dict[str, Any]:
    return shown.model_dump(exclude={"name"})


def reported(receipt: Receipt) -> dict[str, Any]:
    """The level that a receipt reports."""
    value = round(receipt.level_pgr, 4)
    shown = ShownScore(kind="reported", unit=_unit(receipt), value=value, receipt=receipt.id)
    return _plain(shown)


def _unit(receipt: Receipt) -> Literal["PGR", "score"]:
    return "score" if receipt.combined else "PGR"


def reported_accuracy(receipt: Receipt) -> dict[str, Any]:
    """The same level in accuracy; a combined score has no other unit."""
    if receipt.combined:
        return reported(receipt)
    value = round(receipt.level_accuracy, 4)
    shown = ShownScore(kind="reported", unit="accuracy", value=value, receipt=receipt.id)
    return _plain(shown)


def certified(receipt: Receipt) -> dict[str, Any] | None:
    """The level that a receipt certifies; None where nothing is certified yet."""
    if receipt.certified_pgr is None:
        return None
    value = round(receipt.certified_pgr, 4)
    shown = ShownScore(kind="certified", unit=_unit(receipt), value=value, receipt=receipt.id)
    return _plain(shown)


def confirmed(body: ConfirmationBody) -> dict[str, Any] | None:
    """The score on final as it was released, with the values that are rounded to it; None where the
    confirmation released none."""
    if body.told_accuracy is None:
        return None
    half = _half_a_step(body)
    shown = ShownScore(
        kind="confirmed" if body.verdict == "confirmed" else "not confirmed",
        unit="score" if _of_folder(body) else "accuracy",
        value=body.told_accuracy,
        lower=None if half is None else round(max(0.0, body.told_accuracy - half), 3),
        upper=None if half is None else round(min(1.0, body.told_accuracy + half), 3),
        receipt=claim_of(body),
    )
    return _plain(shown)


def baseline(name: str, pgr: dict[str, Any], unit: Literal["PGR", "score"] = "PGR") -> ShownScore:
    """A baseline's measure in the report, to two decimals."""
    value, lower, upper = (round(float(pgr[end]), 2) for end in ("estimate", "lower", "upper"))
    return ShownScore(
        kind="baseline", unit=unit, value=value, lower=lower, upper=upper, name=line(name)
    )


def _of_folder(body: ConfirmationBody) -> bool:
    """Whether the record is of a problem in a folder, whose targets have levels by objective."""
    return any(target.get("levels") for target in body.record.get("targets") or ())


def claim_of(body: ConfirmationBody) -> str:
    """The receipt of the claim that was put to confirmation; "" where the record names none."""
    return str((body.record.get("claim") or {}).get("receipt", ""))[:40]


def run_again(target: dict[str, Any], receipt: str) -> dict[str, Any] | None:
    """The score of one target of a signed record, rounded to the grid on which scores on final are
    released, with the values that are rounded to it; None where the target has no result."""
    left = target.get("remainder") or {}
    found = target.get("accuracy") or left.get("accuracy")
    if not found:
        return None
    step = reported_step(found["n"])
    value = round(found["estimate"] / step) * step
    shown = ShownScore(
        kind="run again",
        unit="score" if target.get("levels") else "accuracy",
        value=round(value, 3),
        lower=round(max(0.0, value - step / 2), 3),
        upper=round(min(1.0, value + step / 2), 3),
        receipt=receipt,
    )
    return _plain(shown)


def lost(target: dict[str, Any], receipt: str) -> dict[str, Any] | None:
    """How much more the whole code scores than without a component, rounded as `run_again`; the
    bounds are those of its 95 % interval, rounded outwards. None where it was not measured."""
    found = target.get("lost")
    if not found:
        return None
    step = reported_step(found["n"])
    shown = ShownScore(
        kind="run again",
        unit="accuracy",
        value=round(round(found["estimate"] / step) * step, 3),
        lower=round(math.floor(found["lower"] / step) * step, 3),
        upper=round(math.ceil(found["upper"] / step) * step, 3),
        receipt=receipt,
    )
    return _plain(shown)


def _half_a_step(body: ConfirmationBody) -> float | None:
    """Half of the grid that scores on final are rounded to; it follows from the number of items."""
    for target in body.record.get("targets", ()):
        if target.get("kind") == "final" and (accuracy := target.get("accuracy")):
            return reported_step(accuracy["n"]) / 2
    return None
