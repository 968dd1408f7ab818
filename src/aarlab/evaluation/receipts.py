"""A submission that waits, and what is made of its answer: a receipt for its submitter, an entry of
the ledger.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.entries import MeterNote, SubmissionBody
from aarlab.core.records import Diagnostics, Receipt, Released
from aarlab.evaluation.detectors import Submitted
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.scoring.hidden_labels import PgrScale
from aarlab.evaluation.scoring.marking import Handed
from aarlab.evaluation.scoring.meaning import meaning
from aarlab.evaluation.scoring.meter import ReportedAnswer
from aarlab.evaluation.scoring.meter_store import MeterPosition


@dataclass(frozen=True)
class Pending:
    """A valid submission that waits for its answer."""

    who: str
    snapshot: str
    family: str
    handed: Handed

    @property
    def key(self) -> str:
        """The question that it asks of what is hidden."""
        return self.handed.question

    @property
    def whose(self) -> tuple[str, str, str]:
        """What makes two submissions the same."""
        return self.who, self.snapshot, self.key


def receipt_of(
    p: Pending,
    reported: ReportedAnswer,
    found: Diagnostics,
    number: int,
    pgr_scale: PgrScale,
    labels: int,
) -> Receipt:
    """What a submitter gets of submission `number`, among so many independent labels."""
    outlook, certified = reported.outlook, reported.certified
    noise_pgr = round(pgr_scale.pgr_of_difference(found.noise_accuracy), 4)
    receipt = Receipt(
        id=f"r-{number:06d}",
        snapshot=p.snapshot,
        family=p.family,
        improved=reported.answer.improved,
        combined=pgr_scale.combined,
        level_pgr=round(pgr_scale.pgr(reported.answer.level), 4),
        level_accuracy=round(reported.answer.level, 6),
        certified_pgr=None if certified is None else round(pgr_scale.pgr(certified), 4),
        certified_accuracy=None if certified is None else round(certified, 6),
        next_step_accuracy=round(outlook.next_step, 6),
        next_step_pgr=round(pgr_scale.pgr(outlook.next_step), 4),
        price_of_next_yes_bits=None if outlook.price_bits is None else round(outlook.price_bits, 2),
        tier=outlook.tier,
        released=released_of(reported, pgr_scale, labels),
        repeated=reported.repeated,
        diagnostics=found.model_copy(update={"noise_pgr": noise_pgr}),
    )
    return receipt.model_copy(update={"meaning": meaning(receipt, reported.answer, pgr_scale)})


def released_of(reported: ReportedAnswer, pgr_scale: PgrScale, labels: int) -> Released:
    """The bits-released ledger as a record."""
    cap, bound, at_cap = reported.outlook.cap_bits, reported.bound, reported.bound_at_cap
    return Released(
        bits=round(reported.bits, 2),
        cap_bits=None if cap is None else round(cap, 2),
        share_of_labels=round(reported.bits / labels, 4),
        inflation_bound=round(bound, 4),
        inflation_bound_pgr=round(pgr_scale.pgr_of_difference(bound), 4),
        inflation_bound_at_cap=None if at_cap is None else round(at_cap, 4),
        inflation_bound_at_cap_pgr=None
        if at_cap is None
        else round(pgr_scale.pgr_of_difference(at_cap), 4),
        independent_labels=labels,
        verdict_bits=round(reported.verdict_bits, 2),
    )


def draft(
    p: Pending, reported: ReportedAnswer, receipt: Receipt, exact: float, pgr_scale: PgrScale
) -> Draft:
    """The entry of a submission. Its `meter` says where the meter stood then and, of a new answer,
    what the meter has of it: enough to hold the two against each other, and to make a lost meter
    again."""
    body = SubmissionBody(
        snapshot=p.snapshot,
        family=p.family,
        predictions=p.handed.name,
        receipt=receipt,
        exact_accuracy=exact,
        exact_pgr=pgr_scale.pgr_if_gap(exact),
        meter=_note(reported),
    )
    return Draft("submission", p.who, body.plain(), {p.handed.name: p.handed.data})


def _note(reported: ReportedAnswer) -> MeterNote:
    """Where the meter stands, and what it keeps of a new answer beside the verdict."""
    answer = reported.answer
    place = {name: getattr(reported.place, name) for name in MeterPosition.__dataclass_fields__}
    if reported.repeated:
        return MeterNote(**place)
    return MeterNote(
        **place, level=float(answer.level), bits=float(answer.bits), mass=float(answer.mass)
    )


def submitted_by(who: str, receipt: Receipt, answers_SM: NDArray[np.bool_]) -> Submitted:
    """An answered submission as detectors see it."""
    return Submitted(who, receipt.id, receipt.snapshot, answers_SM, receipt.improved)
