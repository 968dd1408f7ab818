"""A pool of answers drawn again and again while all others stand still: staged search and boosting
among the answers that a submitter is unsure of. Under honest work some answers change often, some
seldom, most in between; here each changes as a coin does or hardly at all.

Looked for among each submitter's latest, and among the latest of anybody that use no seed
(identities collude).

Legend: M items, K latest submissions, W 64-bit words.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import (
    Context,
    Detector,
    Submitted,
    Suspicion,
    detector,
    packed,
)

LATEST = 24
# of 24: an answer that changes no oftener does not count as varying, so that a few strangers do no
# harm
SELDOM = 3
FAIR = (7, 17)  # of 24: a coin falls outside with probability 0.02
SHARE, LEAST = 0.88, 30  # of the answers that vary; and how many must
PAIRS = 0.8  # of the pairs of submissions
_ONE, _OTHER = np.triu_indices(LATEST, 1)


@dataclass
class _Latest:
    """Majority answers of the latest submissions."""

    ones_M: NDArray[np.int8]  # how many answer 1
    rows: deque[tuple[str, str, NDArray[np.bool_], NDArray[np.uint64]]] = field(
        default_factory=deque
    )

    def add(self, latest: Submitted) -> None:
        if len(self.rows) == LATEST:
            self.ones_M -= self.rows.popleft()[2].view(np.int8)
        self.ones_M += latest.majority_M.view(np.int8)
        self.rows.append((latest.who, latest.receipt, latest.majority_M, latest.majority_W))


def _independent(answers_KW: NDArray[np.uint64], varied_W: NDArray[np.uint64]) -> bool:
    """Do most pairs of submissions agree on the varying answers as two rows of coins do? Two
    methods that take turns vary as much, all answers together."""
    varying_KW = answers_KW & varied_W
    differ = np.bitwise_count(varying_KW[_ONE] ^ varying_KW[_OTHER]).sum(axis=1, dtype=np.intp)
    v = int(np.bitwise_count(varied_W).sum())
    return np.count_nonzero(np.abs(v - 2 * differ) / v < 4 / v**0.5) / len(_ONE) >= PAIRS


@detector("re-drawn pool")
class Redraws(Detector):
    """Answers that over 24 submissions vary as independent coins in a pool and hardly elsewhere."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # of a submitter or "" (anybody); without seeds
        self._latest: dict[tuple[str, bool], _Latest] = {}

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Look at the latest 24 of this submitter, and at those without seeds: this submitter's,
        and all."""
        sets = [(latest.who, False, "of this submitter")]
        if latest.seedless:
            sets += [
                (latest.who, True, "of this submitter that use no seed"),
                ("", True, "that use no seed"),
            ]
        for who, seedless, whose in sets:
            empty = _Latest(np.zeros(len(self.context.ids), np.int8))
            among = self._latest.setdefault((who, seedless), empty)
            among.add(latest)
            yield from self._look(latest, among, "pool" if who else "shared pool", whose)

    def _look(
        self, latest: Submitted, among: _Latest, episode: str, whose: str
    ) -> Iterator[Suspicion]:
        if len(among.rows) < LATEST:
            return
        varied_M = (among.ones_M > SELDOM) & (among.ones_M < LATEST - SELDOM)
        varied = np.count_nonzero(varied_M)
        share = np.count_nonzero((among.ones_M >= FAIR[0]) & (among.ones_M <= FAIR[1])) / max(
            1, varied
        )
        if (
            varied < LEAST
            or share < SHARE
            or not _independent(np.stack([row[-1] for row in among.rows]), packed(varied_M))
        ):
            return
        people = len({who for who, *_ in among.rows})
        words = (
            f"over the latest {LATEST} submissions {whose} (by {people}), {varied} answers vary, "
            f"{share:.0%} as coins do and independently; the other {len(varied_M) - varied} "
            "hardly change"
        )
        receipts = among.rows[0][1], latest.receipt
        yield Suspicion(
            latest.who,
            episode,
            words,
            receipts,
            {"varied": varied, "as_coins": share, "submitters": people},
        )
