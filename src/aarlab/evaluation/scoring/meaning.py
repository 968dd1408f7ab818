"""What "improved" and "no" mean, as text that stands on the receipt: functions of what the receipt
says anyway."""

from functools import partial

from aarlab.core.records import Receipt
from aarlab.evaluation.scoring.hidden_labels import PgrScale
from aarlab.evaluation.scoring.policies import Answer

NO_GAP = (
    "The ceiling is not above the weak accuracy on these items: every PGR on this receipt says "
    "nothing. They are computed on a gap of one standard error, since the operator started all the "
    "same."
)


def meaning(receipt: Receipt, answer: Answer, pgr_scale: PgrScale) -> str:
    """What `improved` says about this submission, and what it does not say.

    `answer`: as the meter keeps it. One that releases no bit and gives up no share of the code was
    the same for every score.
    """
    words = _meaning(receipt, answer, combined=pgr_scale.combined)
    return words if pgr_scale.gap else f"{words} {NO_GAP}"


def _meaning(receipt: Receipt, answer: Answer, *, combined: bool) -> str:
    line_of = partial(_line, combined=combined)
    if receipt.improved:
        line = line_of(receipt.level_accuracy, receipt.level_pgr)
        words = (
            f"The score passed the line at {line}, above the level until then; by how much is not "
            "reported."
        )
    elif answer.bits == answer.mass == 0:
        return (
            "No score would have been reported as an improvement: the bits that may still be "
            "released, of these labels or to this submitter, do not pay for one. The submission is "
            "kept for confirmation."
        )
    elif receipt.repeated:
        words = (
            "The score did not pass the line that stood when these answers were first submitted."
        )
    else:
        line = line_of(receipt.next_step_accuracy, receipt.next_step_pgr)
        words = (
            f"The score did not pass the line at {line}. It is compared with no other submission, "
            "your last one included."
        )
    noise = line_of(receipt.diagnostics.noise_accuracy, receipt.diagnostics.noise_pgr)
    holder = "held the level before" if receipt.improved else "holds the level"
    return (
        f"{words} It is no test against the method that {holder} (at the start, naive): a "
        f"difference from that one below {noise} is within noise."
    )


def _line(accuracy: float, pgr: float | None, *, combined: bool) -> str:
    if combined and pgr is not None:
        return f"score {pgr:.3f}"
    return f"accuracy {accuracy:.4f}" + ("" if pgr is None else f" (PGR {pgr:.3f})")
