"""Answers x hidden labels -> tables with intervals, comparisons and transfer.

Legend: M test items (of all data seeds together), S seeds, B bootstrap draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from aarlab.bench.record import Comparison, MethodRow, TaskTable, Transfer
from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import PgrBootstrap, accuracy_measure, holm, mean_measure
from aarlab.core.records import Family, Measure, SplitName
from aarlab.methods.library import METHODS
from aarlab.problems.publish import read_private_items
from aarlab.runs.testbed import Testbed

Correct = NDArray[np.bool_]
DRAWS = 4_000
REFERENCE = "naive"


@dataclass(frozen=True)
class Truth:
    """The hidden side of one task's test items, all data seeds together, in the order of sorted ids within each."""

    labels_M: NDArray[np.bool_]
    ood_M: NDArray[np.bool_]
    weak_SM: Correct
    ceiling_SM: Correct

    def part(self, rows: NDArray[np.bool_]) -> "Truth":
        return Truth(self.labels_M[rows], self.ood_M[rows], self.weak_SM[:, rows], self.ceiling_SM[:, rows])


def truth_of(testbeds: Sequence[Testbed], split: SplitName) -> Truth:
    """Labels and anchors of the testbeds of one task."""
    parts = [_truth(bed, split) for bed in testbeds]
    return Truth(
        np.concatenate([p.labels_M for p in parts]),
        np.concatenate([p.ood_M for p in parts]),
        np.concatenate([p.weak_SM for p in parts], axis=1),
        np.concatenate([p.ceiling_SM for p in parts], axis=1),
    )


def _truth(bed: Testbed, split: SplitName) -> Truth:
    items = sorted((i for i in read_private_items(bed.folder) if i.split == split), key=lambda i: i.id)
    with np.load(bed.private / "anchors.npz") as anchors:
        weak, ceiling = anchors[f"{split}_weak_SM"], anchors[f"{split}_ceiling_SM"]
    return Truth(np.array([i.label == 1 for i in items]), np.array([i.part == "ood" for i in items]), weak, ceiling)


class TaskResult:
    """One task's graded methods and the bootstrap that they share."""

    def __init__(
        self,
        task: str,
        split: str,
        testbeds: Sequence[Testbed],
        truth: Truth,
        answers: Mapping[str, NDArray[np.bool_]],
        *,
        seeds: int,
    ) -> None:
        """`answers`: method -> (S, M), the same S seeds in the same order for every method."""
        self.task, self.split, self.truth = task, split, truth
        self.fingerprints = tuple(bed.fingerprint for bed in testbeds)
        self.correct = {name: given_SM == truth.labels_M for name, given_SM in answers.items()}
        self.bootstrap = PgrBootstrap(weak_SM=truth.weak_SM, ceiling_SM=truth.ceiling_SM, seeds=seeds, draws=DRAWS)
        self._parts = {ood: self._part_bootstrap(truth.ood_M == ood, seeds) for ood in (False, True)}

    @property
    def ranked(self) -> list[str]:
        """Methods by mean accuracy, best first."""
        return sorted(self.correct, key=lambda name: -self.correct[name].mean())

    def table(self, seconds: Mapping[str, Sequence[float]]) -> TaskTable:
        """`seconds`: method -> of each run."""
        against = {other: self._comparisons(other) for other in {self.ranked[0], REFERENCE} & self.correct.keys()}
        rows = [self._row(name, seconds[name], against) for name in self.ranked]
        weak, ceiling = accuracy_measure(self.truth.weak_SM), accuracy_measure(self.truth.ceiling_SM)
        return TaskTable(
            task=self.task,
            split=self.split,
            fingerprints=self.fingerprints,
            weak=weak,
            ceiling=ceiling,
            gap=self.bootstrap.gap(),
            rows=tuple(rows),
        )

    def _comparisons(self, other: str) -> dict[str, Comparison]:
        """Every other method against `other`; Holm's adjustment is over all of them."""
        names = [n for n in self.ranked if n != other]
        pairs = [self.bootstrap.difference(self.correct[n], self.correct[other]) for n in names]
        adjusted = holm([p for _, p in pairs])
        return {
            n: Comparison(other=other, difference=d, p=p, p_holm=q) for n, (d, p), q in zip(names, pairs, adjusted, strict=True)
        }

    def _row(self, name: str, seconds: Sequence[float], against: Mapping[str, Mapping[str, Comparison]]) -> MethodRow:
        correct, ood = self.correct[name], self.truth.ood_M
        return MethodRow(
            method=name,
            family=METHODS[name].family if name in METHODS else Family.OTHER,
            accuracy=self.bootstrap.accuracy(correct),
            accuracy_id=self._parts[False].accuracy(correct[:, ~ood]),
            accuracy_ood=self._parts[True].accuracy(correct[:, ood]),
            pgr=self.bootstrap.pgr(correct),
            pgr_id=self._part(correct, ood=False),
            pgr_ood=self._part(correct, ood=True),
            item_error=self.bootstrap.item_error(correct),
            seconds=mean_measure(np.array(seconds), resampled="seeds"),
            accuracy_by_seed=tuple(float(a) for a in correct.mean(axis=1)),
            against_naive=against.get(REFERENCE, {}).get(name),
            against_best=against[self.ranked[0]].get(name),
        )

    def _part_bootstrap(self, rows_M: NDArray[np.bool_], seeds: int) -> PgrBootstrap:
        part = self.truth.part(rows_M)
        return PgrBootstrap(weak_SM=part.weak_SM, ceiling_SM=part.ceiling_SM, seeds=seeds)

    def _part(self, correct: Correct, *, ood: bool) -> Measure | None:
        try:
            return self._parts[ood].pgr(correct[:, self.truth.ood_M == ood])
        except Misconfigured:  # that part has no gap: its PGR is unknown
            return None


def transfer(source: TaskResult, target: TaskResult) -> Transfer:
    """What the ranking on `source` says of `target`: draws of both tasks are independent, as their items are."""
    names = source.ranked
    winner = names[0]
    drawn = [np.stack([r.bootstrap.draws(r.correct[n]) for n in names]) for r in (source, target)]
    draws = min(500, *(d.shape[1] for d in drawn))
    tau_B = np.array([kendalltau(drawn[0][:, b], drawn[1][:, b]).statistic for b in range(draws)])
    estimate = kendalltau(*([r.correct[n].mean() for n in names] for r in (source, target))).statistic
    lower, upper = np.quantile(tau_B, [0.025, 0.975])
    tau = Measure(estimate=estimate, lower=lower, upper=upper, n=len(names), resampled="items, seeds and anchors of both tasks")
    return Transfer(
        source=source.task,
        target=target.task,
        tau=tau,
        winner=winner,
        winner_pgr=target.bootstrap.pgr(target.correct[winner]),
        winner_rank=target.ranked.index(winner) + 1,
    )
