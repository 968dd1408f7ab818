"""What looks wrong in a submitter's history. Pure functions, so that they can be run again on any old ledger.

A flag carries its evidence and never blocks. These use no label, so they tell a submitter nothing about one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Record
from aarlab.core.registry import Registry

NEAR, PROBES = 0.005, 3  # label probing: share of answers that differ, and how often
CONSTANT = 0.97


@dataclass(frozen=True)
class Submitted:
    """One submission as a detector sees it: its answers over seeds and items, packed to bits."""

    who: str
    receipt: str
    packed: NDArray[np.uint8]
    size: int  # answers
    share: float  # of answers that are 1

    def distance(self, packed: NDArray[np.uint8]) -> float:
        """Share of answers that differ."""
        return float(np.bitwise_count(self.packed ^ packed).sum() / self.size)


class Flag(Record):
    """What a detector raises about a submitter."""

    detector: str
    submitter: str
    receipts: tuple[str, ...]
    evidence: str


Detector = Callable[[Sequence[Submitted], Submitted], Iterator[Flag]]
DETECTORS: Registry[Detector] = Registry("detector")


def detect(history: Sequence[Submitted], latest: Submitted) -> list[Flag]:
    """Every detector's flags about the latest submission, which is the last of `history`."""
    return [flag for name in DETECTORS for flag in DETECTORS[name](history, latest)]


@DETECTORS.add("label probing")
def label_probing(history: Sequence[Submitted], latest: Submitted) -> Iterator[Flag]:
    """Submissions that differ from earlier ones in a few answers read labels off the score (Whitehill 2017)."""
    mine = [s for s in history if s.who == latest.who]
    if not any(0 < s.distance(latest.packed) <= NEAR for s in mine[:-1]):
        return  # the latest is no near copy, so nothing new is to be said
    near = [(a, b) for n, b in enumerate(mine) for a in mine[:n] if 0 < a.distance(b.packed) <= NEAR]
    if len(near) >= PROBES:
        receipts = tuple(dict.fromkeys(s.receipt for pair in near[-PROBES:] for s in pair))
        words = f"{len(near)} pairs of submissions differ in at most {NEAR:.1%} of the answers"
        yield Flag(detector="label probing", submitter=latest.who, receipts=receipts, evidence=words)


@DETECTORS.add("constant answers")
def constant_answers(history: Sequence[Submitted], latest: Submitted) -> Iterator[Flag]:
    """Nearly all answers are the same: no method, but a question about the class balance."""
    del history
    if not 1 - CONSTANT < latest.share < CONSTANT:
        words = f"{latest.share:.1%} of the answers are 1"
        yield Flag(detector="constant answers", submitter=latest.who, receipts=(latest.receipt,), evidence=words)
