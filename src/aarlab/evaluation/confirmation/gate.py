"""Confirmation, the release gate: claim -> re-runs on targets that were never queried -> one signed
record with one verdict.

Here the re-runs are seeded, recorded and reported; the runs themselves are the fleet's
(`aarlab.fleet.confirm`). A try is counted with the label set before its seeds are given away, and
its answer is charged before it is given.

Legend: S seeds, M items of a target in the order of their sorted ids.
"""

import json
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aarlab.core.entries import ConfirmationBody, EventBody, SubmissionBody
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import CampaignFolder, ServerFolder, SignedFolder
from aarlab.core.own_code import remember, this_build, whole_code
from aarlab.core.records import VERDICTS, Entry
from aarlab.evaluation.confirmation.confirmation_record import (
    ABLATED,
    DECIDING,
    ConfirmationRecord,
    TargetResult,
    record_of,
    record_path,
    reported_accuracy,
    reported_bits,
)
from aarlab.evaluation.confirmation.leaders import claim_of, claims, leaders, named
from aarlab.evaluation.confirmation.run_order import (
    NotRun,
    NoVerdict,
    Outcome,
    Ran,
    Run,
    RunOrder,
    Target,
    targets_of,
)
from aarlab.evaluation.confirmation.submitter_flags import STUDENT_FREE, flags_of
from aarlab.evaluation.confirmation.target_grade import (
    GradedTarget,
    compared,
    grade_target,
    run_answers,
)
from aarlab.evaluation.confirmation.verdict import (
    Bools,
    IssuedSeedsRun,
    Reproduction,
    SplitGap,
    decide,
    doubted,
    issued,
)
from aarlab.evaluation.detectors.contract import Flag
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.signed import Signer
from aarlab.evaluation.ledger.views import flags_in
from aarlab.evaluation.scoring.packed import Packed, unpack
from aarlab.evaluation.scoring.tries import CAP, Try, tries_of

COULD_NOT = "could not be run"  # the campaign's event of a confirmation that the machine ended


@dataclass(frozen=True)
class _Given:
    """What was run for a try, and by target's name, why the machine ended the rest."""

    tried: Try
    ran: Sequence[tuple[Target, Ran]]
    not_run: dict[str, str]
    not_decided: bool  # what decides is not known yet


@dataclass(frozen=True)
class _Judged:
    """What the runs of a snapshot say so far."""

    targets: tuple[TargetResult, ...]
    again: Reproduction | None
    gap: SplitGap | None
    p: float | None  # on final, against tuned naive
    # of the targets that decide, those on which the code itself failed
    failed: tuple[TargetResult, ...]
    fresh: float | None  # accuracy over naive on the fresh draw


