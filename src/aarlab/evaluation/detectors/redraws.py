"""A pool of answers drawn again and again while all others stand still: staged search and boosting among the answers that a
submitter is unsure of. Under honest work some answers change often, some seldom, most in between; here each changes as a coin
does or hardly at all.

Looked for among each submitter's latest, and among the latest of anybody that use no seed (identities collude).

Legend: M items, K latest submissions, V answers that vary.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import Context, Detector, Submitted, Suspicion, detector

LATEST = 24
SELDOM = 3  # of 24: an answer that changes no oftener does not count as varying, so that a few strangers do no harm
FAIR = (7, 17)  # of 24: a coin falls outside with probability 0.02
SHARE, LEAST = 0.88, 30  # of the answers that vary; and how many must
PAIRS = 0.8  # of the pairs of submissions


@dataclass
class _Latest:
    """Majority answers of the latest submissions, packed."""

    rows: deque[tuple[str, str, NDArray[np.uint8]]] = field(default_factory=lambda: deque(maxlen=LATEST))

    def add(self, latest: Submitted) -> None:
        self.rows.append((latest.who, latest.receipt, np.packbits(latest.majority_M)))

    def answers(self, m: int) -> NDArray[np.uint8]:
        """0 or 1, shape (LATEST, M)."""
        return np.unpackbits(np.stack([row for _, _, row in self.rows]), axis=1, count=m)


def _independent(answers_KV: NDArray[np.uint8]) -> bool:
    """Do most pairs of submissions agree on the varying answers as two rows of coins do? Two methods that take turns vary as
    much, all answers together."""
    signs_KV = np.where(answers_KV, 1.0, -1.0)
    k, v = signs_KV.shape
    agreement = (signs_KV @ signs_KV.T / v)[np.triu_indices(k, 1)]
    return float((np.abs(agreement) < 4 / v**0.5).mean()) >= PAIRS


@detector("re-drawn pool")
class Redraws(Detector):
    """Answers that over 24 submissions vary as independent coins in a pool and hardly elsewhere."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._latest: dict[tuple[str, bool], _Latest] = defaultdict(_Latest)  # of a submitter or "" (anybody); without seeds

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Look at the latest 24 of this submitter, and at those without seeds: this submitter's, and all."""
        sets = [(latest.who, False, "of this submitter")]
        if (latest.answers_SM == latest.answers_SM[0]).all():
            sets += [(latest.who, True, "of this submitter that use no seed"), ("", True, "that use no seed")]
        for who, seedless, whose in sets:
            among = self._latest[who, seedless]
            among.add(latest)
            yield from self._look(latest, among, "pool" if who else "shared pool", whose)

    def _look(self, latest: Submitted, among: _Latest, episode: str, whose: str) -> Iterator[Suspicion]:
        if len(among.rows) < LATEST:
            return
        answers_KM = among.answers(len(self.context.ids))
        ones_M = answers_KM.sum(axis=0, dtype=np.intp)
        varied_M = (ones_M > SELDOM) & (ones_M < LATEST - SELDOM)
        varied = int(varied_M.sum())
        share = int(((ones_M >= FAIR[0]) & (ones_M <= FAIR[1])).sum()) / max(1, varied)
        if varied < LEAST or share < SHARE or not _independent(answers_KM[:, varied_M]):
            return
        people = len({who for who, _, _ in among.rows})
        words = (
            f"over the latest {LATEST} submissions {whose} (by {people}), {varied} answers vary, {share:.0%} as coins do and "
            f"independently; the other {len(ones_M) - varied} hardly change"
        )
        receipts = among.rows[0][1], latest.receipt
        yield Suspicion(latest.who, episode, words, receipts, {"varied": varied, "as_coins": share, "submitters": people})
