"""Re-rolled seeds: one program under many hashes, each of which was issued new seeds, so that its
luck can be picked.

Two signs are needed: the snapshots are the same program up to numbers, names, comments and white
space, and their answers differ as those of fresh seeds do. A sweep over a setting that matters has
the first and not the second.

Legend: S seeds, M items, K runs pooled.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import Context, Detector, Submitted, Suspicion, detector
from aarlab.evaluation.detectors.programs import program_of

MINE, ALL = 8, 16  # variants of one submitter; of all together, without everybody's first
# of the disagreement among runs: how much larger it may be between a variant and the earlier ones
ONE_CLUSTER = 0.03
CLUSTERS, PROGRAMS, SNAPSHOTS = 32, 4096, 4096  # remembered
V = TypeVar("V")


@dataclass(frozen=True)
class _Pool:
    """Runs, pooled. All are whole numbers, so that sums are exact; thousands are remembered, so
    they take as few bytes as they need."""

    ones_M: NDArray[np.unsignedinteger]  # how many runs answer 1
    runs: int
    ones: float  # over all items
    squares: float  # of ones_M, over all items

    def __add__(self, other: "_Pool") -> "_Pool":
        runs, ones_M = self.runs + other.runs, self.ones_M.astype(np.float64) + other.ones_M
        small_M = ones_M.astype(np.min_scalar_type(runs))
        return _Pool(small_M, runs, self.ones + other.ones, float(ones_M @ ones_M))

    @cached_property
    def disagreement(self) -> float:
        """Share of the answers in which two of the runs differ."""
        return (
            (self.runs * self.ones - self.squares)
            / len(self.ones_M)
            * 2
            / (self.runs * (self.runs - 1))
        )


def _pooled(latest: Submitted) -> _Pool:
    ones_M = latest.counts_M.astype(np.float64)
    squares = float(ones_M @ ones_M)
    return _Pool(latest.counts_M, len(latest.answers_SM), float(ones_M.sum()), squares)


@dataclass
class _Cluster:
    """Variants of a program whose answers differ as fresh seeds do."""

    first: str
    pool: _Pool
    snapshots: dict[str, str] = field(default_factory=dict)  # -> receipt
    by: Counter[str] = field(default_factory=Counter)
    improvements: int = 0


@detector("re-rolled seeds")
class Rerolls(Detector):
    """Eight snapshots that are one program up to numbers, names and comments, with answers that
    differ as fresh seeds do."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._program: OrderedDict[str, str] = OrderedDict()  # snapshot -> program
        self._clusters: OrderedDict[str, list[_Cluster]] = OrderedDict()

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Add the latest to its program's clusters; speak when one is large."""
        if latest.seedless:
            return  # no seed was used, so there is nothing to re-roll
        program = self._program_of(latest.snapshot)
        clusters = _kept(self._clusters, program, PROGRAMS, list)
        mine = _pooled(latest)
        cluster = next((c for c in clusters if _alike(c, mine)), None)
        if cluster is None:
            cluster = _Cluster(
                latest.receipt, _Pool(np.zeros(len(self.context.ids), np.uint8), 0, 0, 0.0)
            )
            clusters.append(cluster)
            del clusters[:-CLUSTERS]
        if latest.snapshot in cluster.snapshots:
            return
        cluster.snapshots[latest.snapshot] = latest.receipt
        cluster.pool += mine
        cluster.by[latest.who] += 1
        cluster.improvements += latest.improved
        again = len(cluster.snapshots) - len(cluster.by)
        if cluster.by[latest.who] >= MINE or (again >= ALL and cluster.by[latest.who] > 1):
            yield _suspicion(latest, cluster)

    def _program_of(self, snapshot: str) -> str:
        return _kept(
            self._program, snapshot, SNAPSHOTS, lambda: program_of(self.context.code(snapshot))
        )


def _kept(memory: OrderedDict[str, V], key: str, limit: int, make: Callable[[], V]) -> V:
    """The remembered value, or a new one in place of the oldest."""
    if key not in memory:
        memory[key] = make()
        if len(memory) > limit:
            memory.popitem(last=False)
    memory.move_to_end(key)
    return memory[key]


def _together(one_M: NDArray[np.unsignedinteger], other_M: NDArray[np.unsignedinteger]) -> float:
    return float(one_M.astype(np.float64) @ other_M.astype(np.float64))


def _alike(cluster: _Cluster, mine: _Pool) -> bool:
    """Do a run of the latest and one of the cluster differ no more than two runs of one of them do?

    Energy distance (Szekely & Rizzo 2004) as a share of the disagreement within; 0 for the same
    program on average.
    """
    theirs = cluster.pool
    (s, n), m = (mine.runs, theirs.runs), len(mine.ones_M)
    across = (
        (mine.ones * n + theirs.ones * s - 2 * _together(mine.ones_M, theirs.ones_M)) / m / (s * n)
    )
    within = mine.disagreement, theirs.disagreement
    return across - sum(within) / 2 <= ONE_CLUSTER * max(within)


def worth_of_best(k: int, disagreement: float, n: int, seeds: int) -> float:
    """Accuracy that the best of k bundles is expected to exceed the mean bundle by.

    Bundles are normal with the variance that independent items give (half the share of answers in
    which two runs differ, over seeds and items), times the expected largest of k normals (Blom
    1958). Items that err together make it more.
    """
    return (
        float(scipy.special.ndtri((k - 0.375) / (k + 0.25)))
        * (disagreement / 2 / (seeds * n)) ** 0.5
    )


def _suspicion(latest: Submitted, c: _Cluster) -> Suspicion:
    k, disagreement = len(c.snapshots), c.pool.disagreement
    worth = worth_of_best(k, disagreement, len(c.pool.ones_M), len(latest.answers_SM))
    per = (
        f"{k / c.improvements:.1f} for each reported improvement"
        if c.improvements
        else "none of them a reported improvement"
    )
    words = (
        f"{k} snapshots by {len(c.by)} submitters ({c.by[latest.who]} by this one) are one "
        "program up to numbers, names and comments, and their answers differ as fresh seeds do "
        f"({disagreement:.1%} of the answers); {per}; the best of {k} is worth about {worth:+.4f} "
        "accuracy by luck"
    )
    figures = {
        "variants": k,
        "mine": c.by[latest.who],
        "told": c.improvements,
        "disagreement": disagreement,
        "worth": worth,
    }
    return Suspicion(latest.who, c.first, words, tuple(c.snapshots.values())[-12:], figures)
