"""Confirmation of claims on a problem in a folder: what the code of a snapshot submits on fresh
seeds to `final`, graded by the author's grader, beside the best baseline on the same seeds.

The code that is judged is the code that was run for the claim, by us: there is no hand-made
submission that it must reproduce.

Legend: S seeds, M units of `final`, C clusters.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import unit_numbers
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.own_code import this_build
from aarlab.core.records import Verdict
from aarlab.core.sign_flip import sign_flip_p_of_reals
from aarlab.evaluation.confirmation.confirmation_record import (
    ConfirmationRecord,
    TargetResult,
    reported_bits,
)
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.leaders import claim_of, leaders, named
from aarlab.evaluation.confirmation.run_order import CodeFailed, NotRun, NoVerdict
from aarlab.evaluation.confirmation.submitter_flags import flags_of
from aarlab.evaluation.confirmation.verdict import ALPHA, Effect
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.issued_seeds import SEEDS
from aarlab.evaluation.scoring.graded_units import GradedUnits, graded_units
from aarlab.evaluation.scoring.marking import UnitMarking
from aarlab.evaluation.scoring.served_problem import ServedProblem
from aarlab.evaluation.scoring.tries import Try
from aarlab.evaluation.scoring.unit_scores import Measured, Scale

FINAL = "final"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class UnitOrder:
    """A snapshot that is to be run on `final`, and on which seeds. `token` names the confirmation
    to `UnitConfirmations.finish`."""

    token: str
    snapshot: str
    files: Mapping[str, str]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class ShownRun:
    """A run on other data, to be shown beside the verdict: `fresh`, drawn again, with units of its
    own (each with its cluster), or `ablated`. `method` has the words of why there is no score."""

    name: str
    kind: Literal["fresh", "ablated"]
    problem: str  # the data, as text
    units: Mapping[str, str]
    method: GradedUnits | CodeFailed | NotRun
    baselines: Mapping[str, GradedUnits]


class UnitConfirmations(Confirmations):
    """The confirmations of one campaign on a problem in a folder."""

    def __init__(self, evaluator: Evaluator) -> None:
        """Raises Misconfigured where the campaign is on no such problem."""
        if not isinstance(evaluator.marking, UnitMarking):
            raise Misconfigured(
                f"{evaluator.problem} is no problem in a folder. Use Confirmations."
            )
        super().__init__(evaluator)
        self.problem: ServedProblem = evaluator.marking.problem

    @property
    def final_items(self) -> int:
        """See `Confirmations`."""
        return len(self.problem.units[FINAL])

    def orders(self, count: int, snapshot: str | None = None) -> list[UnitOrder]:
        """What is to be run: the `count` leaders, or the snapshot whose hash begins so, unless it
        was confirmed or refuted. Those begun together share their seeds.

        Raises:
            Misconfigured: the label set's budget of confirmations is spent, or no submission has
                that snapshot.
        """
        ledger = self._evaluator.ledger
        chosen = leaders(ledger, count) if snapshot is None else [named(ledger, snapshot)]
        nonce, found = secrets.token_hex(16), []
        for one in chosen:
            if self.latest(one) is None:
                tried = self.tries.begin(self._evaluator.campaign, one, nonce)
                seeds = tuple(tried.seeds(FINAL, SEEDS))
                found.append(UnitOrder(tried.token, one, self._evaluator.code(one), seeds))
        return found

    def settle(
        self,
        token: str,
        method: GradedUnits | CodeFailed | NotRun,
        baselines: Mapping[str, GradedUnits],
        shown: Sequence[ShownRun] = (),
    ) -> ConfirmationRecord | NoVerdict:
        """Decide, charge, record and sign. A run that the machine ended is no verdict: the try
        stays begun, with the same seeds. What is `shown` decides nothing.

        Raises:
            InvalidSubmission: nothing was begun under that token, it is settled, or what was run is
                not of these seeds.
        """
        with self._lock:
            tried = self.tries.find(self._evaluator.campaign, token)
            claim = self._claim(tried.snapshot)
            if self.latest(tried.snapshot) is not None:
                raise InvalidSubmission(f"'{token[:100]}' is settled.", token=token[:100])
            if isinstance(method, NotRun):
                return self._could_not(tried, claim, {FINAL: method.words})
            record, blobs = self._unit_record(tried, method, baselines, shown)
            self.tries.note_answer(tried, p=record.p, verdict=record.verdict, bits=record.bits)
            self._keep(record, blobs)
            return record

    def _unit_record(
        self,
        tried: Try,
        method: GradedUnits | CodeFailed,
        baselines: Mapping[str, GradedUnits],
        shown: Sequence[ShownRun],
    ) -> tuple[ConfirmationRecord, dict[str, bytes]]:
        p, blobs = None, {}
        if isinstance(method, CodeFailed):
            target = self._target(tried, failure=method.words[:2000])
        else:
            found = OnFinal(self.problem, method, baselines)
            target, p = self._target(tried, **found.figures), found.effect.p
            blobs = {g.name: g.data for g in (method, *baselines.values())}
        beside = [self._beside(tried, one) for one in shown]
        for one, its in zip(shown, beside, strict=True):
            stored = (one.method, *one.baselines.values()) if its.predictions else ()
            blobs |= {g.name: g.data for g in stored if isinstance(g, GradedUnits)}
            if its.units is not None:
                blobs[its.units] = _numbered(one.units)
        p_adjusted, m = self.tries.adjusted(tried, p)
        verdict, reasons = decided(target, p_adjusted)
        made = ConfirmationRecord(
            campaign=self._evaluator.campaign,
            problem=self._evaluator.problem.name,
            snapshot=tried.snapshot,
            id=tried.token,
            claim=claim_of(self._claim(tried.snapshot)),
            targets=(target, *beside),
            reproduction=None,
            p=p,
            p_adjusted=p_adjusted,
            m=m,
            verdict=verdict,
            reasons=reasons,
            bits=reported_bits(self.final_items),
            build=this_build(),
            ledger_head=self._evaluator.ledger.entries()[-1].hash,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        flags = tuple(flag.detector for flag in flags_of(made))
        return made.model_copy(update={"flags": flags}), blobs

    def _target(self, tried: Try, **figures: object) -> TargetResult:
        of = f"{self.problem.name} v{self.problem.version}, data seed {self.problem.data_seed}"
        seeds = tuple(tried.seeds(FINAL, SEEDS))
        about = {"name": FINAL, "kind": FINAL, "problem": of, "split": FINAL, "seeds": seeds}
        return TargetResult(**about | figures, source=this_build().source)

    def _beside(self, tried: Try, one: ShownRun) -> TargetResult:
        """What is shown. An error in it ends nothing."""
        about = {"name": one.name, "kind": one.kind, "problem": one.problem}
        if not isinstance(one.method, GradedUnits):
            return self._target(tried, **about, failure=one.method.words[:2000])
        units = {**self.problem.units, FINAL: dict(one.units)}
        of_it = self.problem.model_copy(update={"units": units})
        try:
            figures = OnFinal(of_it, one.method, one.baselines).figures
            if one.kind == "fresh":
                figures["units"] = hashlib.sha256(_numbered(one.units)).hexdigest()
        except (InvalidSubmission, Misconfigured) as error:
            figures = {"failure": str(error)[:2000]}
        return self._target(tried, **about, **figures)


class OnFinal:
    """What a snapshot scored on `final`, beside baselines on the same seeds."""

    def __init__(
        self, problem: ServedProblem, method: GradedUnits, baselines: Mapping[str, GradedUnits]
    ) -> None:
        """Raises InvalidSubmission where the gradings are not of one split and the same seeds, or
        not of this problem's units."""
        self._problem, self._method, self._baselines = problem, method, baselines
        shape = (len(method.seeds), problem.trials, len(problem.units[FINAL]))
        for one in (method, *baselines.values()):
            fits = (one.split, one.seeds, set(one.scores)) == (
                FINAL,
                method.seeds,
                set(problem.ends),
            )
            if not fits or any(table.shape != shape for table in one.scores.values()):
                raise InvalidSubmission("These are not gradings of one set of seeds on final.")
        measured = {name: Measured(g.scores, {}) for name, g in baselines.items()}
        aims = problem.objectives, problem.combine
        self.scale = Scale(*aims, problem.units[FINAL], measured, paired=True)
        self._own, self._other = Measured(method.scores, {}), measured[problem.comparator]

    @property
    def figures(self) -> dict[str, object]:
        """The fields of a `TargetResult`."""
        combined = self.scale.combined(self._own)
        if combined is None:
            raise Misconfigured(
                "On final the ceiling of an objective is not above its floor: nothing can be "
                "confirmed. `aar problem check` says more."
            )
        stored = {"method": self._method.name}
        stored |= {name: g.name for name, g in self._baselines.items()}
        return {
            "accuracy": combined,
            "pgr": combined,
            "naive": self.scale.combined(self._other),
            "effect": self.effect,
            "levels": {o.name: self.scale.level(self._own, o) for o in self.scale.objectives},
            "gates": {o.name: self.scale.gate(self._own, o) for o in self.scale.gates},
            "predictions": stored,
        }

    @cached_property
    def effect(self) -> Effect:
        """The combined score above the best baseline's, paired by seed and unit."""
        own_SM, other_SM, _ = self.scale.linear(self._own, self._other)
        return Effect(
            difference=self.scale.apart(self._own, self._other, shared=True),
            p=self.scale.p_better(self._own, self._other, shared=True),
            p_items=sign_flip_p_of_reals(self._by_cluster((own_SM - other_SM).mean(axis=0))),
        )

    def _by_cluster(self, totals_M: Array) -> Array:
        clusters = list(self._problem.units[FINAL].values())
        found = dict.fromkeys(clusters, 0.0)
        for cluster, total in zip(clusters, totals_M, strict=True):
            found[cluster] += float(total)
        return np.array(list(found.values()))


