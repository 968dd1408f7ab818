"""The hidden labels and the anchors. Only the evaluator's process, set-up and the report read these
files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import UnitNumbers, unit_numbers
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import SPLITS
from aarlab.core.strict_json import read_json, read_json_lines
from aarlab.evaluation.scoring.policies import reported_once, standard_error
from aarlab.evaluation.scoring.units import Units, named_units

Answers = Mapping[str, Mapping[str, int]]  # split -> item id -> 0 or 1


def load_answers(problem: Path, *needed: str) -> Answers:
    """True labels by split and id; `needed` names splits that must have some.

    Raises:
        Misconfigured: the file is missing, unreadable or not what set-up writes.
    """
    path = TestbedFolder(problem).answers
    try:
        answers = read_json(path)
        known = isinstance(answers, dict) and all(map(_labels, answers.values()))
        # transfer problems have no feedback
        if not (known and (answers.get("feedback") or answers.get("final"))):
            raise ValueError(
                "it does not hold labels 0 and 1 by split and item id, under 'feedback' or 'final'"
            )
        if lacking := [split for split in needed if not answers.get(split)]:
            raise ValueError(f"it holds no label under {lacking}")
    except (OSError, ValueError) as error:
        words = 'or write {"feedback": {item id: 0 or 1}, "final": {item id: 0 or 1}}.'
        raise Misconfigured(
            f"Cannot read the hidden answers {path}: {error}. Set the testbed up again, {words}"
        ) from error
    return {"final": {}} | answers


def _labels(split: object) -> bool:
    return isinstance(split, dict) and all(
        type(label) is int and label in (0, 1) for label in split.values()
    )


def published_ids(problem: Path, split: str) -> list[str] | None:
    """The ids of a split in the order in which submitters see them; None where its items are not
    published.

    Raises:
        Misconfigured: see `read_rows`.
    """
    path = PublicFolder(TestbedFolder(problem).public).items(split)
    return [row["id"] for row in read_rows(path)] if path.exists() else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The items of a published split, one JSON object with an id a line; lines end with "\\n",
    whatever a text holds.

    Raises:
        Misconfigured: the file is unreadable or not that.
    """
    try:
        rows = read_json_lines(path)
        if not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
            raise ValueError("a line is no object with an id")
    except ValueError as error:
        raise Misconfigured(
            f"{path} is not what set-up publishes ({error}). Set the testbed up again."
        ) from error
    return rows


def load_units(problem: Path, split: str, ids: Sequence[str]) -> Units:
    """How the labels of a split are dependent: in the groups of `_groups`; the strata are the cells
    of part and level in set-up's private/items.jsonl, where there is one.

    Raises:
        Misconfigured: see `_groups`; or the items are not what set-up writes.
    """
    group = _groups(problem, split, ids)
    return Units.of(ids, group, _strata(TestbedFolder(problem).items, split))


