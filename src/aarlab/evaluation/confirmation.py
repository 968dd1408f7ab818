"""Confirmation, the release gate: claim -> re-runs on targets that were never queried -> one signed record with one verdict.

Here the re-runs are seeded, graded and recorded; the runs themselves are the fleet's (`aarlab.fleet.confirmation`). A try is
counted with the label set before its seeds are given away, and its answer is charged before it is given.

Legend: S seeds, M items of a target in the order of their sorted ids.
"""

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.intervals import accuracy_measure, pgr_measure
from aarlab.core.records import Entry
from aarlab.evaluation.answers import load_answers
from aarlab.evaluation.confirmation_record import (
    Claim,
    ConfirmationRecord,
    Target,
    TargetResult,
    record_of,
    told_accuracy,
    told_bits,
)
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.grade import answer_matrix
from aarlab.evaluation.ledger import Draft
from aarlab.evaluation.packed import Packed, unpack
from aarlab.evaluation.signed import Signer
from aarlab.evaluation.tries import CAP, Tries, Try
from aarlab.evaluation.verdict import Reproduction, decide, paired_effect, reproduction

Outcome = Mapping[str, Any]  # {"method": by seed, "naive": by seed}, or {"error": words}
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Graded:
    result: TargetResult
    blobs: Mapping[str, bytes]
    reproduction: Reproduction | None = None


