"""predictions -> receipt. The one object that holds the labels; everything that leaves it passes a policy.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Entry, Family, Receipt, Released
from aarlab.core.snapshot import canonical
from aarlab.evaluation import metered as _metered  # noqa: F401 - registers the default policies
from aarlab.evaluation.answers import load_answers, load_ruler, load_weak_answers
from aarlab.evaluation.blobs import Blobs
from aarlab.evaluation.detectors import Flag, Submitted, Watch, key_of, read_context
from aarlab.evaluation.diagnostics import Diagnosis
from aarlab.evaluation.grade import Predictions, answer_matrix
from aarlab.evaluation.group import GroupCommit
from aarlab.evaluation.ledger import Draft, open_ledger
from aarlab.evaluation.meter import Meter, Question, Told
from aarlab.evaluation.packed import Packed, question_of, unpack
from aarlab.evaluation.policies import DEFAULT_POLICY, POLICIES
from aarlab.evaluation.snapshots import check_files

SEEDS = 5


@dataclass(frozen=True)
class _Pending:
    """A valid submission that waits for its answer."""

    who: str
    snapshot: str
    family: Family
    seeds: tuple[int, ...]
    answers_SM: NDArray[np.bool_]
    key: str


class Evaluator:
    """The evaluator of one campaign on one problem. Its state is the ledger, the blobs and the label set's meter; a restart
    loses nothing that was told."""

    def __init__(self, problem: Path, campaign: Path, *, policy: str = DEFAULT_POLICY) -> None:
        self.problem, self.campaign, self.folder = problem, campaign.name, campaign / "server"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        _same_problem(self.folder / "problem.txt", problem)
        self.answers = load_answers(problem, "feedback")
        self.ruler = load_ruler(problem)
        self.ids = sorted(self.answers["feedback"])
        self.told_ruler = self.ruler.told(len(self.ids))
        self._truth_M = np.array([self.answers["feedback"][i] == 1 for i in self.ids])
        self.ledger = open_ledger(campaign)
        self.blobs = Blobs(self.folder / "blobs")
        meter = problem / "private" / "meter" / "feedback.sqlite"
        self.meter = Meter(meter, POLICIES[policy], baseline=self.ruler.start, n=len(self.ids))
        self._secret = _secret(self.folder / "secret")
        self._group: GroupCommit[_Pending, Receipt] = GroupCommit(self._answer_all)
        weak_M = load_weak_answers(problem, self._truth_M)
        self._diagnosis = Diagnosis(weak_M, len(self.ids))
        self._submissions = 0
        self._receipts: dict[str, Receipt] = {}  # question -> what was answered in this campaign
        self._snapshots = {e.body["snapshot"] for e in self.ledger.entries("code")}
        context = read_context(problem / "public", self.ids, weak_M, self.code)
        self._watch = Watch(context, (key_of(e.body) for e in self.ledger.entries("flag")))
        flags = self._watch.opening() + [f for e in self.ledger.entries("submission") for f in self._take_up_again(e)]
        self.note_flags(flags)  # of a submission that was recorded when the process ended, say
        self._note_untold()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close ledger and meter."""
        self.ledger.close()
        self.meter.close()

    # --- code ---------------------------------------------------------------------------------------------------------

    def commit_code(self, who: str, files: Mapping[str, str], family: Family) -> dict[str, Any]:
        """Store a snapshot and issue the seeds on which it must be run: {"snapshot", "seeds"}.

        Seeds follow from the code's hash and a secret, so they are known only once the code is fixed, and the same code
        always gets the same ones: seeds cannot be picked.

        Raises:
            InvalidSubmission: these files are no snapshot; see `check_files`.
        """
        check_files(files)
        packed = canonical(files)
        snapshot = self.blobs.put(packed)
        self.ledger.append("code", who, {"snapshot": snapshot, "family": family.value, "bytes": len(packed)})
        self._snapshots.add(snapshot)
        return {"snapshot": snapshot, "seeds": self.seeds("feedback", snapshot)}

    def code(self, snapshot: str) -> dict[str, str]:
        """The files of a snapshot.

        Raises:
            InvalidSubmission: nobody committed it.
        """
        if snapshot not in self._snapshots:
            raise InvalidSubmission(f"There is no snapshot '{snapshot[:80]}'.", snapshot=snapshot[:80])
        return json.loads(self.blobs.get(snapshot))

    def seeds(self, purpose: str, snapshot: str) -> list[int]:
        """The seeds issued for a purpose and a snapshot: functions of both and of this campaign's secret."""

        def seed(number: int) -> int:
            message = f"{purpose}|{snapshot}|{number}".encode()
            return int.from_bytes(hmac.digest(self._secret, message, hashlib.sha256)[:4], "big") >> 1

        return sorted(seed(number) for number in range(SEEDS))

    # --- submissions --------------------------------------------------------------------------------------------------

    def submit(self, who: str, snapshot: str, predictions: Mapping[str, Mapping[str, int] | str], family: Family) -> Receipt:
        """Grade a bundle of answers on the issued seeds and tell what the policy allows. Everything is stored.

        Raises:
            InvalidSubmission: the snapshot was not committed, or the answers do not fit (see `answer_matrix`).
            Transient: the store failed; nothing was told, submit again.
        """
        if snapshot not in self._snapshots:
            raise InvalidSubmission(f"There is no snapshot '{snapshot[:80]}'. Commit the code first; it issues the seeds.")
        seeds = self.seeds("feedback", snapshot)
        answers_SM = answer_matrix(_by_seed(predictions), self.ids, seeds)
        return self._group.do(_Pending(who, snapshot, family, tuple(seeds), answers_SM, question_of("feedback", answers_SM)))

    def _answer_all(self, batch: Sequence[_Pending]) -> list[Receipt]:
        """One commit of the meter, then one of the ledger, for all that wait. Should the process end in between, the meter
        answers the same question the same way when it is asked again."""
        new = {p.key: p for p in batch if p.key not in self._receipts}
        exact = {key: np.count_nonzero(p.answers_SM == self._truth_M) / p.answers_SM.size for key, p in new.items()}
        told = self.meter.tell([Question(key, self.campaign, p.who, exact[key]) for key, p in new.items()])
        receipts = [
            self._receipt(p, t, n) for n, (p, t) in enumerate(zip(new.values(), told, strict=True), self._submissions + 1)
        ]
        self.ledger.append_many([self._draft(p, r, exact[p.key]) for p, r in zip(new.values(), receipts, strict=True)])
        flags = [f for p, r in zip(new.values(), receipts, strict=True) for f in self._take_up(p.who, r, p.answers_SM, p.key)]
        self.note_flags(flags)
        first = {id(p) for p in new.values()}
        return [self._receipts[p.key] if id(p) in first else self._again(p.key) for p in batch]

    def _note_untold(self) -> None:
        """Record which answers the meter has and the ledger has not: the process ended between the two, before it told them."""
        noted = {q for e in self.ledger.entries("campaign") for q in e.body.get("untold", ())}
        if untold := self.meter.asked_by(self.campaign) - self._receipts.keys() - noted:
            self.ledger.append("campaign", "evaluator", {"event": "recovered", "untold": sorted(untold)})

    def _again(self, key: str) -> Receipt:
        return self._receipts[key].model_copy(update={"repeated": True})

    def _draft(self, p: _Pending, receipt: Receipt, exact: float) -> Draft:
        stored = Packed("feedback", p.seeds, p.answers_SM)
        body = {"snapshot": p.snapshot, "family": p.family.value, "predictions": stored.name}
        body |= {"receipt": receipt.model_dump(mode="json"), "exact_accuracy": exact, "exact_pgr": self.ruler.pgr(exact)}
        return Draft("submission", p.who, body, {stored.name: stored.data})

    def _receipt(self, p: _Pending, told: Told, number: int) -> Receipt:
        outlook, certified = told.outlook, told.certified
        return Receipt(
            id=f"r-{number:06d}",
            snapshot=p.snapshot,
            family=p.family,
            improved=told.answer.improved,
            level_pgr=round(self.told_ruler.pgr(told.answer.level), 4),
            level_accuracy=round(told.answer.level, 6),
            certified_pgr=None if certified is None else round(self.told_ruler.pgr(certified), 4),
            certified_accuracy=None if certified is None else round(certified, 6),
            next_step_accuracy=round(outlook.next_step, 6),
            price_of_next_yes_bits=None if outlook.price_bits is None else round(outlook.price_bits, 2),
            tier=outlook.tier,
            released=self.released(told),
            repeated=told.repeated,
            diagnostics=self._diagnosis.of(p.answers_SM),
        )

    def released(self, told: Told) -> Released:
        """The bits-released ledger as a record."""
        n, cap = len(self.ids), told.outlook.cap_bits
        return Released(
            bits=round(told.bits, 2),
            cap_bits=None if cap is None else round(cap, 2),
            share_of_labels=round(told.bits / n, 4),
            inflation_bound=round(told.bound, 4),
        )

    def _take_up_again(self, entry: Entry) -> list[Flag]:
        """Remember a submission of the ledger, as `_take_up`."""
        answers_SM = unpack(self.ledger.blob(entry.body["predictions"])).answers_SM
        receipt = Receipt.model_validate_json(json.dumps(entry.body["receipt"]))
        return self._take_up(entry.who, receipt, answers_SM, question_of("feedback", answers_SM))

    def _take_up(self, who: str, receipt: Receipt, answers_SM: NDArray[np.bool_], key: str) -> list[Flag]:
        """Remember a submission; the flags that it raises."""
        self._receipts[key] = receipt
        self._diagnosis.take_up(answers_SM, improved=receipt.improved)
        self._submissions += 1
        return self._watch.see(Submitted(who, receipt.id, receipt.snapshot, answers_SM, receipt.improved))

    def note_flags(self, flags: Sequence[Flag]) -> None:
        """Record flags. They are the operator's to read; those that use labels nobody else's."""
        self.ledger.append_many([Draft("flag", "evaluator", flag.model_dump(mode="json")) for flag in flags])

    @property
    def level(self) -> float:
        """The told level (accuracy) of the label set."""
        return self.meter.channel.level

    def predictions(self, stored: str) -> dict[int, dict[str, int]]:
        """Stored predictions, by seed and id."""
        packed = unpack(self.ledger.blob(stored))
        ids = sorted(self.answers[packed.split])
        return {
            seed: dict(zip(ids, map(int, row), strict=True)) for seed, row in zip(packed.seeds, packed.answers_SM, strict=True)
        }


def _by_seed(predictions: Mapping[str, Mapping[str, int] | str]) -> Predictions:
    try:
        found = {int(seed): given for seed, given in predictions.items()}
    except ValueError as error:
        raise InvalidSubmission(f"Seeds must be whole numbers, got {sorted(predictions)[:3]}.") from error
    if {str(seed) for seed in found} != set(predictions):  # "7" and "07" would be one
        raise InvalidSubmission(f"Seeds must be written plainly, got {sorted(predictions)[:8]}.")
    return found


def _same_problem(note: Path, problem: Path) -> None:
    """Note which testbed the campaign is on; one that was begun on another goes no further on this."""
    if note.exists() and (begun := Path(note.read_text()).name) != problem.absolute().name:
        raise Misconfigured(
            f"The campaign was begun on {begun}, and its problem or student is now {problem.absolute().name}. Put the preset "
            "or the items back as they were, or give the campaign another name."
        )
    note.write_text(str(problem.absolute()))


def _secret(path: Path) -> bytes:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(secrets.token_bytes(32))
    data = path.read_bytes()
    if len(data) != 32:
        raise Misconfigured(f"{path} is damaged: the issued seeds depend on it. Restore it, or begin a new campaign.")
    return data
