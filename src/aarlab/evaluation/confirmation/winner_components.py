"""What the first confirmed claim scores without one of its components at a time: shown beside its
verdict, and no part of it.

Legend: S seeds, M items of `final`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aarlab.core.errors import InvalidSubmission
from aarlab.core.own_code import this_build
from aarlab.core.records import Measure
from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord, record_of
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.run_order import Ran, Target
from aarlab.evaluation.confirmation.target_grade import GradedTarget, grade_target
from aarlab.evaluation.confirmation.verdict import ALPHA, Bools, paired_effect
from aarlab.evaluation.scoring.packed import unpack

FINAL = "final"


@dataclass(frozen=True)
class Without:
    """A method's code without one component. `name`: of the target; `removed`: what was taken out,
    and what stands in its place."""

    name: str
    removed: str
    files: Mapping[str, str]


class WinnerComponents(Confirmations):
    """The confirmations of one campaign, and what their winner consists of."""

    def winner(self) -> ConfirmationRecord | None:
        """The latest record of the claim that ranks first among those whose verdict is confirmed,
        and stands by all that was tried on `final` until now; None where there is none."""
        records = [record_of(e) for e in self._evaluator.ledger.each("confirmation")]
        latest = {record.snapshot: record for record in records}
        standing = [r for r in latest.values() if self._stands(r)]
        return max(standing, key=lambda record: record.claim.accuracy, default=None)

    def _stands(self, record: ConfirmationRecord) -> bool:
        if record.verdict != "confirmed" or not _whole(record):
            return False
        tried = self.tries.find(self._evaluator.campaign, record.id)
        now, _ = self.tries.adjusted(tried, record.p)
        return now is not None and now < ALPHA

    def code(self, record: ConfirmationRecord) -> Mapping[str, str]:
        """The files that were confirmed."""
        return self._evaluator.code(record.snapshot)

    def add(self, snapshot: str, ran: Sequence[tuple[Without, Ran]]) -> ConfirmationRecord:
        """Sign the latest record of a confirmed snapshot again with what its code scores on `final`
        without components, on the seeds of its confirmation. The verdict and all that it follows
        from stay what they are, and nothing more is charged.

        Raises:
            InvalidSubmission: the snapshot is not confirmed, or a component was taken out already.
        """
        with self._lock:
            before = self.latest(snapshot)
            if before is None or before.verdict != "confirmed" or not _whole(before):
                raise InvalidSubmission(f"{snapshot[:12]} is not confirmed.", snapshot=snapshot)
            names = [t.name for t in before.targets] + [without.name for without, _ in ran]
            if len(set(names)) < len(names):
                raise InvalidSubmission(f"{names}: a component is taken out twice.")
            graded = [self._graded_without(before, *one) for one in ran]
            made = before.model_copy(
                update={
                    "targets": (*before.targets, *(g.result for g in graded)),
                    "ledger_head": self._evaluator.ledger.entries()[-1].hash,
                    "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "build": this_build(),
                }
            )
            self._keep(made, {name: data for g in graded for name, data in g.blobs.items()})
            return made

    def _graded_without(
        self, record: ConfirmationRecord, without: Without, outcome: Ran
    ) -> GradedTarget:
        whole, place = record.of(FINAL), self._evaluator.problem
        assert whole is not None
        target = Target(without.name, "component", place, FINAL)
        graded = grade_target(target, outcome, whole.seeds, whole={})
        about = {"removed": without.removed, "source": this_build().source}
        if graded.answers_SM is not None and graded.truth_M is not None:
            stored = unpack(self._evaluator.ledger.blob(whole.predictions["method"]))
            about["lost"] = lost(stored.answers_SM, graded)
        result = graded.result.model_copy(update=about)
        return GradedTarget(result, graded.blobs, graded.answers_SM, graded.truth_M, graded.units_M)


def lost(whole_SM: Bools, without: GradedTarget) -> Measure:
    """The accuracy of the whole minus that without a component, paired by seed and item."""
    assert without.answers_SM is not None
    assert without.truth_M is not None
    right = (answers_SM == without.truth_M for answers_SM in (whole_SM, without.answers_SM))
    return paired_effect(*right, without.units_M).difference


def _whole(record: ConfirmationRecord) -> bool:
    """Whether the answers of its code on `final` are stored, to which others are compared."""
    final = record.of(FINAL)
    return final is not None and "method" in final.predictions
