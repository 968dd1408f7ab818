"""Same code and seeds, other answers: a snapshot's answers on its issued seeds are one bundle; a
second was not made by it."""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aarlab.evaluation.detectors.contract import (
    Context,
    Detector,
    Submitted,
    Suspicion,
    detector,
)

# bundles of one snapshot (two may be an accident of the machine); snapshots
TIMES, REMEMBERED = 3, 4096


@detector("same code, other answers")
class SameCode(Detector):
    """Three different bundles under one snapshot."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # snapshot -> (receipt, answers as packed bits)
        self._bundles: OrderedDict[str, list[tuple[str, NDArray[np.uint8]]]] = OrderedDict()

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Count the bundles of the latest one's snapshot."""
        mine, bits = self._bundles.setdefault(latest.snapshot, []), np.packbits(latest.answers_SM)
        if len(mine) < TIMES and not any(np.array_equal(other, bits) for _, other in mine):
            mine.append((latest.receipt, bits))
        self._bundles.move_to_end(latest.snapshot)
        if len(self._bundles) > REMEMBERED:
            self._bundles.popitem(last=False)
        if len(mine) >= TIMES:
            apart = int(np.bitwise_count(mine[0][1] ^ bits).sum()) / latest.answers_SM.size
            code = latest.snapshot[:12]
            words = (
                f"{TIMES} bundles on the same seeds came from the one snapshot {code}; {apart:.1%} "
                "of the answers differ"
            )
            receipts = tuple(receipt for receipt, _ in mine)
            yield Suspicion(
                latest.who, latest.snapshot, words, receipts, {"bundles": len(mine), "apart": apart}
            )
