"""FindingsView are posted here: each is an entry of the ledger; a figure in one is a receipt id."""

import json
from typing import Any

from aarlab.core.findings import FindingsView, finding_of
from aarlab.core.orders import Orders
from aarlab.core.records import Entry, Finding, FindingKind
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.views import Receipts


class Forum(FindingsView):
    """The forum of one campaign."""

    LIVE = FindingsView.LIVE | {"_evaluator", "_receipts", "_orders"}

    def __init__(self, evaluator: Evaluator, orders: Orders | None = None) -> None:
        super().__init__(evaluator.ledger)
        self._orders = orders or Orders(evaluator.ledger)
        self._evaluator, self._receipts = evaluator, Receipts(evaluator.ledger)
        # (author, body): who sends again what was recorded posts nothing new
        self._said: dict[tuple[str, str], Finding] = {}

    def _take(self, entry: Entry) -> None:
        super()._take(entry)
        if entry.kind == "finding":
            self._said[entry.who, _key(entry.body)] = self._found[-1]

    def share(
        self,
        author: str,
        *,
        kind: FindingKind,
        title: str,
        text: str,
        family: str,
        receipts: list[str],
        snapshot: str | None = None,
        parent: str | None = None,
    ) -> Finding:
        """Post a finding; its author is whoever the token belongs to. The same again is the one
        that was posted.

        Raises:
            InvalidSubmission: it cites a receipt, snapshot or finding that does not exist, or a
                field is too long.
        """
        for receipt in receipts:
            self._receipts.get(receipt)
        if snapshot is not None:
            self._evaluator.code(snapshot)
        if parent is not None:
            self.hidden = self._orders.now().hidden
            self.read(parent)
        body: dict[str, Any] = {"kind": kind, "title": title, "text": text, "family": family}
        body |= {"receipts": receipts, "snapshot": snapshot, "parent": parent}
        finding_of(0, "", author, body)
        with self._current():
            if said := self._said.get((author, _key(body))):
                return said
        entry = self._evaluator.ledger.append("finding", author, body)
        return finding_of(entry.seq, entry.at, author, body)


def _key(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)
