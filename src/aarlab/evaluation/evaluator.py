"""predictions -> receipt. The one object that holds the labels; everything that leaves it passes a policy."""

import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Diagnostics, Entry, Family, Receipt
from aarlab.evaluation.answers import load_answers, load_ruler
from aarlab.evaluation.blobs import Blobs
from aarlab.evaluation.detectors import Submitted, detect
from aarlab.evaluation.grade import Predictions, answer_matrix, grade
from aarlab.evaluation.ledger import Ledger
from aarlab.evaluation.policies import POLICIES, step

SEEDS, MAX_FILES, MAX_BYTES = 5, 50, 1 << 20


class Evaluator:
    """The evaluator of one campaign on one problem. Its state is the ledger and the blobs; a restart loses nothing."""

    def __init__(self, problem: Path, campaign: Path, *, policy: str = "ladder") -> None:
        self.folder = campaign / "server"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.answers = load_answers(problem)
        self.ruler = load_ruler(problem)
        self.policy = POLICIES[policy]
        self.ids = sorted(self.answers["feedback"])
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        self.blobs = Blobs(self.folder / "blobs")
        self._secret = _secret(self.folder / "secret")
        self._lock = threading.Lock()
        self.level = self.policy.start(self.ruler.start, len(self.ids))
        self._history: list[Submitted] = []
        self._receipts: dict[str, Receipt] = {}  # predictions' hash + submitter -> what was answered
        for entry in self.ledger.entries("submission"):
            self._remember(entry)

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *exc: object) -> None:
        self.ledger.close()

    # --- code ---------------------------------------------------------------------------------------------------------

    def commit_code(self, who: str, files: Mapping[str, str], family: Family) -> dict[str, Any]:
        """Store a snapshot and issue the seeds on which it must be run: {"snapshot", "seeds"}.

        Seeds follow from the code's hash and a secret, so they are known only once the code is fixed, and the same code
        always gets the same ones: seeds cannot be picked.

        Raises:
            InvalidSubmission: a path leaves the snapshot, or it is too large.
        """
        _check_files(files)
        packed = json.dumps(dict(sorted(files.items())), separators=(",", ":")).encode()
        snapshot = self.blobs.put(packed)
        self.ledger.append("code", who, {"snapshot": snapshot, "family": family.value, "bytes": len(packed)})
        return {"snapshot": snapshot, "seeds": self._seeds("feedback", snapshot)}

    def code(self, snapshot: str) -> dict[str, str]:
        """The files of a snapshot.

        Raises:
            InvalidSubmission: nobody committed it.
        """
        files = json.loads(self.blobs.get(snapshot))
        if not self._is_code(snapshot):
            raise InvalidSubmission(f"There is no snapshot '{snapshot[:80]}'.", snapshot=snapshot)
        return files

    def _is_code(self, snapshot: str) -> bool:
        return any(e.body["snapshot"] == snapshot for e in self.ledger.entries("code"))

    def _seeds(self, purpose: str, snapshot: str) -> list[int]:
        def seed(number: int) -> int:
            message = f"{purpose}|{snapshot}|{number}".encode()
            return int.from_bytes(hmac.digest(self._secret, message, hashlib.sha256)[:4], "big") >> 1

        return sorted(seed(number) for number in range(SEEDS))

    # --- submissions --------------------------------------------------------------------------------------------------

    def submit(self, who: str, snapshot: str, predictions: Mapping[str, Mapping[str, int]], family: Family) -> Receipt:
        """Grade a bundle of answers on the issued seeds and tell what the policy allows. Everything is stored.

        Raises:
            InvalidSubmission: the snapshot was not committed, or the answers do not fit (see `answer_matrix`).
            Transient: the store failed; nothing was recorded, submit again.
        """
        if not self._is_code(snapshot):
            raise InvalidSubmission(f"There is no snapshot '{snapshot[:80]}'. Commit the code first; it issues the seeds.")
        by_seed = _by_seed(predictions)
        answers_SM = answer_matrix(by_seed, self.ids, self._seeds("feedback", snapshot))
        stored = self._store(by_seed)
        with self._lock:
            if earlier := self._receipts.get(stored):
                return earlier.model_copy(update={"repeated": True})
            return self._answer(who, snapshot, family, answers_SM, stored)

    def _store(self, predictions: Predictions) -> str:
        ordered = {str(seed): dict(sorted(by_id.items())) for seed, by_id in sorted(predictions.items())}
        return self.blobs.put(json.dumps(ordered, separators=(",", ":")).encode())

    def predictions(self, blob: str) -> dict[int, dict[str, int]]:
        """Stored predictions, by seed and id."""
        return {int(seed): by_id for seed, by_id in json.loads(self.blobs.get(blob)).items()}

    def _answer(self, who: str, snapshot: str, family: Family, answers_SM: NDArray[np.bool_], stored: str) -> Receipt:
        truth_M = np.array([self.answers["feedback"][i] == 1 for i in self.ids])
        exact = float((answers_SM == truth_M).mean())
        told = self.policy.tell(exact, self.level, len(self.ids))
        receipt = Receipt(
            id=f"r-{len(self._history) + 1:06d}",
            snapshot=snapshot,
            family=family,
            improved=told.improved,
            level_pgr=round(self.pgr(told.level), 4),
            level_accuracy=round(told.level, 6),
            next_step_accuracy=round(told.level + step(len(self.ids)), 6),
            diagnostics=self._diagnostics(answers_SM),
        )
        body = {"snapshot": snapshot, "family": family.value, "predictions": stored}
        body |= {"receipt": receipt.model_dump(mode="json"), "exact_accuracy": exact, "exact_pgr": self.pgr(exact)}
        self._remember(self.ledger.append("submission", who, body), answers_SM)
        for flag in detect(self._history, self._history[-1]):
            self.ledger.append("flag", "evaluator", flag.model_dump(mode="json"))
        return receipt

    def _remember(self, entry: Entry, answers_SM: NDArray[np.bool_] | None = None) -> None:
        if answers_SM is None:
            by_seed = self.predictions(entry.body["predictions"])
            answers_SM = answer_matrix(by_seed, self.ids, sorted(by_seed))
        receipt = Receipt.model_validate_json(json.dumps(entry.body["receipt"]))
        self._receipts[entry.body["predictions"]] = receipt
        self._history.append(Submitted(entry.who, receipt.id, np.packbits(answers_SM), answers_SM.size, answers_SM.mean()))
        if receipt.improved:
            self.level = receipt.level_accuracy

    def pgr(self, accuracy: float) -> float:
        """An accuracy on `feedback` as PGR against the mean anchors."""
        return performance_gap_recovered(accuracy, weak=self.ruler.weak, ceiling=self.ruler.ceiling)

    def _diagnostics(self, answers_SM: NDArray[np.bool_]) -> Diagnostics:
        """Functions of the submitted answers alone."""
        share = float(answers_SM.mean())
        majority_M = answers_SM.mean(axis=0) > 0.5
        packed = np.packbits(answers_SM)
        nearest = min((s.distance(packed) for s in self._history), default=None)
        warnings = ("Nearly all answers are the same.",) if not 0.03 < share < 0.97 else ()
        return Diagnostics(
            class_share=round(share, 4),
            seed_disagreement=round(float((answers_SM != majority_M).mean()), 4),
            nearest_earlier=None if nearest is None else round(nearest, 4),
            warnings=warnings,
        )

    # --- confirmation (operator) --------------------------------------------------------------------------------------

    def leaders(self, count: int) -> list[str]:
        """The snapshots with the best exact feedback accuracy among the stored submissions, best first."""
        best: dict[str, float] = {}
        for entry in self.ledger.entries("submission"):
            snapshot = entry.body["snapshot"]
            best[snapshot] = max(best.get(snapshot, 0.0), entry.body["exact_accuracy"])
        return sorted(best, key=lambda s: (-best[s], s))[:count]

    def begin_confirmations(self, count: int) -> list[dict[str, Any]]:
        """Issue fresh seeds for the leaders that have no confirmation yet: [{"id", "snapshot", "seeds", "files"}]."""
        settled = {e.body["snapshot"] for e in self.ledger.entries("confirmation")}
        begun = []
        for snapshot in self.leaders(count):
            if snapshot not in settled:
                nonce = secrets.token_hex(8)
                token = f"{snapshot}.{nonce}"
                begun.append(
                    {
                        "id": token,
                        "snapshot": snapshot,
                        "seeds": self._confirmation_seeds(token),
                        "files": self.code(snapshot),
                    }
                )
        return begun

    def _confirmation_seeds(self, token: str) -> list[int]:
        return self._seeds("final", token)

    def confirm(self, token: str, predictions: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
        """Grade the evaluator's own run of a snapshot on `final` and record it.

        Raises:
            InvalidSubmission: the answers do not fit the final items or the issued seeds.
        """
        by_seed, seeds = _by_seed(predictions), self._confirmation_seeds(token)
        correct_SM = grade(by_seed, self.answers["final"], seeds)
        body = {"id": token, "snapshot": token.split(".")[0], "split": "final", "seeds": seeds}
        body |= {"predictions": self._store(by_seed), "exact_accuracy": float(correct_SM.mean())}
        return self.ledger.append("confirmation", "evaluator", body).body

    def confirmation_failed(self, token: str, error: str) -> dict[str, Any]:
        """Record that a snapshot could not be confirmed because its own code failed."""
        body = {"id": token, "snapshot": token.split(".")[0], "split": "final", "error": error[:2000]}
        return self.ledger.append("confirmation", "evaluator", body).body


def _by_seed(predictions: Mapping[str, Mapping[str, int]]) -> dict[int, Mapping[str, int]]:
    try:
        return {int(seed): by_id for seed, by_id in predictions.items()}
    except ValueError as error:
        raise InvalidSubmission(f"Seeds must be whole numbers, got {sorted(predictions)[:3]}.") from error


def _check_files(files: Mapping[str, str]) -> None:
    if not 1 <= len(files) <= MAX_FILES or sum(len(t.encode()) for t in files.values()) > MAX_BYTES:
        raise InvalidSubmission(f"A snapshot has 1 to {MAX_FILES} files and at most {MAX_BYTES} bytes. Make it smaller.")
    for name in files:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or str(path) != name:
            raise InvalidSubmission(f"The path {name[:80]!r} is not a plain relative path. Rename it.", path=name)


def _secret(path: Path) -> bytes:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
    data = path.read_bytes()
    if len(data) != 32:
        raise Misconfigured(f"{path} is damaged: the issued seeds depend on it. Restore it, or begin a new campaign.")
    return data
