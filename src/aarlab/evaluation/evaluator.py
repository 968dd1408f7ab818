"""predictions -> receipt. The one object that holds the labels; everything that leaves it passes a
policy.

Legend: S seeds, M feedback items in the order of their sorted ids.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from aarlab.core.answers import Answers, by_seed
from aarlab.core.entries import CodeBody, EventBody, SubmissionBody
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder, ServerFolder, TestbedFolder
from aarlab.core.own_code import remember, this_build, whole_code
from aarlab.core.records import Entry, Receipt
from aarlab.core.snapshot import canonical
from aarlab.core.store import writable
from aarlab.core.view import View
from aarlab.evaluation import derived
from aarlab.evaluation.agreement import note_unreported, require_agreement
from aarlab.evaluation.campaign_testbed import note_testbed
from aarlab.evaluation.detector_runner import DetectorRunner
from aarlab.evaluation.detectors import (
    DETECTORS,
    Context,
    Flag,
    Watch,
    read_context,
)
from aarlab.evaluation.issued_seeds import IssuedSeeds
from aarlab.evaluation.ledger.drafts import ready
from aarlab.evaluation.ledger.group_commit import GroupCommit
from aarlab.evaluation.ledger.ledger import PAGE, Ledger, open_ledger
from aarlab.evaluation.ledger.places import has_ledger, snapshots_at
from aarlab.evaluation.ledger.repeated_submissions import RepeatedSubmissions
from aarlab.evaluation.ledger.views import Snapshots, flags_of
from aarlab.evaluation.receipts import Pending, draft, receipt_of, submitted_by
from aarlab.evaluation.scoring.grade import answer_matrix
from aarlab.evaluation.scoring.graded_units import GradedUnits
from aarlab.evaluation.scoring.marking import (
    Handed,
    LabelMarking,
    UnitMarking,
    marking_of,
    stored,
)
from aarlab.evaluation.scoring.meter import Meter, MeteredSubmission
from aarlab.evaluation.scoring.packed import Packed, unpack
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY, POLICIES, Policy
from aarlab.evaluation.scoring.tries import tries_of
from aarlab.evaluation.server_hold import hold_server, require_kept
from aarlab.evaluation.snapshot_rules import check_files
from aarlab.evaluation.state_keeper import StateKeeper, StateToKeep

V = TypeVar("V", bound=View)
Bools = NDArray[np.bool_]


class Evaluator:
    """The evaluator of one campaign on one problem. Its state is the ledger, the blobs and the
    label set's meter; a restart loses nothing that was released. One process has it at a time;
    several campaigns may share a label set.

    `read_only`: for who looks on, also while another process serves the campaign; nothing can be
    committed or submitted. `derive_from`: an evaluator that looks on derives what a start would,
    from the ledger alone or from what was kept, and records nothing.

    Raises:
        Misconfigured: another process has it for longer than `wait_s`, or meter and ledger do not
            agree.
    """

    def __init__(
        self,
        problem: Path,
        campaign: Path,
        *,
        policy: str = DEFAULT_POLICY,
        read_only: bool = False,
        derive_from: Literal["ledger", "kept"] | None = None,
        wait_s: float = 0.0,
    ) -> None:
        self._derive_from = derive_from if read_only else "kept"
        self.problem, self.campaign = problem, campaign.name
        self.folder = CampaignFolder(campaign).server.root
        self._hold: Hold | None = None
        with ExitStack() as stack:
            if read_only and not has_ledger(ServerFolder(self.folder).ledger):
                raise Misconfigured(f"The campaign {campaign} has no ledger yet. Run it first.")
            if not read_only:
                self._hold = stack.enter_context(hold_server(campaign, wait_s=wait_s))
                self.folder.chmod(0o700)
            note_testbed(self.folder, problem, note_it=not read_only)
            self._read(problem)
            self._open(stack, campaign, POLICIES[policy], read_only=read_only)
            self._stack = stack.pop_all()

    def _read(self, problem: Path) -> None:
        """What set-up wrote."""
        self.marking = marking_of(problem)
        self.ids, self.units, self.pgr_scale = (
            self.marking.ids,
            self.marking.units,
            self.marking.pgr_scale,
        )

    def _open(self, stack: ExitStack, campaign: Path, policy: Policy, *, read_only: bool) -> None:
        """What was recorded and released; what `stack` closes again."""
        self._context = self._known()
        self._made_by = derived.maker(self._context, self.units)
        kept = None
        if self._derive_from == "kept":
            kept = derived.load(self.folder, self._context, self._made_by)
        self.ledger = (
            Ledger(ServerFolder(self.folder).ledger, read_only=True, known=kept and kept.ledger)
            if read_only
            else open_ledger(campaign, kept and kept.ledger, alone=True)
        )
        stack.callback(self.ledger.close)
        if not self.ledger.resumed:
            kept = None
        require_agreement(self.problem, campaign, kept and kept.ledger)
        stored = TestbedFolder(self.problem).meter
        self.meter = Meter(
            stack.enter_context(writable(stored)) if read_only else stored,
            policy,
            baseline=self.pgr_scale.start,
            n=self.units,
            ends=(self.pgr_scale.weak, self.pgr_scale.ceiling),
            verdicts=tries_of(self.problem).verdict_bits_of_feedback,
        )
        stack.callback(self.meter.close)
        self.blobs = snapshots_at(ServerFolder(self.folder).blobs)
        self._seeds = IssuedSeeds(ServerFolder(self.folder).secret)
        self.detection = DetectorRunner(self.ledger)
        self._group: GroupCommit[Pending, Receipt] = GroupCommit(
            self._answer_all, self.detection.look
        )
        self.state_keeper = StateKeeper(self.folder, self._made_by, self.ledger, self._to_keep)
        self._views: dict[str, View] = {}
        self._kept_views = {} if kept is None else kept.views
        self._snapshots = self.view("snapshots", Snapshots(self.ledger))
        flags = self._derive(kept) if self._derive_from else []
        if not read_only:
            self.detection.begin(flags)
            note_unreported(self.ledger, self.meter.answers_to(self.campaign, self._asked))
            stack.callback(self.state_keeper.keep)

    @property
    def _labels(self) -> LabelMarking | None:
        """How answers to items are marked; None where the problem takes something else."""
        return self.marking if isinstance(self.marking, LabelMarking) else None

    @property
    def answers(self) -> Mapping[str, Mapping[str, int]]:
        """Hidden labels by split and id; {} where the problem has none."""
        return {} if self._labels is None else self._labels.answers

    def _known(self) -> Context:
        """What detectors may know of the problem. They compare answers to items, and are shown no
        other submissions."""
        if self._labels is None:
            return Context(tuple(self.ids), code=self.code)
        public = TestbedFolder(self.problem).public
        return read_context(public, self.ids, self._labels.naive_M, self.code)

    def _derive(self, kept: derived.Derived | None) -> list[Flag]:
        """What follows from the ledger's submissions, as far as it was not kept, for those that
        come; returns the flags that they raise."""
        self._asked = RepeatedSubmissions() if kept is None else kept.asked
        if kept is None:
            self._diagnosis = self.marking.diagnosis()
            known = (flag.key for _, flag in flags_of(self.ledger))
            self.detection.watch = Watch(self._context, known, DETECTORS if self._labels else ())
            flags = self.detection.watch.opening()
        else:
            self._diagnosis, self.detection.watch, flags = kept.diagnosis, kept.watch, []
            self.state_keeper.at = kept.ledger.size
            new = flags_of(self.ledger, after=self.state_keeper.at)
            kept.watch.know(flag.key for _, flag in new)
        entries = self.ledger.each("submission", after=self.state_keeper.at)
        while page := list(islice(entries, PAGE)):
            flags += self._catch_up(page)
        return flags

    def view(self, name: str, made: V) -> V:
        """A view of the ledger that is kept from one process to the next."""
        if (kept := self._kept_views.get(name)) is not None:
            made.resume(kept)
        self._views[name] = made
        return made

    def all_derived(self) -> derived.Derived:
        """All that is derived now."""
        views = {name: view.kept() for name, view in self._views.items()}
        read = self.ledger.read()
        return derived.Derived(read, self._asked, self._diagnosis, self.detection.watch, views)

    def _to_keep(self, at: int) -> StateToKeep | None:
        with self._group.alone():
            if self.ledger.count() == at or not self.detection.settled:
                return None  # a start from it would not show the detectors what they have not seen
            meter, now = self.meter.reached(), self.all_derived()
            return StateToKeep(derived.packed(now, self._context), now.ledger, meter)

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close ledger and meter, and let another process have the campaign."""
        self._stack.close()

    # --- code -------------------------------------------------------------------------------------

    def commit_code(self, who: str, files: Mapping[str, str], family: str) -> dict[str, Any]:
        """Store a snapshot and issue the seeds on which it must be run: {"snapshot", "seeds"}.
        Seeds cannot be picked: see `IssuedSeeds`.

        Raises:
            InvalidSubmission: these files are no snapshot; see `check_files`.
        """
        check_files(files)
        packed = canonical(files)
        snapshot = self.blobs.put(packed)
        committed = CodeBody(snapshot=snapshot, family=family, bytes=len(packed))
        self.ledger.append("code", who, committed.plain())
        return {"snapshot": snapshot, "seeds": self.seeds("feedback", snapshot)}

    def code(self, snapshot: str) -> dict[str, str]:
        """The files of a snapshot; raises InvalidSubmission where nobody committed it."""
        if snapshot not in self._snapshots:
            raise InvalidSubmission(
                f"There is no snapshot '{snapshot[:80]}'.", snapshot=snapshot[:80]
            )
        return json.loads(self.blobs.get(snapshot))

    def seeds(self, purpose: str, snapshot: str) -> list[int]:
        """See `IssuedSeeds`."""
        return self._seeds.of(purpose, snapshot)

    # --- submissions ------------------------------------------------------------------------------

    def submit(self, who: str, snapshot: str, predictions: Answers, family: str) -> Receipt:
        """Grade a bundle of answers on the issued seeds and report what the policy allows.
        Everything is stored.

        Raises:
            InvalidSubmission: see `pending`.
            Transient: the store failed; nothing was released, submit again.
        """
        return self._group.do(self.pending(who, snapshot, predictions, family))

    def pending(self, who: str, snapshot: str, predictions: Answers, family: str) -> Pending:
        """A bundle of answers that can be graded; raises as `checked`."""
        return Pending(
            who, snapshot, family, Packed("feedback", *self.checked(snapshot, predictions))
        )

    def submit_graded(self, who: str, snapshot: str, graded: GradedUnits, family: str) -> Receipt:
        """As `submit`, of what the code of a snapshot submitted to a problem in a folder, graded by
        its grader on the operator's side.

        Raises:
            InvalidSubmission: the unit scores are not those of this problem's feedback on the
                issued seeds.
        """
        if not isinstance(self.marking, UnitMarking):
            raise InvalidSubmission("This problem takes answers to items, and no unit scores.")
        self.marking.require_feedback(graded, len(self.seeds("feedback", snapshot)))
        return self._group.do(Pending(who, snapshot, family, graded))

    def checked(self, snapshot: str, predictions: Answers) -> tuple[tuple[int, ...], Bools]:
        """(issued seeds, answers of shape (seeds, items)); no label is looked at.

        Raises:
            InvalidSubmission: the snapshot was not committed, or the answers do not fit (see
                `answer_matrix`).
        """
        if snapshot not in self._snapshots:
            raise InvalidSubmission(
                f"There is no snapshot '{snapshot[:80]}'. Commit the code first; it issues the "
                "seeds."
            )
        if self._labels is None:
            raise InvalidSubmission(
                "This problem takes code: call submit_code(snapshot, family), then "
                "read_receipt(ticket) until it ran."
            )
        seeds, strings = self.seeds("feedback", snapshot), self._labels.strings
        answers_SM = answer_matrix(by_seed(predictions), self.ids, seeds, strings=strings)
        return tuple(seeds), answers_SM

    def submit_all(
        self, some: Sequence[Pending], report: Callable[[Sequence[Future[Receipt]]], object]
    ) -> None:
        """As `submit`, of many at once. `report` is called with the receipts, or the errors, as
        soon as they are recorded; the detectors look at them afterwards."""
        self._group.do_all(some, report)

    def _answer_all(self, batch: Sequence[Pending]) -> list[Receipt]:
        """One commit of the meter, then one of the ledger, for all that wait.

        Receipts and entries are made before the meter commits: what cannot be made is not charged.
        Should the ledger fail or the process end between the two commits, the answers are charged
        and not given out, and the meter answers the same question the same way, at no further
        charge, when it is asked again.
        """
        if self._hold is not None:
            require_kept(self._hold, self.folder)
        earlier = [self._earlier(pending) for pending in batch]
        new: dict[tuple[str, str, str], Pending] = {}
        for pending, before in zip(batch, earlier, strict=True):
            if before is None:
                new.setdefault(pending.whose, pending)
        receipts, entries = self._record(list(new.values()))
        for pending, receipt, entry in zip(new.values(), receipts, entries, strict=True):
            if self._remember(receipt, pending.who, pending.handed, entry.seq):
                answers_SM = pending.handed.answers_SM
                self.detection.answered(submitted_by(pending.who, receipt, answers_SM))
        made = {
            id(pending): receipt for pending, receipt in zip(new.values(), receipts, strict=True)
        }
        recorded = dict(zip(new, entries, strict=True))
        return [
            made.get(id(pending)) or _again(before or recorded[pending.whose])
            for pending, before in zip(batch, earlier, strict=True)
        ]

    def _record(self, new: Sequence[Pending]) -> tuple[list[Receipt], list[Entry]]:
        """Grade, charge and record submissions that are new."""
        exact = {pending.key: self.marking.exact(pending.handed) for pending in new}
        diagnoses = [self._diagnosis.of(pending.handed.answers_SM) for pending in new]
        # the ledger's own count: what is recorded keeps its number permanently
        first = self.ledger.count("submission") + 1
        asked = [MeteredSubmission(p.key, self.campaign, p.who, exact[p.key]) for p in new]
        receipts, drafts, given = [], [], (self.pgr_scale, self.units.independent)
        with self.meter.answers(asked) as answers:
            found = zip(new, answers, diagnoses, strict=True)
            for number, (pending, answer, diagnosis) in enumerate(found, first):
                receipts.append(receipt_of(pending, answer, diagnosis, number, *given))
                made = draft(pending, answer, receipts[-1], exact[pending.key], self.pgr_scale)
                drafts.append(ready(made))
        return receipts, self.ledger.append_ready(drafts)

    def _earlier(self, p: Pending) -> Entry | None:
        """The entry of the same submission; None where there is none yet."""
        if (seq := self._asked.first(p.key)) is None:
            return None
        (entry,) = self.ledger.entries(after=seq - 1, limit=1)
        if (entry.who, entry.read(SubmissionBody).snapshot) == (p.who, p.snapshot):
            return entry
        if (seq := self._asked.again(p.key, p.who, p.snapshot)) is None:
            return None
        return self.ledger.entries(after=seq - 1, limit=1)[0]

    def _catch_up(self, entries: Sequence[Entry]) -> list[Flag]:
        """Remember submissions of the ledger; the flags that they raise."""
        flags, bodies = [], [entry.read(SubmissionBody) for entry in entries]
        blobs = self.ledger.blobs([body.predictions for body in bodies])
        for entry, body in zip(entries, bodies, strict=True):
            handed = stored(blobs.get(body.predictions) or self.ledger.blob(body.predictions))
            if self._remember(body.receipt, entry.who, handed, entry.seq):
                one = submitted_by(entry.who, body.receipt, handed.answers_SM)
                flags += self.detection.watch.see(one)
        return flags

    def _remember(self, receipt: Receipt, who: str, handed: Handed, seq: int) -> bool:
        """A submission is in the ledger, as entry `seq`. Returns whether its answers are new: the
        same answers by another submitter, or with another snapshot, add no information."""
        if not self._asked.add(handed.question, who, receipt.snapshot, seq):
            return False
        self._diagnosis.add(handed.answers_SM, improved=receipt.improved)
        return True

    def note_build(self, event: str) -> None:
        """Record which aarlab this is; the hashes of its modules are kept in server/code."""
        remember(self.folder, whole_code())
        body = EventBody(event=event, build=this_build(), reads=True)
        self.ledger.append("campaign", "evaluator", body.plain())

    def predictions(self, stored: str) -> dict[int, dict[str, int]]:
        """Stored predictions, by seed and id."""
        packed = unpack(self.ledger.blob(stored))
        return packed.by_id(sorted(self.answers[packed.split]))


def _again(entry: Entry) -> Receipt:
    return entry.read(SubmissionBody).receipt.model_copy(update={"repeated": True})
