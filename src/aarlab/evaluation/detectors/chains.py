"""The latest submissions of anybody, and chains of those that were linked to an earlier one.

Legend: R submissions remembered, W words.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import Submitted
from aarlab.evaluation.scoring.differing_bits import DifferingBits

REMEMBERED = 1024


@dataclass
class Chain:
    """Submissions that are each linked to an earlier one, by whomever."""

    first: str
    links: int = 0
    changed: int = 0  # items, over all links
    ranks: float = 0.0  # over all changed items
    receipts: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    who: Counter[str] = field(default_factory=Counter)

    @property
    def by(self) -> str:
        """As text, whose they are."""
        return f"by {len(self.who)} submitters" if len(self.who) > 1 else "by one submitter"


class Recent:
    """A ring of the latest submissions' bits."""

    def __init__(self) -> None:
        self._bits_RW: NDArray[np.uint64] | None = None
        self._chains: list[Chain | None] = [None] * REMEMBERED
        self._receipts = [""] * REMEMBERED
        self._next, self.size = 0, 0
        self._differing = DifferingBits()

    def nearest(self, bits_W: NDArray[np.uint64]) -> tuple[int, int] | None:
        """(place, differing bits) of the nearest; None if none is remembered."""
        if self._bits_RW is None:
            return None
        apart_R = self._differing.of(self._bits_RW, self.size, bits_W)
        place = int(apart_R.argmin())
        return place, int(apart_R[place])

    def bits(self, place: int) -> NDArray[np.uint64]:
        """The bits of a remembered submission, shape (W,)."""
        assert self._bits_RW is not None
        return self._bits_RW[place]

    def chain(self, place: int) -> Chain | None:
        """The chain that it belongs to."""
        return self._chains[place]

    def link(self, place: int, latest: Submitted, *, changed: int, ranks: float = 0.0) -> Chain:
        """Put the latest into the chain of a remembered one."""
        chain = self._chains[place] = self._chains[place] or Chain(self._receipts[place])
        chain.links, chain.changed, chain.ranks = (
            chain.links + 1,
            chain.changed + changed,
            chain.ranks + ranks,
        )
        chain.receipts.append(latest.receipt)
        chain.who[latest.who] += 1
        return chain

    def remember(self, bits_W: NDArray[np.uint64], latest: Submitted, chain: Chain | None) -> None:
        """Take the place of the oldest."""
        if self._bits_RW is None:
            self._bits_RW = np.zeros((REMEMBERED, len(bits_W)), np.uint64)
        place = self._next
        self._bits_RW[place], self._chains[place], self._receipts[place] = (
            bits_W,
            chain,
            latest.receipt,
        )
        self._next, self.size = (place + 1) % REMEMBERED, min(self.size + 1, REMEMBERED)
