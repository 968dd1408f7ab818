"""What a confirmation says of a submitter beside its verdict: flags, which block nothing.

They use labels, and so are the operator's alone, but for one bit (student-free), which is charged
with the verdict.
"""

from collections.abc import Iterator

from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord, TargetResult
from aarlab.evaluation.confirmation.verdict import GAP_ALPHA
from aarlab.evaluation.detectors.contract import DETECTORS, Flag, Suspicion

STUDENT_FREE, NOT_REPRODUCIBLE, GAP = "student-free", "not reproducible", "feedback above final"


def flags_of(record: ConfirmationRecord) -> list[Flag]:
    """Its flags, at most one of a detector."""
    return list(_flags(record))


def _flags(record: ConfirmationRecord) -> Iterator[Flag]:
    if record.student_free:
        words = "; ".join(map(_remainder, record.remainders))
        yield _flag(
            record, STUDENT_FREE, f"without weak labels and student it still scores {words}"
        )
    if record.verdict == "not reproducible":
        yield _flag(record, NOT_REPRODUCIBLE, "; ".join(record.reasons))
    # one of schema 2 had a wider level
    if (gap := record.gap) is not None and gap.p <= min(gap.alpha, GAP_ALPHA):
        words = (
            f"on fresh seeds the code scores {gap.submitted:.3f} on feedback and {gap.final:.3f} "
            "on final"
        )
        yield _flag(record, GAP, f"{words} (p {gap.p:.2g}, against {gap.alpha:.2g})")


def _remainder(target: TargetResult) -> str:
    assert target.remainder is not None
    left = target.remainder
    share = (
        "" if left.share is None else f", {round(left.share, 2) + 0.0:.0%} of its gain over chance"
    )
    return f"{left.accuracy} on {target.split}{share} (p {left.p:.2g})"


def _flag(record: ConfirmationRecord, detector: str, words: str) -> Flag:
    claim = record.claim
    return DETECTORS[detector].flag(
        Suspicion(claim.researcher, record.snapshot, words, (claim.receipt,))
    )