class Confirmations:
    """The confirmations of one campaign."""

    def __init__(self, evaluator: Evaluator, *, cap: int = CAP) -> None:
        self._evaluator, self._lock = evaluator, threading.Lock()
        self.tries = Tries(evaluator.problem / "private" / "confirmations" / "final.sqlite", cap=cap)
        self.folder = evaluator.folder.parent / "confirmations"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._signer = Signer(evaluator.folder / "confirmation.key", self.folder / "key.pub")

    # --- what is to be run --------------------------------------------------------------------------------------------

    def leaders(self, count: int) -> list[str]:
        """The snapshots with the best exact feedback accuracy among the stored submissions, best first."""
        best: dict[str, float] = {}
        for entry in self._evaluator.ledger.entries("submission"):
            snapshot = entry.body["snapshot"]
            best[snapshot] = max(best.get(snapshot, 0.0), entry.body["exact_accuracy"])
        return sorted(best, key=lambda s: (-best[s], s))[:count]

    def begin(self, count: int, snapshot: str | None = None) -> list[dict[str, Any]]:
        """What is to be run: [{"id", "snapshot", "files", "targets": [{"name", "kind", "folder", "split", "seeds"}]}].

        For the `count` leaders, or for the snapshot whose hash begins so; without the targets that they were run on already.
        Those begun together share a nonce and so their seeds: naive is run once for all.

        Raises:
            Misconfigured: the label set's budget of confirmations is spent.
            InvalidSubmission: no submission has that snapshot.
        """
        chosen = self.leaders(count) if snapshot is None else [self._named(snapshot)]
        nonce, begun = secrets.token_hex(8), []
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
        found = [s for s in self.leaders(1 << 30) if s.startswith(prefix)]
        if len(found) != 1:
            raise InvalidSubmission(f"{len(found)} submitted snapshots begin with '{prefix[:80]}'. Give one, from the report.")
        return found[0]

    def _seeds(self, tried: Try, target: Target) -> list[int]:
        return self._evaluator.seeds(f"confirm {target.name}", tried.nonce)

    def targets(self) -> list[Target]:
        """Feedback again and `final`, and what the operator wrote to server/targets.json."""
        own = str(self._evaluator.problem)
        always = [Target(name="feedback", kind="feedback", folder=own), Target(name="final", kind="final", folder=own)]
        path = self._evaluator.folder / "targets.json"
        return always + ([Target(**row) for row in json.loads(path.read_text())] if path.exists() else [])

    def _missing(self, snapshot: str) -> list[Target]:
        record = self.latest(snapshot)
        if record is None:
            return self.targets()
        if any(t.failure and t.kind != "transfer" for t in record.targets):
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
            graded = [self._graded(tried, missing[name], outcome, claim) for name, outcome in outcomes.items()]
            record = self._record(tried, claim, graded)
            self.tries.told(tried, p=record.p, verdict=record.verdict, bits=record.bits)
            return self._keep(record, graded)

    def _claim(self, snapshot: str) -> Entry:
        mine = [e for e in self._evaluator.ledger.entries("submission") if e.body["snapshot"] == snapshot]
        return max(mine, key=lambda e: e.body["exact_accuracy"])

    def _graded(self, tried: Try, target: Target, outcome: Outcome, claim: Entry) -> _Graded:
        seeds = tuple(self._seeds(tried, target))
        about = {"name": target.name, "kind": target.kind, "problem": _problem(Path(target.folder)), "seeds": seeds}
        if "error" in outcome:
            return _Graded(TargetResult(**about, failure=str(outcome["error"])[:2000]), {})
        labels = load_answers(Path(target.folder))[target.split]
        ids = sorted(labels)
        truth_M = np.array([labels[i] == 1 for i in ids])
        names = ["method"] if target.kind == "feedback" else ["method", "naive"]
        try:
            answers = {name: answer_matrix(_by_seed(outcome.get(name, {})), ids, seeds) for name in names}
        except InvalidSubmission as error:  # what it answered here is no answer: its code failed
            return _Graded(TargetResult(**about, failure=str(error)[:2000]), {})
        packed = [Packed(target.name, seeds, rows_SM) for rows_SM in answers.values()]
        stored = dict(zip(names, (p.name for p in packed), strict=True))
        figures = _figures(target, {name: rows_SM == truth_M for name, rows_SM in answers.items()})
        result = TargetResult(**about, **figures, predictions=stored)
        again = self._reproduction(claim, answers["method"], truth_M) if target.kind == "feedback" else None
        return _Graded(result, {p.name: p.data for p in packed}, again)

    def _reproduction(self, claim: Entry, again_SM: Bools, truth_M: NDArray[np.bool_]) -> Reproduction:
        submitted_SM = unpack(self._evaluator.ledger.blob(claim.body["predictions"])).answers_SM
        best_of = len({e.body["snapshot"] for e in self._evaluator.ledger.entries("submission")})
        return reproduction(submitted_SM, again_SM, truth_M, best_of=best_of)

    def _record(self, tried: Try, claim: Entry, graded: Sequence[_Graded]) -> ConfirmationRecord:
        before = self.latest(tried.snapshot)
        targets = (*(before.targets if before else ()), *(g.result for g in graded))
        again = next((g.reproduction for g in graded if g.reproduction), before.reproduction if before else None)
        effects = {t.kind: t.effect for t in reversed(targets)}
        p = final.p if (final := effects.get("final")) else None
        p_adjusted, m = self.tries.adjusted(tried, p)
        failed = [t for t in targets if t.failure and t.kind != "transfer"]
        fresh = effects.get("fresh")
        verdict, reasons = decide(again, p_adjusted, fresh.difference.estimate if fresh else None, failed=bool(failed))
        entries = self._evaluator.ledger.entries()
        return ConfirmationRecord(
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
            p=p,
            p_adjusted=p_adjusted,
            m=m,
            verdict=verdict,
            reasons=(*reasons, *(f"{t.name}: {t.failure}" for t in failed)),
            bits=told_bits(len(self._evaluator.answers["final"])),
            ledger_head=entries[-1].hash,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _keep(self, record: ConfirmationRecord, graded: Sequence[_Graded]) -> dict[str, Any]:
        signed = self._signer.sign(record.model_dump(mode="json"))
        body = {"snapshot": record.snapshot, "id": record.id, "verdict": record.verdict, **signed}
        body |= {"told_accuracy": told_accuracy(record, len(self._evaluator.answers["final"]))}
        blobs = {name: data for g in graded for name, data in g.blobs.items()}
        kept = self._evaluator.ledger.append_many([Draft("confirmation", "evaluator", body, blobs)])[0].body
        partial = self.folder / f"{record.snapshot[:12]}.partial"
        partial.write_text(json.dumps(signed, indent=1))
        partial.replace(self.folder / f"{record.snapshot[:12]}.json")
        return kept


def _figures(target: Target, correct: Mapping[str, Bools]) -> dict[str, Any]:
    with np.load(Path(target.folder) / "private" / "anchors.npz") as anchors:
        weak_SM, ceiling_SM = anchors[f"{target.split}_weak_SM"], anchors[f"{target.split}_ceiling_SM"]
    figures: dict[str, Any] = {"accuracy": accuracy_measure(correct["method"])}
    try:
        figures["pgr"] = pgr_measure(correct["method"], weak_SM=weak_SM, ceiling_SM=ceiling_SM)
    except Misconfigured:  # that draw leaves no gap: PGR is unknown there
        figures["pgr"] = None
    if "naive" in correct:
        figures |= {
            "naive": accuracy_measure(correct["naive"]),
            "effect": paired_effect(correct["method"], correct["naive"]),
        }
    return figures


def _problem(folder: Path) -> str:
    card = json.loads((folder / "public" / "problem.json").read_text())
    return f"{card['name']} v{card['version']}, data seed {card['data_seed']}"


def _by_seed(predictions: Mapping[str, Any]) -> dict[int, Any]:
    try:
        return {int(seed): given for seed, given in predictions.items()}
    except ValueError as error:
        raise InvalidSubmission(f"Seeds must be whole numbers, got {sorted(predictions)[:3]}.") from error
