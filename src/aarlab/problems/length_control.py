"""A control: does the length of an answer predict whether it is right, by split and part?

It uses the truth, so that what it says of `feedback` and `final` is for the operator alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.crossed import Crossed, unit_numbers
from aarlab.core.records import SPLITS, AnyItem, Measure, Pair, PartName, Record, SplitName

SHORTCUT_MARGIN = 0.05  # an accuracy whose interval is this far from one half is a shortcut


class LengthRow(Record):
    """How often the shorter answer is the right one."""

    split: SplitName
    part: PartName
    # of pairs, the shorter of the two; of single answers, one that is shorter than the median of
    # its split and part; equal lengths count one half
    shorter: Measure

    @property
    def best(self) -> float:
        """The accuracy of the better of both rules: "shorter is right", "longer is right"."""
        return max(self.shorter.estimate, 1 - self.shorter.estimate)

    @property
    def is_shortcut(self) -> bool:
        """Whether length alone is a shortcut there, beyond chance."""
        return (
            self.shorter.lower > 0.5 + SHORTCUT_MARGIN or self.shorter.upper < 0.5 - SHORTCUT_MARGIN
        )

    def __str__(self) -> str:
        rule = "shorter" if self.shorter.estimate >= 0.5 else "longer"
        said = f"{self.split}, {self.part}: length alone is right on {self.best:.3f} of"
        return f"{said} {self.shorter.n} items (the {rule} answer; shorter: {self.shorter})"


def length_control(items: Sequence[AnyItem]) -> tuple[LengthRow, ...]:
    """One row for each split and part that has items, in the order of the splits."""
    rows = []
    for split in SPLITS:
        for part in ("id", "ood"):
            some = [i for i in items if (i.split, i.part) == (split, part)]
            if some:
                units_M = unit_numbers([i.group or i.id for i in some])
                right = Crossed(_right(some)[None, None], units_M=units_M)
                rows.append(LengthRow(split=split, part=part, shorter=right.measure(np.ones(1))))
    return tuple(rows)


def _right(items: Sequence[AnyItem]) -> NDArray[np.float64]:
    """Whether the shorter answer is the right one, 0.5 where none is shorter, (M,)."""
    lengths = np.array([len(i.choices[-1]) for i in items], np.float64)
    against = (
        np.array([len(i.choices[0]) for i in items], np.float64)
        if isinstance(items[0], Pair)
        else np.full(len(items), np.median(lengths))
    )
    right = np.array([i.label == 1 for i in items])
    return np.where(lengths == against, 0.5, (lengths < against) == right)
