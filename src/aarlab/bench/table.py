"""Answers x hidden labels -> tables with intervals, comparisons and transfer.

Legend: M test items (of all data seeds together), S seeds, B draws.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from aarlab.bench.bench_record import MethodComparison, MethodRow, TaskTable, Transfer
from aarlab.core.crossed import UnitNumbers, unit_numbers
from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import GradedMethods, accuracy_measure, holm, mean_measure
from aarlab.core.records import Family, Measure, SplitName
from aarlab.evaluation.scoring.hidden_labels import unit_names
from aarlab.methods.library import METHODS
from aarlab.problems.publish import read_private_items
from aarlab.testbeds.testbed import Testbed

Correct = NDArray[np.bool_]
DRAWS = 500  # of rankings
REFERENCE = "naive"


@dataclass(frozen=True)
class Truth:
    """The hidden side of one task's test items, all data seeds together, in the order of sorted ids
    within each."""

    labels_M: NDArray[np.bool_]
    ood_M: NDArray[np.bool_]
    weak_SM: Correct
    ceiling_SM: Correct
    units_M: UnitNumbers  # which items share a label

    @property
    def anchors(self) -> dict[str, Correct]:
        """Both, by the names of the arguments that take them."""
        return {"weak_SM": self.weak_SM, "ceiling_SM": self.ceiling_SM}

    def part(self, rows: NDArray[np.bool_]) -> "Truth":
        return Truth(
            self.labels_M[rows],
            self.ood_M[rows],
            self.weak_SM[:, rows],
            self.ceiling_SM[:, rows],
            unit_numbers(self.units_M[rows].tolist()),
        )


def truth_of(testbeds: Sequence[Testbed], split: SplitName) -> Truth:
    """Labels and anchors of the testbeds of one task."""
    parts = [_truth(bed, split) for bed in testbeds]
    labels, ood, weak, ceiling, units = zip(*parts, strict=True)
    return Truth(
        np.concatenate(labels),
        np.concatenate(ood),
        np.concatenate(weak, axis=1),
        np.concatenate(ceiling, axis=1),
        # what two draws of the data share is one unit
        unit_numbers([name for names in units for name in names]),
    )


def _truth(
    bed: Testbed, split: SplitName
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Correct, Correct, list[tuple[str, ...]]]:
    """Labels, part, weak teacher, ceiling and units' names of one testbed."""
    items = sorted(
        (i for i in read_private_items(bed.folder) if i.split == split), key=lambda i: i.id
    )
    with np.load(bed.anchors) as anchors:
        weak, ceiling = anchors[f"{split}_weak_SM"], anchors[f"{split}_ceiling_SM"]
    return (
        np.array([i.label == 1 for i in items]),
        np.array([i.part == "ood" for i in items]),
        weak,
        ceiling,
        unit_names(bed.folder, split, [i.id for i in items]),
    )


