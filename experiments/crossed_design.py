"""Do the intervals cover and the tests hold their level, whatever seeds do? A table by simulation.

`python experiments/crossed_design.py [WORLDS]` (1,000 by default: half an hour). Each world draws
items, and for every seed of every method a shift of all items together, as a teacher that is drawn
anew makes it. The truth is known in closed form. In brackets: 95 % intervals (Clopper-Pearson).

Legend: S seeds, M items.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from aarlab.core.crossed import Crossed, UnitNumbers
from aarlab.core.intervals import GradedMethods, holm
from aarlab.core.records import Measure
from aarlab.evaluation.confirmation.verdict import ALPHA

CLAIMS = 8  # put to confirmation on one `final`, all of them no better than naive
ANCHOR_SEEDS = 10
FIT, NOISE = 0.5, 0.4  # what a method makes of an item on every seed, and on one
LEVELS = {"weak": 0.3, "ceiling": 1.1, "naive": 0.6}  # ease of an item on average


@dataclass(frozen=True)
class Setting:
    """`luck`: how far a seed shifts all items, in standard deviations of their ease; `group`: items
    that share their ease and label, 1 where they stand alone."""

    items: int
    seeds: int
    luck: float
    group: int = 1

    @property
    def units_M(self) -> UnitNumbers | None:
        return None if self.group == 1 else np.arange(self.items) // self.group

    @property
    def spread(self) -> float:
        """The standard deviation of a seed's accuracy that seeds bring, of a method at naive's
        level."""
        return self.luck * float(norm.pdf(self.standard("naive"))) / self._wide

    def standard(self, name: str) -> float:
        """The ease of an item for a method, in standard deviations of all that varies."""
        return LEVELS[name] / self._wide

    @property
    def _wide(self) -> float:
        return float(np.sqrt(1 + FIT**2 + NOISE**2 + self.luck**2))

    def accuracy(self, name: str) -> float:
        """The truth."""
        return float(norm.cdf(self.standard(name)))


def answered(
    rng: np.random.Generator, setting: Setting, ease_M: NDArray, name: str, seeds: int
) -> NDArray[np.bool_]:
    """Which items a method gets right, (S, M)."""
    fit_M = ease_M + LEVELS[name] + FIT * _by_group(rng, setting)
    shift_S1 = setting.luck * rng.normal(size=(seeds, 1))
    noise_SM = rng.standard_normal((seeds, setting.items), dtype=np.float32)
    return np.float32(NOISE) * noise_SM > -(fit_M + shift_S1).astype(np.float32)


def _by_group(rng: np.random.Generator, setting: Setting) -> NDArray[np.float64]:
    return np.repeat(rng.normal(size=setting.items // setting.group), setting.group)


@dataclass(frozen=True)
class World:
    """What one world's figures get right."""

    accuracy: bool  # covered
    pgr: bool  # covered
    difference: bool  # rejected, of two equal methods
    claim: bool  # a test of one claim at ALPHA rejected
    family: bool  # one of CLAIMS was rejected, after Holm

    @classmethod
    def drawn(cls, setting: Setting, seed: int, claims: int = CLAIMS) -> "World":
        rng = np.random.default_rng(seed)
        ease_M, units_M = _by_group(rng, setting), setting.units_M
        weak_SM, ceiling_SM = (
            answered(rng, setting, ease_M, end, ANCHOR_SEEDS) for end in ("weak", "ceiling")
        )
        equal = [answered(rng, setting, ease_M, "naive", setting.seeds) for _ in range(1 + claims)]
        graded = GradedMethods(
            {"naive": equal[0], "other": equal[1]},
            weak_SM=weak_SM,
            ceiling_SM=ceiling_SM,
            units_M=units_M,
        )
        weak, ceiling, naive = (setting.accuracy(name) for name in ("weak", "ceiling", "naive"))
        tests = Crossed(np.stack(equal), units_M=units_M)  # as `paired_effect` does, claim by claim
        signs_NC = np.eye(1 + claims)[1:] - np.eye(1 + claims)[0]
        p = [tests.p_above(contrast_C) for contrast_C in signs_NC]
        return cls(
            accuracy=covers(graded.accuracy("naive"), naive),
            pgr=covers(graded.pgr("naive"), (naive - weak) / (ceiling - weak)),
            difference=graded.difference("naive", "other")[1] < ALPHA,
            claim=p[0] < ALPHA,
            family=min(holm(p)) < ALPHA,
        )


def covers(measure: Measure, truth: float) -> bool:
    return measure.lower <= truth <= measure.upper


def rates(setting: Setting, worlds: int, claims: int = CLAIMS) -> Mapping[str, Sequence[bool]]:
    """Of every figure, in which worlds it was right (or rejected)."""
    found = [World.drawn(setting, seed, claims) for seed in range(worlds)]
    return {name: [getattr(w, name) for w in found] for name in World.__dataclass_fields__}


SETTINGS = (
    *(Setting(6_400, 5, luck) for luck in (0.0, 0.05, 0.15, 0.4)),
    *(Setting(2_000, 5, luck) for luck in (0.0, 0.05, 0.15)),
    *(Setting(600, 5, luck) for luck in (0.0, 0.05, 0.15)),
    *(Setting(2_000, 3, luck) for luck in (0.0, 0.05, 0.15)),
    Setting(2_000, 10, 0.05),
    *(Setting(2_000, 5, luck, group=8) for luck in (0.0, 0.15)),
)


def words(right: Sequence[bool]) -> str:
    found = binomtest(sum(right), len(right)).proportion_ci()
    return f"{np.mean(right):.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    worlds = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    heads = ("items", "in groups of", "seeds", "seeds' sd of accuracy", "95 % accuracy covers")
    heads += ("95 % PGR covers", "difference rejected at 5 %", "one claim rejected at 5 %")
    heads += (f"family error of {CLAIMS} claims",)
    print(f"{worlds} worlds each\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for s in SETTINGS:
        cells = (f"{s.items:,}", f"{s.group}", f"{s.seeds}", f"{s.spread:.3f}")
        found = (words(right) for right in rates(s, worlds).values())
        print(f"| {' | '.join((*cells, *found))} |", flush=True)


if __name__ == "__main__":
    main()