def _numbered(units: Mapping[str, str]) -> bytes:
    """The clusters of units as numbers, as they are stored: units of a fresh draw have no names
    that say anything once it is deleted."""
    return json.dumps(unit_numbers(list(units.values())).tolist()).encode()


def figures_again(
    problem: ServedProblem, target: TargetResult, blob: Callable[[str], bytes]
) -> TargetResult:
    """A target with its figures computed once more from the stored unit scores that it names. One
    without a score stays as it is, and so does a fresh draw whose units no record of an earlier
    version has.

    Raises:
        InvalidSubmission: what is stored are no unit scores of this target.
    """
    drawn = target.kind == "fresh"
    if not target.predictions or (drawn and target.units is None):
        return target
    graded = {what: graded_units(blob(name)) for what, name in target.predictions.items()}
    if drawn:
        clusters = {str(n): str(c) for n, c in enumerate(json.loads(blob(target.units or "")))}
        problem = problem.model_copy(update={"units": {**problem.units, FINAL: clusters}})
    method = graded.pop("method")
    return target.model_copy(update=OnFinal(problem, method, graded).figures)


def decided(target: TargetResult, p_adjusted: float | None) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and why: better than the best baseline beyond chance, and every gate holds."""
    if target.failure is not None:
        return "not distinguishable from tuned naive", (
            f"the code gave no score on final: {target.failure}",
        )
    if p_adjusted is None or p_adjusted >= ALPHA:
        words = "p is unknown" if p_adjusted is None else f"adjusted p {p_adjusted:.3g}"
        return "not distinguishable from tuned naive", (
            f"{words} against the best baseline on final is not below {ALPHA}",
        )
    if failed := [
        f"{name} {g.verdict}" for name, g in target.gates.items() if g.verdict != "holds"
    ]:
        return "not distinguishable from tuned naive", (
            f"better than the best baseline (adjusted p {p_adjusted:.3g}), but a gate is not shown "
            f"to hold: {', '.join(failed)}",
        )
    return "confirmed", (f"adjusted p on final {p_adjusted:.3g} against the best baseline",)
