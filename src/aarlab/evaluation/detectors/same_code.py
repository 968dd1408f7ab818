"""Same code and seeds, other answers: a snapshot's answers on its issued seeds are one bundle; a second was not made by it."""

from collections import OrderedDict
from collections.abc import Iterator

from aarlab.evaluation.detectors.contract import Context, Detector, Submitted, Suspicion, detector

TIMES, REMEMBERED = 3, 4096  # bundles of one snapshot (two may be an accident of the machine); snapshots


@detector("same code, other answers")
class SameCode(Detector):
    """Three different bundles under one snapshot."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._bundles: OrderedDict[str, list[Submitted]] = OrderedDict()

    def see(self, latest: Submitted) -> Iterator[Suspicion]:
        """Count the bundles of the latest one's snapshot."""
        mine = self._bundles.setdefault(latest.snapshot, [])
        if len(mine) < TIMES and not any((one.answers_SM == latest.answers_SM).all() for one in mine):
            mine.append(latest)
        self._bundles.move_to_end(latest.snapshot)
        if len(self._bundles) > REMEMBERED:
            self._bundles.popitem(last=False)
        if len(mine) >= TIMES:
            apart = float((mine[0].answers_SM != latest.answers_SM).mean())
            code = latest.snapshot[:12]
            words = f"{TIMES} bundles on the same seeds came from the one snapshot {code}; {apart:.1%} of the answers differ"
            receipts = tuple(one.receipt for one in mine)
            yield Suspicion(latest.who, latest.snapshot, words, receipts, {"bundles": len(mine), "apart": apart})