def unit_names(problem: Path, split: str, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Of each item, the name of its unit: its group's, or its own where it stands alone.

    Raises:
        Misconfigured: see `_groups`.
    """
    return named_units(ids, _groups(problem, split, ids))


def load_unit_numbers(problem: Path, split: str, ids: Sequence[str]) -> UnitNumbers:
    """Which items share a label, as `Crossed` counts them, (M,).

    Raises:
        Misconfigured: see `_groups`.
    """
    return unit_numbers(unit_names(problem, split, ids))


def _groups(problem: Path, split: str, ids: Sequence[str]) -> dict[str, str]:
    """private/groups.json, {split: {item id: group}}, of a split; {} where there is none.

    Raises:
        Misconfigured: the file is not that, or names an item that has no label.
    """
    group, path = {}, TestbedFolder(problem).groups
    if path.exists():
        try:
            stated = read_json(path)
            if strange := stated.keys() - set(SPLITS):
                raise ValueError(f"'{min(strange)[:80]}' is none of the splits {', '.join(SPLITS)}")
            group = stated.get(split, {})
            if not all(isinstance(name, str) for name in group.values()):
                raise ValueError("a group is not a text")
        except (OSError, ValueError, AttributeError) as error:
            words = (
                'Write {"feedback": {item id: group}, "final": {item id: group}}, groups as texts.'
            )
            raise Misconfigured(f"Cannot read the groups {path}: {error}. {words}") from error
    if unknown := group.keys() - set(ids):
        raise Misconfigured(
            f"{path}: '{min(unknown)[:80]}' under '{split}' has no label in answers.json. Take it "
            "out."
        )
    return group


def _strata(path: Path, split: str) -> dict[str, tuple[str, int]]:
    """Item id -> its part and level; {} where set-up left no items."""
    if not path.exists():
        return {}
    try:
        rows = read_json_lines(path)
        return {row["id"]: (row["part"], row["level"]) for row in rows if row["split"] == split}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(
            f"{path} is not what set-up writes ({error}). Set the testbed up again."
        ) from error


@dataclass(frozen=True)
class PgrScale:
    """What turns accuracy on `feedback` into PGR, and where the reported level starts."""

    weak: float
    ceiling: float
    start: float  # accuracy of the public naive baseline
    # False: the ceiling is not above the weak accuracy; it then stands one standard error above it
    gap: bool = True
    # True: a score of several objectives, and no accuracy; PGR is that score between 0 and 1
    combined: bool = False

    def released(self, n: int) -> "PgrScale":
        """The one scale of a label set of n items, for submitters and operator alike. What it
        consists of is reported to submitters, and was measured on the hidden labels: so each number
        is one of those that `set_up_bits` counts, which means over 1, 2, 5 or 10 seeds are already.
        Without a gap a PGR says nothing; who starts all the same gets it on a gap of one
        standard error, with these words."""
        weak, ceiling, start = (
            reported_once(accuracy, n) for accuracy in (self.weak, self.ceiling, self.start)
        )
        gap = ceiling > weak
        top = ceiling if gap else weak + standard_error(n)
        return PgrScale(weak, top, start, gap, self.combined)

    def pgr(self, accuracy: float) -> float:
        """An accuracy on `feedback` as PGR."""
        return performance_gap_recovered(accuracy, weak=self.weak, ceiling=self.ceiling)

    def pgr_of_difference(self, accuracy: float) -> float:
        """A difference of accuracies on `feedback` (a step, a bound) in PGR."""
        return self.pgr(self.weak + accuracy)

    def pgr_if_gap(self, accuracy: float) -> float | None:
        """As `pgr`; None where the anchors leave no gap and the operator started all the same."""
        return self.pgr(accuracy) if self.gap else None


def load_pgr_scale(problem: Path) -> PgrScale:
    """Mean anchors on `feedback`: from set-up's arrays, or from private/ruler.json where another
    harness wrote it.

    Raises:
        Misconfigured: anchors or baselines have not been measured.
    """
    stated = TestbedFolder(problem).stated_anchors
    try:
        if stated.exists():
            return _stated(read_json(stated))
        with np.load(TestbedFolder(problem).anchors) as anchors:
            weak, ceiling = (
                float(anchors[f"feedback_{end}_SM"].mean()) for end in ("weak", "ceiling")
            )
        with np.load(TestbedFolder(problem).baselines) as baselines:
            start = float(baselines["feedback/naive"].mean())
    except (OSError, KeyError, ValueError, TypeError) as error:
        words = (
            "Set it up with `aar demo` or `aar run`, or write private/ruler.json: {weak, ceiling, "
            "start} (accuracies)."
        )
        raise Misconfigured(f"{problem} has no anchors or baselines ({error}). {words}") from error
    return PgrScale(weak, ceiling, start)


def _stated(fields: Any) -> PgrScale:
    names = ("weak", "ceiling", "start")
    if not isinstance(fields, dict) or set(fields) != set(names):
        held = f"the fields {sorted(fields)}" if isinstance(fields, dict) else "no object"
        raise ValueError(f"private/ruler.json holds {held}; it must hold weak, ceiling and start")
    pgr_scale = PgrScale(**fields)
    if not all(
        type(x) in (int, float) and 0 <= x <= 1
        for x in (pgr_scale.weak, pgr_scale.ceiling, pgr_scale.start)
    ):
        raise ValueError("private/ruler.json must hold accuracies between 0 and 1")
    performance_gap_recovered(pgr_scale.start, weak=pgr_scale.weak, ceiling=pgr_scale.ceiling)
    return pgr_scale


def load_naive_answers(problem: Path, truth_M: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The naive baseline's majority answers to the feedback items, shape (M,), in the order of
    sorted ids; None where it was not measured. They follow from what is published, unlike the weak
    teacher's, on which nothing that leaves may depend.

    The labels are needed only because set-up kept which answers were right.
    """
    try:
        with np.load(TestbedFolder(problem).baselines) as stored:
            correct_SM = stored["feedback/naive"]
    except FileNotFoundError:
        return None
    return np.where(correct_SM, truth_M, ~truth_M).mean(axis=0) > 0.5