class TaskResult:
    """One task's graded methods."""

    def __init__(
        self,
        task: str,
        split: str,
        testbeds: Sequence[Testbed],
        truth: Truth,
        answers: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        """`answers`: method -> (S, M), the same S seeds in the same order for every method."""
        self.task, self.split, self.truth = task, split, truth
        self.fingerprints = tuple(bed.fingerprint for bed in testbeds)
        self.correct = {name: given_SM == truth.labels_M for name, given_SM in answers.items()}
        self.graded = GradedMethods(self.correct, **truth.anchors, units_M=truth.units_M)
        rows = {ood: truth.ood_M == ood for ood in (False, True)}
        self._parts = {ood: self._part_of(rows_M) for ood, rows_M in rows.items() if rows_M.any()}

    @property
    def has_gap(self) -> bool:
        """Whether the ceiling is above the weak accuracy at all; `TaskTable.trouble` says whether
        that may be chance."""
        return self.graded.ceiling > self.graded.weak

    @property
    def ranked(self) -> list[str]:
        """Methods by mean accuracy, best first."""
        return sorted(self.correct, key=lambda name: -self.correct[name].mean())

    def table(self, seconds: Mapping[str, Sequence[float]]) -> TaskTable:
        """`seconds`: method -> of one seed, on each testbed."""
        against = {
            other: self._comparisons(other)
            for other in {self.ranked[0], REFERENCE} & self.correct.keys()
        }
        rows = [self._row(name, seconds[name], against) for name in self.ranked]
        weak, ceiling = (
            accuracy_measure(anchor_SM, self.truth.units_M)
            for anchor_SM in (self.truth.weak_SM, self.truth.ceiling_SM)
        )
        return TaskTable(
            task=self.task,
            split=self.split,
            fingerprints=self.fingerprints,
            weak=weak,
            ceiling=ceiling,
            gap=self.graded.gap(),
            rows=tuple(rows),
        )

    def _comparisons(self, other: str) -> dict[str, MethodComparison]:
        """Every other method against `other`; Holm's adjustment is over all of them."""
        names = [n for n in self.ranked if n != other]
        pairs = [self.graded.difference(n, other) for n in names]
        adjusted = holm([p for _, p in pairs])
        of = "PGR" if self.has_gap else "accuracy"
        return {
            n: MethodComparison(other=other, of=of, difference=d, p=p, p_holm=q)
            for n, (d, p), q in zip(names, pairs, adjusted, strict=True)
        }

    def _row(
        self,
        name: str,
        seconds: Sequence[float],
        against: Mapping[str, Mapping[str, MethodComparison]],
    ) -> MethodRow:
        correct = self.correct[name]
        return MethodRow(
            method=name,
            family=METHODS[name].family if name in METHODS else Family.OTHER,
            accuracy=self.graded.accuracy(name),
            accuracy_id=self._part(name, GradedMethods.accuracy, ood=False),
            accuracy_ood=self._part(name, GradedMethods.accuracy, ood=True),
            pgr=self.pgr(name),
            pgr_id=self._part(name, GradedMethods.pgr, ood=False),
            pgr_ood=self._part(name, GradedMethods.pgr, ood=True),
            item_error=self.graded.item_error(name),
            seconds=mean_measure(np.array(seconds), resampled="testbeds"),
            accuracy_by_seed=tuple(float(a) for a in correct.mean(axis=1)),
            against_naive=against.get(REFERENCE, {}).get(name),
            against_best=against[self.ranked[0]].get(name),
        )

    def _part_of(self, rows_M: NDArray[np.bool_]) -> GradedMethods:
        part = self.truth.part(rows_M)
        correct = {name: correct_SM[:, rows_M] for name, correct_SM in self.correct.items()}
        return GradedMethods(correct, **part.anchors, units_M=part.units_M)

    def _part(
        self, name: str, figure: Callable[[GradedMethods, str], Measure], *, ood: bool
    ) -> Measure | None:
        """A figure of the items of one part; None where there are none, or they leave no gap for a
        PGR."""
        if ood not in self._parts:
            return None
        try:
            return figure(self._parts[ood], name)
        except Misconfigured:  # that part has no gap: its PGR is unknown
            return None

    def pgr(self, name: str) -> Measure | None:
        """A method's PGR; None where the anchors leave no gap."""
        return self.graded.pgr(name) if self.has_gap else None


def transfer(source: TaskResult, target: TaskResult) -> Transfer:
    """What the ranking on `source` says of `target`, both with a gap. Methods rank by PGR as by
    accuracy; draws of the two are independent, as their items are."""
    names = source.ranked
    winner = names[0]
    drawn = [r.graded.draws(names, seed=n, draws=DRAWS) for n, r in enumerate((source, target))]
    tau_B = np.array([kendalltau(*rows).statistic for rows in zip(*drawn, strict=True)])
    estimate = kendalltau(
        *([r.correct[n].mean() for n in names] for r in (source, target))
    ).statistic
    lower, upper = np.quantile(tau_B, [0.025, 0.975])
    tau = Measure(
        estimate=estimate,
        lower=lower,
        upper=upper,
        n=len(names),
        resampled="items and seeds of both tasks",
    )
    return Transfer(
        source=source.task,
        target=target.task,
        tau=tau,
        winner=winner,
        winner_pgr=target.pgr(winner),
        winner_rank=target.ranked.index(winner) + 1,
    )