class Confirmations:
    """The confirmations of one campaign."""

    def __init__(
        self, evaluator: Evaluator, targets: Sequence[Target] = (), *, cap: int = CAP
    ) -> None:
        """`targets`: what is run beside the campaign's own feedback and final.

        Raises:
            Misconfigured: a target has the name of another, or stands in for the campaign's own.
        """
        self._evaluator, self._lock = evaluator, threading.Lock()
        self.targets = targets_of(evaluator.problem, targets)
        self.tries = tries_of(evaluator.problem, cap=cap)
        self.folder = CampaignFolder(evaluator.folder.parent).confirmations.root
        self.folder.mkdir(mode=0o700, exist_ok=True)
        key = ServerFolder(evaluator.folder).confirmation_key
        self._signer = Signer(key, SignedFolder(self.folder).public_key)

    @property
    def final_items(self) -> int:
        """How many items, or units, `final` has."""
        return len(self._evaluator.answers["final"])

    # --- what is to be run ------------------------------------------------------------------------

    def begin(self, count: int, snapshot: str | None = None) -> list[RunOrder]:
        """What is to be run: for the `count` leaders, or for the snapshot whose hash begins so;
        without the targets that they were run on already.

        One that was called not reproducible before the issued seeds were run comes again, for these
        alone if need be. Those begun together share a nonce and so their seeds: naive is run once
        for all.

        Raises:
            Misconfigured: the label set's budget of confirmations is spent, or it has no `final`;
                or no submission has that snapshot.
        """
        if not self.final_items:
            raise Misconfigured(
                f"{self._evaluator.problem} has no labels under 'final': there is nothing to "
                "confirm on."
            )
        ledger = self._evaluator.ledger
        chosen = leaders(ledger, count) if snapshot is None else [named(ledger, snapshot)]
        nonce, begun = secrets.token_hex(16), []
        for one in chosen:
            missing = self._missing(one)
            if missing or self._accused_by_chance(one):
                tried = self.tries.begin(self._evaluator.campaign, one, nonce)
                runs = tuple(Run(target, _seeds(tried, target)) for target in missing)
                begun.append(RunOrder(tried.token, one, self._evaluator.code(one), runs))
        return begun

    def _missing(self, snapshot: str) -> Sequence[Target]:
        record = self.latest(snapshot)
        if record is None:
            return self.targets
        if any(t.failure and t.kind in DECIDING for t in record.targets):
            return []  # its own code failed: settled
        done = {t.name for t in record.targets}
        return [t for t in self.targets if t.name not in done]

    def _accused_by_chance(self, snapshot: str) -> bool:
        """Was it called not reproducible by runs on fresh seeds alone, as before schema 3?"""
        record = self.latest(snapshot)
        return record is not None and record.verdict == "not reproducible" and record.issued is None

    def latest(self, snapshot: str) -> ConfirmationRecord | None:
        """The last record of a snapshot in this campaign."""
        entries = self._evaluator.ledger.entries("confirmation")
        found = [e for e in entries if e.read(ConfirmationBody).snapshot == snapshot]
        return record_of(found[-1]) if found else None

    # --- what was run -----------------------------------------------------------------------------

    def issued_seeds(self, token: str, outcomes: Mapping[str, Outcome]) -> tuple[int, ...] | None:
        """The seeds that were issued for feedback, where the snapshot must be run on them, twice,
        before a verdict: its runs on fresh seeds speak against the claim. Else None.

        Raises:
            InvalidSubmission: see `finish`.
        """
        given = self._given(token, outcomes)
        if given.not_decided:
            return None
        judged = self._judged(given.tried, self._claim(given.tried.snapshot), self._graded(given))
        if not doubted(judged.again, judged.p, failed=bool(judged.failed)):
            return None
        return self._issued(given.tried)

    def finish(
        self, token: str, outcomes: Mapping[str, Outcome], issued: Sequence[Outcome] = ()
    ) -> ConfirmationRecord | NoVerdict:
        """Grade the runs of a snapshot by target, decide, charge, record and sign. `issued`: what
        was run on `issued_seeds`.

        Where the machine ended a run (`NotRun`) on a target that decides, or on the issued seeds,
        there is no verdict, no flag and no charge: only that it could not be run is noted. Another
        target stays missing. Either way the try stays begun, and `begin` gives the same seeds
        again.

        Raises:
            InvalidSubmission: nothing was begun under that token, it is settled, or a target is
                missing or unknown; or the claim is doubted and was not run on the issued seeds.
        """
        with self._lock:
            given = self._given(token, outcomes)
            tried, claim = given.tried, self._claim(given.tried.snapshot)
            lost = [outcome.words for outcome in issued if isinstance(outcome, NotRun)]
            if lost or given.not_decided:
                return self._could_not(
                    tried,
                    claim,
                    given.not_run | ({"feedback, issued seeds": lost[0]} if lost else {}),
                )
            ran_again = [outcome for outcome in issued if not isinstance(outcome, NotRun)]
            graded = self._graded(given)
            record, blobs = self._record(tried, claim, graded, ran_again)
            self.tries.note_answer(tried, p=record.p, verdict=record.verdict, bits=record.bits)
            for target, _ in given.ran:
                if target.kind == "fresh":  # the verdict says on which side its labels are
                    tries_of(target.folder).note_answer(
                        tried, p=None, verdict=record.verdict, bits=math.log2(len(VERDICTS))
                    )
            self._keep(record, {n: data for g in graded for n, data in g.blobs.items()} | blobs)
            if given.not_run:
                self._could_not(tried, claim, given.not_run)
            return record

    def _given(self, token: str, outcomes: Mapping[str, Outcome]) -> _Given:
        tried = self.tries.find(self._evaluator.campaign, token)
        missing = {t.name: t for t in self._missing(tried.snapshot)}
        if not (missing or self._accused_by_chance(tried.snapshot)) or set(outcomes) != set(
            missing
        ):
            raise InvalidSubmission(
                f"Outcomes are needed for exactly {sorted(missing)}, got {sorted(outcomes)}."
            )
        found = [(target, outcomes[name]) for name, target in missing.items()]
        ran = [(target, outcome) for target, outcome in found if not isinstance(outcome, NotRun)]
        not_run = {
            target.name: outcome.words for target, outcome in found if isinstance(outcome, NotRun)
        }
        decides = any(missing[name].kind in DECIDING for name in not_run)
        return _Given(tried, ran, not_run, not_decided=decides or bool(not_run and not ran))

    def _could_not(self, tried: Try, claim: Entry, not_run: Mapping[str, str]) -> NoVerdict:
        """Note that a snapshot could not be run: nobody is accused, nothing is released, and its
        seeds stay what they are."""
        words = "; ".join(f"{name}: {why}" for name, why in not_run.items())
        detail = (
            f"{claim.read(SubmissionBody).receipt.id} of {claim.who}, {tried.snapshot[:12]}: "
            f"{words}"
        )
        body = EventBody(
            event=COULD_NOT,
            detail=detail,
            snapshot=tried.snapshot,
            researcher=claim.who,
            id=tried.token,
        )
        self._evaluator.ledger.append("campaign", "evaluator", body.plain())
        return NoVerdict(tried.token, tried.snapshot, claim.who, not_run)

    def _graded(self, given: _Given) -> list[GradedTarget]:
        """In the order of the targets; ablations last, since they are compared with what is
        whole."""
        before = self.latest(given.tried.snapshot)
        found = [
            t
            for t in (before.targets if before else ())
            if t.kind in {"feedback", "final"} and t.accuracy
        ]
        whole = {t.kind: t.accuracy.estimate for t in found if t.accuracy}
        graded = []
        for target, outcome in sorted(given.ran, key=lambda ran: ran[0].kind in ABLATED):
            one = grade_target(target, outcome, _seeds(given.tried, target), whole=whole)
            if target.kind in {"feedback", "final"} and one.result.accuracy:
                whole[target.kind] = one.result.accuracy.estimate
            graded.append(one)
        return graded

    def _claim(self, snapshot: str) -> Entry:
        """What is claimed; once it was judged, it stays that."""
        if before := self.latest(snapshot):
            return next(
                e
                for e in self._evaluator.ledger.entries("submission")
                if e.seq == before.claim.ledger_seq
            )
        return claims(self._evaluator.ledger)[snapshot]

    def _submitted(self, claim: Entry) -> Bools:
        stored = claim.read(SubmissionBody).predictions
        return unpack(self._evaluator.ledger.blob(stored)).answers_SM

    def _best_of(self) -> int:
        """Among how many snapshots the claim was chosen."""
        submissions = self._evaluator.ledger.entries("submission")
        return len({entry.read(SubmissionBody).snapshot for entry in submissions})

    def _issued(self, tried: Try) -> tuple[int, ...]:
        return tuple(self._evaluator.seeds("feedback", tried.snapshot))

    def _judged(self, tried: Try, claim: Entry, graded: Sequence[GradedTarget]) -> _Judged:
        """What decides, that of an earlier record included."""
        before = self.latest(tried.snapshot)
        ran_now = (g.result.model_copy(update={"source": this_build().source}) for g in graded)
        targets = (*(before.targets if before else ()), *ran_now)
        again, gap = compared(self._submitted(claim), self._best_of(), graded)
        if before:
            again, gap = again or before.reproduction, gap or before.gap
        effects = {t.kind: t.effect for t in reversed(targets)}
        p = final.p if (final := effects.get("final")) else None
        failed = tuple(t for t in targets if t.failure and t.kind in DECIDING)
        fresh = effects.get("fresh")
        return _Judged(targets, again, gap, p, failed, fresh.difference.estimate if fresh else None)

    def _on_issued(
        self, tried: Try, claim: Entry, judged: _Judged, outcomes: Sequence[Ran]
    ) -> tuple[IssuedSeedsRun | None, dict[str, bytes]]:
        """Where the claim is doubted, what was submitted against our runs on the same seeds, and
        the answers of these."""
        before = self.latest(tried.snapshot)
        if not doubted(judged.again, judged.p, failed=bool(judged.failed)):
            return None, {}
        if not outcomes:
            if before is None or before.issued is None:
                words = (
                    f"The claim of {tried.snapshot[:12]} is doubted: run it on the issued seeds "
                    "(see issued_seeds)."
                )
                raise InvalidSubmission(words)
            return before.issued, {}
        seeds = self._issued(tried)
        runs = [run_answers(outcome, self._evaluator.ids, seeds) for outcome in outcomes]
        packed = [Packed("feedback", seeds, run) for run in runs if not isinstance(run, tuple)]
        names = tuple(p.name for p in packed)
        found = issued(seeds, self._submitted(claim), runs).model_copy(
            update={"predictions": names}
        )
        return found, {p.name: p.data for p in packed}

    def _record(
        self, tried: Try, claim: Entry, graded: Sequence[GradedTarget], on_issued: Sequence[Ran]
    ) -> tuple[ConfirmationRecord, dict[str, bytes]]:
        """The record, and the answers on the issued seeds that it names."""
        judged = self._judged(tried, claim, graded)
        again, p = judged.again, judged.p
        p_adjusted, m = self.tries.adjusted(tried, p)
        found, blobs = self._on_issued(tried, claim, judged, on_issued)
        verdict, reasons = decide(
            again, p_adjusted, judged.fresh, failed=bool(judged.failed), on_issued=found
        )
        entries = self._evaluator.ledger.entries()
        made = ConfirmationRecord(
            campaign=self._evaluator.campaign,
            problem=self._evaluator.problem.name,
            snapshot=tried.snapshot,
            id=tried.token,
            claim=claim_of(claim),
            targets=judged.targets,
            reproduction=again,
            issued=found,
            gap=judged.gap,
            p=p,
            p_adjusted=p_adjusted,
            m=m,
            verdict=verdict,
            reasons=(*reasons, *(f"{t.name}: {t.failure}" for t in judged.failed)),
            bits=reported_bits(self.final_items),
            build=this_build(),
            ledger_head=entries[-1].hash,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        flags = tuple(flag.detector for flag in flags_of(made))
        return made.model_copy(update={"flags": flags}), blobs

    def _keep(self, record: ConfirmationRecord, blobs: Mapping[str, bytes]) -> None:
        remember(self._evaluator.folder, whole_code())
        signed = self._signer.sign(record.model_dump(mode="json"))
        body = ConfirmationBody(
            snapshot=record.snapshot,
            researcher=record.claim.researcher,
            id=record.id,
            verdict=record.verdict,
            told_accuracy=reported_accuracy(record, self.final_items),
            told_flags=(STUDENT_FREE,) if record.student_free else (),
            raised=self._new(flags_of(record)),
            **signed,
        )
        self._evaluator.ledger.append_many(
            [Draft("confirmation", "evaluator", body.plain(), dict(blobs))]
        )
        write_whole(record_path(self.folder, record.snapshot), json.dumps(signed, indent=1))

    def _new(self, flags: Sequence[Flag]) -> tuple[Flag, ...]:
        """Those that the ledger does not hold yet: a flag is raised once for a snapshot."""
        known = {flag.key for _, flag in flags_in(self._evaluator.ledger.entries())}
        return tuple(flag for flag in flags if flag.key not in known)


def _seeds(tried: Try, target: Target) -> tuple[int, ...]:
    return tuple(tried.seeds(target.name, target.seeds))
