"""Confirmation, the release gate: claim -> re-runs on targets that were never queried -> one signed record with one verdict.

Here the re-runs are seeded, recorded and told; the runs themselves are the fleet's (`aarlab.fleet.confirmation`). A try is
counted with the label set before its seeds are given away, and its answer is charged before it is given.

Legend: S seeds, M items of a target in the order of their sorted ids.
"""

import json
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Entry, validated
from aarlab.evaluation.confirmation_flags import STUDENT_FREE, flags_of
from aarlab.evaluation.confirmation_grade import Graded, Outcome, grade_target
from aarlab.evaluation.confirmation_record import (
    ABLATED,
    DECIDING,
    Claim,
    ConfirmationRecord,
    Target,
    record_of,
    record_path,
    told_accuracy,
    told_bits,
)
from aarlab.evaluation.detectors.contract import Flag, key_of
from aarlab.evaluation.evaluator import SEEDS, Evaluator
from aarlab.evaluation.ledger import Draft
from aarlab.evaluation.packed import unpack
from aarlab.evaluation.signed import Signer
from aarlab.evaluation.tries import CAP, Try, tries_of
from aarlab.evaluation.verdict import VERDICTS, Reproduction, SplitGap, decide, reproduction, split_gap


class Confirmations:
    """The confirmations of one campaign."""

    def __init__(self, evaluator: Evaluator, *, cap: int = CAP) -> None:
        self._evaluator, self._lock = evaluator, threading.Lock()
        self.tries = tries_of(evaluator.problem, cap=cap)
        self.folder = evaluator.folder.parent / "confirmations"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._signer = Signer(evaluator.folder / "confirmation.key", self.folder / "key.pub")

    # --- what is to be run --------------------------------------------------------------------------------------------

    def claims(self) -> dict[str, Entry]:
        """By snapshot, the submission that claims most for it. Only who was the first to commit a snapshot can claim with it:
        others have its code too, and could hand in answers under it that it cannot make."""
        author: dict[str, str] = {}
        for entry in self._evaluator.ledger.entries("code"):
            author.setdefault(entry.body["snapshot"], entry.who)
        best: dict[str, Entry] = {}
        for entry in self._evaluator.ledger.entries("submission"):
            snapshot = entry.body["snapshot"]
            before = best.get(snapshot)
            if entry.who == author.get(snapshot) and (before is None or _exact(entry) > _exact(before)):
                best[snapshot] = entry
        return best

    def leaders(self, count: int) -> list[str]:
        """The snapshots to confirm: the one that holds the told level, then those that were told no improvement, by exact
        feedback accuracy, then earlier holders of the level, the latest first.

        Researchers see verdicts of told improvements only. Which of these are put to confirmation follows from what they know
        already, and so tells them nothing about exact scores; what is chosen by exact score, they do not see.
        """
        claims = self.claims()
        told = [e.body["snapshot"] for e in self._evaluator.ledger.entries("submission") if e.body["receipt"]["improved"]]
        holders = [s for s in dict.fromkeys(reversed(told)) if s in claims]
        rest = sorted(claims.keys() - set(holders), key=lambda s: (-_exact(claims[s]), s))
        return [*holders[:1], *rest, *holders[1:]][:count]

    def begin(self, count: int, snapshot: str | None = None) -> list[dict[str, Any]]:
        """What is to be run: [{"id", "snapshot", "files", "targets": [{"name", "kind", "folder", "split", "seeds"}]}].

        For the `count` leaders, or for the snapshot whose hash begins so; without the targets that they were run on already.
        Those begun together share a nonce and so their seeds: naive is run once for all.

        Raises:
            Misconfigured: the label set's budget of confirmations is spent, or it has no `final`.
            InvalidSubmission: no submission has that snapshot.
        """
        if not self._evaluator.answers["final"]:
            raise Misconfigured(f"{self._evaluator.problem} has no labels under 'final': there is nothing to confirm on.")
        chosen = self.leaders(count) if snapshot is None else [self._named(snapshot)]
        nonce, begun = secrets.token_hex(16), []
        for one in chosen:
            if missing := self._missing(one):
                tried = self.tries.begin(self._evaluator.campaign, one, nonce)
                rows = [
                    {"name": t.name, "kind": t.kind, "folder": t.folder, "split": t.split, "seeds": self._seeds(tried, t)}
                    for t in missing
                ]
                begun.append({"id": tried.token, "snapshot": one, "files": self._evaluator.code(one), "targets": rows})
        return begun

    def _named(self, prefix: str) -> str:
        found = [s for s in self.claims() if s.startswith(prefix)]
        if len(found) != 1:
            raise InvalidSubmission(f"{len(found)} submitted snapshots begin with '{prefix[:80]}'. Give one, from the report.")
        return found[0]

    def _seeds(self, tried: Try, target: Target) -> list[int]:
        return tried.seeds(target.name, SEEDS)

    def targets(self) -> list[Target]:
        """Feedback again and `final`, and what the operator's plan wrote to server/targets.json.

        Raises:
            Misconfigured: that file names a target twice, or stands in for the campaign's own.
        """
        own, path = str(self._evaluator.problem), self._evaluator.folder / "targets.json"
        always = [
            Target(name="feedback", kind="feedback", folder=own, split="feedback"),
            Target(name="final", kind="final", folder=own),
        ]
        rows = json.loads(path.read_text()) if path.exists() else []
        found = always + [validated(Target, row, str(path)) for row in rows]
        if len({t.name for t in found}) < len(found) or any(t.kind in {"feedback", "final"} for t in found[2:]):
            raise Misconfigured(f"{path} names a target twice, or one of its own kind 'feedback' or 'final'. Delete it.")
        if any(t.kind == "fresh" and Path(t.folder).resolve() == Path(own).resolve() for t in found):
            raise Misconfigured(f"{path}: the fresh draw is the campaign's own data. Delete it.")
        return found

    def _missing(self, snapshot: str) -> list[Target]:
        record = self.latest(snapshot)
        if record is None:
            return self.targets()
        if any(t.failure and t.kind in DECIDING for t in record.targets):
            return []  # its own code failed: settled
        done = {t.name for t in record.targets}
        return [t for t in self.targets() if t.name not in done]

    def latest(self, snapshot: str) -> ConfirmationRecord | None:
        """The last record of a snapshot in this campaign."""
        found = [e for e in self._evaluator.ledger.entries("confirmation") if e.body["snapshot"] == snapshot]
        return record_of(found[-1]) if found else None

    # --- what was run -------------------------------------------------------------------------------------------------

    def fail(self, token: str, error: str) -> dict[str, Any]:
        """Record that the snapshot's own code failed on what it was to be run on."""
        missing = self._missing(self.tries.find(self._evaluator.campaign, token).snapshot)
        return self.finish(token, {t.name: {"error": error} for t in missing})

    def finish(self, token: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
        """Grade the runs of a snapshot by target, decide, charge, record and sign; the ledger's body of it.

        Raises:
            InvalidSubmission: nothing was begun under that token, it is settled, or a target is missing or unknown.
        """
        with self._lock:
            tried = self.tries.find(self._evaluator.campaign, token)
            missing = {t.name: t for t in self._missing(tried.snapshot)}
            if not missing or set(outcomes) != set(missing):
                raise InvalidSubmission(f"Outcomes are needed for exactly {sorted(missing)}, got {sorted(outcomes)}.")
            claim = self._claim(tried.snapshot)
            graded = self._graded(tried, missing, outcomes)
            record = self._record(tried, claim, graded)
            self.tries.told(tried, p=record.p, verdict=record.verdict, bits=record.bits)
            for target in missing.values():
                if target.kind == "fresh":  # the verdict says on which side its labels are
                    tries_of(Path(target.folder)).told(tried, p=None, verdict=record.verdict, bits=math.log2(len(VERDICTS)))
            return self._keep(record, graded)

    def _graded(self, tried: Try, missing: Mapping[str, Target], outcomes: Mapping[str, Outcome]) -> list[Graded]:
        """In the order of the targets; ablations last, since they are compared with what is whole."""
        before = self.latest(tried.snapshot)
        found = [t for t in (before.targets if before else ()) if t.kind in {"feedback", "final"} and t.accuracy]
        whole = {t.kind: t.accuracy.estimate for t in found if t.accuracy}
        graded = []
        for target in sorted(missing.values(), key=lambda t: t.kind in ABLATED):
            one = grade_target(target, outcomes[target.name], tuple(self._seeds(tried, target)), whole=whole)
            if target.kind in {"feedback", "final"} and one.result.accuracy:
                whole[target.kind] = one.result.accuracy.estimate
            graded.append(one)
        return graded

    def _claim(self, snapshot: str) -> Entry:
        """What is claimed; once it was judged, it stays that."""
        if before := self.latest(snapshot):
            return next(e for e in self._evaluator.ledger.entries("submission") if e.seq == before.claim.ledger_seq)
        return self.claims()[snapshot]

    def _compared(self, claim: Entry, graded: Sequence[Graded]) -> tuple[Reproduction | None, SplitGap | None]:
        """What was submitted against the re-runs on feedback and on final, each None where there are no answers now."""
        submitted_SM = unpack(self._evaluator.ledger.blob(claim.body["predictions"])).answers_SM
        best_of = len({e.body["snapshot"] for e in self._evaluator.ledger.entries("submission")})
        of = {g.result.kind: (g.answers_SM, g.truth_M) for g in graded if g.answers_SM is not None and g.truth_M is not None}
        again = gap = None
        if "feedback" in of:
            again = reproduction(submitted_SM, *of["feedback"], best_of=best_of)
        if "final" in of:
            answers_SM, truth_M = of["final"]
            gap = split_gap(submitted_SM == self._feedback_M(), answers_SM == truth_M, best_of=best_of)
        return again, gap

    def _feedback_M(self) -> NDArray[np.bool_]:
        labels = self._evaluator.answers["feedback"]
        return np.array([labels[i] == 1 for i in sorted(labels)])

    def _record(self, tried: Try, claim: Entry, graded: Sequence[Graded]) -> ConfirmationRecord:
        before = self.latest(tried.snapshot)
        targets = (*(before.targets if before else ()), *(g.result for g in graded))
        again, gap = self._compared(claim, graded)
        if before:
            again, gap = again or before.reproduction, gap or before.gap
        effects = {t.kind: t.effect for t in reversed(targets)}
        p = final.p if (final := effects.get("final")) else None
        p_adjusted, m = self.tries.adjusted(tried, p)
        failed = [t for t in targets if t.failure and t.kind in DECIDING]
        fresh = effects.get("fresh")
        verdict, reasons = decide(again, p_adjusted, fresh.difference.estimate if fresh else None, failed=bool(failed))
        entries = self._evaluator.ledger.entries()
        made = ConfirmationRecord(
            campaign=self._evaluator.campaign,
            problem=self._evaluator.problem.name,
            snapshot=tried.snapshot,
            id=tried.token,
            claim=Claim(
                receipt=claim.body["receipt"]["id"],
                researcher=claim.who,
                family=claim.body["family"],
                accuracy=claim.body["exact_accuracy"],
                ledger_seq=claim.seq,
            ),
            targets=targets,
            reproduction=again,
            gap=gap,
            p=p,
            p_adjusted=p_adjusted,
            m=m,
            verdict=verdict,
            reasons=(*reasons, *(f"{t.name}: {t.failure}" for t in failed)),
            bits=told_bits(len(self._evaluator.answers["final"])),
            ledger_head=entries[-1].hash,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return made.model_copy(update={"flags": tuple(flag.detector for flag in flags_of(made))})

    def _keep(self, record: ConfirmationRecord, graded: Sequence[Graded]) -> dict[str, Any]:
        signed = self._signer.sign(record.model_dump(mode="json"))
        body = {"snapshot": record.snapshot, "researcher": record.claim.researcher, "id": record.id, "verdict": record.verdict}
        body |= {"told_accuracy": told_accuracy(record, len(self._evaluator.answers["final"]))}
        body |= {"told_flags": [STUDENT_FREE] if record.student_free else [], **signed}
        blobs = {name: data for g in graded for name, data in g.blobs.items()}
        raised = [Draft("flag", "evaluator", flag.model_dump(mode="json")) for flag in self._new(flags_of(record))]
        kept = self._evaluator.ledger.append_many([Draft("confirmation", "evaluator", body, blobs), *raised])[0].body
        path = record_path(self.folder, record.snapshot)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(signed, indent=1))
        partial.replace(path)
        return kept

    def _new(self, flags: Sequence[Flag]) -> list[Flag]:
        """Those that the ledger does not hold yet: a flag is raised once for a snapshot."""
        known = {key_of(e.body) for e in self._evaluator.ledger.entries("flag")}
        return [flag for flag in flags if flag.key not in known]


def _exact(submission: Entry) -> float:
    return submission.body["exact_accuracy"]
