"""A score as a page may show it: never without its kind. There is no kind for an exact score."""

from typing import Any, Literal

from aarlab.core.entries import ConfirmationBody
from aarlab.core.records import Receipt, Record

Kind = Literal["reported", "certified", "confirmed", "not confirmed", "baseline"]
MEANING: dict[Kind, str] = {
    "reported": "the level on the policy's grid that the evaluator reported, provisional",
    "certified": "with 95 % confidence, what reached the level is at least this good",
    "confirmed": "from the evaluator's own run on final, rounded before it was released",
    "not confirmed": "from the evaluator's own run on final, rounded; the claim did not hold",
    "baseline": "a known method, measured by the lab on feedback, from the campaign's report",
}


class ShownScore(Record):
    """A score, its kind, and what it is a score in. `lower` and `upper` bound the values that it
    can stand for; None: it has no interval."""

    kind: Kind
    unit: Literal["PGR", "accuracy"]
    value: float
    lower: float | None = None
    upper: float | None = None
    receipt: str | None = None  # where it was reported


def reported(receipt: Receipt) -> dict[str, Any]:
    """The level that a receipt reports."""
    shown = ShownScore(
        kind="reported", unit="PGR", value=round(receipt.level_pgr, 4), receipt=receipt.id
    )
    return shown.model_dump()


def reported_accuracy(receipt: Receipt) -> dict[str, Any]:
    """The same level in accuracy."""
    value = round(receipt.level_accuracy, 4)
    shown = ShownScore(kind="reported", unit="accuracy", value=value, receipt=receipt.id)
    return shown.model_dump()


def certified(receipt: Receipt) -> dict[str, Any] | None:
    """The level that a receipt certifies; None where nothing is certified yet."""
    if receipt.certified_pgr is None:
        return None
    value = round(receipt.certified_pgr, 4)
    shown = ShownScore(kind="certified", unit="PGR", value=value, receipt=receipt.id)
    return shown.model_dump()


def confirmed(body: ConfirmationBody) -> dict[str, Any] | None:
    """The score on final as it was released, with the values that are rounded to it; None where the
    confirmation released none."""
    if body.told_accuracy is None:
        return None
    half = _half_a_step(body)
    shown = ShownScore(
        kind="confirmed" if body.verdict == "confirmed" else "not confirmed",
        unit="accuracy",
        value=body.told_accuracy,
        lower=None if half is None else round(max(0.0, body.told_accuracy - half), 3),
        upper=None if half is None else round(min(1.0, body.told_accuracy + half), 3),
    )
    return shown.model_dump()


def _half_a_step(body: ConfirmationBody) -> float | None:
    """Half of the grid that scores on final are rounded to; it follows from the number of items,
    the only field of the signed record that is read here."""
    for target in body.record.get("targets", ()):
        if target.get("kind") == "final" and (accuracy := target.get("accuracy")):
            return 0.5 / accuracy["n"] ** 0.5
    return None
