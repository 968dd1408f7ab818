"""As `run_again`, of a problem in a folder: the code of its report's claims, the baselines beside
them, and those that set-up measured are run and graded again."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation.confirmation_record import (
    ConfirmationRecord,
    TargetResult,
    record_of,
)
from aarlab.evaluation.confirmation.run_order import CodeFailed, NotRun
from aarlab.evaluation.confirmation.unit_gate import UnitOrder
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.graded_units import GradedUnits, graded_units
from aarlab.evaluation.scoring.served_problem import served_problem
from aarlab.fleet.final_runs import FinalRuns, OtherData
from aarlab.programs.reproduce import same
from aarlab.programs.run_again import RanAgain
from aarlab.report.folder_report import FolderReport
from aarlab.runs.grading import Grader
from aarlab.runs.served_folder import ServedFolder, scored_baselines
from aarlab.sandbox.sandbox import MakeSandbox

SAME = 1e-9  # of a unit score
Ran = GradedUnits | CodeFailed | NotRun


class FolderAgain:
    """Runs in the campaign's sandbox; nothing is taken from a cache, and nothing kept."""

    def __init__(
        self, served: ServedFolder, evaluator: Evaluator, home: Home, box: MakeSandbox
    ) -> None:
        self._served, self._evaluator, self._home, self._box = served, evaluator, home, box
        self._scored = served_problem(served.folder)
        self._grader = Grader(served.problem, served.prepared, box)
        self._noisy = served.problem.contract.trials > 1

    def ran(self, report: FolderReport, names: Sequence[str]) -> Iterator[RanAgain]:
        """Of each claim and each baseline to which one of the figures belongs. A claim is run on
        final, on the fresh draw and on ablated data, with the seeds of its confirmation.

        Raises:
            Misconfigured, Transient: grade.py or a baseline fails, or the machine ended a run.
        """
        wanted = {tuple(name.split("/")[:2]) for name in names}
        chosen = [c for c in report.claims if ("claims", str(c.rank)) in wanted]
        fresh = any(o.kind == "fresh" for c in chosen for o in c.others)
        runs = FinalRuns(self._box)
        with OtherData(self._served, self._scored, self._home, runs, fresh=fresh) as others:
            for claim in chosen:
                yield from self._claim(f"claims/{claim.rank}", claim.snapshot, others)
        baselines = [name for name in report.baselines if ("baselines", name) in wanted]
        yield from self._baselines(baselines) if baselines else ()

    def _claim(self, what: str, snapshot: str, others: OtherData) -> Iterator[RanAgain]:
        records = self._records()
        record = [r for r in records if r.snapshot == snapshot][-1]
        final = record.targets[0]
        if not final.predictions:
            return
        order = UnitOrder(
            _drew(record, records), snapshot, self._evaluator.code(snapshot), final.seeds
        )
        runs = FinalRuns(self._box)
        method = runs.method(self._grader, order)
        beside = runs.baselines(self._grader, self._scored, order)
        yield from self._compared(f"{what} on final", final, {"method": method, **beside})
        known = {target.name: target for target in record.targets[1:]}
        for shown in others.runs(order, beside):
            target = known.get(shown.name)
            if target is not None and target.predictions:
                # what is ablated stands beside the baselines on final, which are compared there
                drawn = shown.baselines if shown.kind == "fresh" else {}
                ran = {"method": shown.method, **drawn}
                yield from self._compared(f"{what} on {shown.name}", target, ran)

    def _records(self) -> list[ConfirmationRecord]:
        return [record_of(e) for e in self._evaluator.ledger.each("confirmation")]

    def _compared(
        self, what: str, target: TargetResult, ran: Mapping[str, Ran]
    ) -> Iterator[RanAgain]:
        for name, again in ran.items():
            stored = graded_units(self._evaluator.ledger.blob(target.predictions[name]))
            where = what if name == "method" else f"{name} beside {what}"
            yield self._one(where, stored, again)

    def _one(self, what: str, stored: GradedUnits, again: Ran) -> RanAgain:
        """Unit scores; of a problem whose gradings vary, what was submitted."""
        count = sum(table.size for table in stored.scores.values())
        if not isinstance(again, GradedUnits):
            return RanAgain(what, count, count, again.words, "unit scores")
        if self._noisy:
            other = again.submitted != stored.submitted
            return RanAgain(what, 1, int(other), unit="submissions (their gradings vary)")
        if any(again.scores[k].shape != table.shape for k, table in stored.scores.items()):
            raise Misconfigured(f"{what}: other units are graded now than were then.")
        differing = sum(
            int(np.count_nonzero(np.abs(again.scores[name] - table) > SAME))
            for name, table in stored.scores.items()
        )
        return RanAgain(what, count, differing, unit="unit scores")

    def _baselines(self, names: Sequence[str]) -> Iterator[RanAgain]:
        """The figures that set-up kept; its unit scores were not kept."""
        if self._noisy:
            for name in names:
                yield RanAgain(f"baselines/{name}", 0, 0, unit="figures (their gradings vary)")
            return
        kept = self._served.baselines()
        _, found = scored_baselines(self._served, self._box, lambda *_: None)
        for name in names:
            for split, scores in kept[name].items():
                before, now = (s.model_dump() for s in (scores, found[name][split]))
                pairs = [(before["combined"], now["combined"])]
                pairs += [(level, now["levels"].get(o)) for o, level in before["levels"].items()]
                differing = sum(not same(*pair) for pair in pairs)
                yield RanAgain(
                    f"baselines/{name} on {split}", len(pairs), differing, unit="figures"
                )


def _drew(record: ConfirmationRecord, records: Sequence[ConfirmationRecord]) -> str:
    """The confirmation for which the fresh draw was made: the first of those with its seeds, who
    share it."""
    together = (
        r.id
        for r in records
        if r.targets[0].seeds == record.targets[0].seeds and r.of("fresh") is not None
    )
    return next(together, record.id)
