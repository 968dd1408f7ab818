"""Findings: shared, listed, read, searched. They live in the ledger; a figure in one is a receipt id."""

import json
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family, Finding, FindingKind
from aarlab.evaluation.evaluator import Evaluator


class Forum:
    """The forum of one campaign."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._ledger = evaluator.ledger
        self._evaluator = evaluator

    def share(
        self,
        author: str,
        *,
        kind: FindingKind,
        title: str,
        text: str,
        family: Family,
        receipts: list[str],
        snapshot: str | None = None,
        parent: str | None = None,
    ) -> Finding:
        """Post a finding; its author is whoever the token belongs to.

        Raises:
            InvalidSubmission: it cites a receipt, snapshot or finding that does not exist, or a field is too long.
        """
        known = {e.body["receipt"]["id"] for e in self._ledger.entries("submission")}
        if unknown := [r for r in receipts if r not in known]:
            raise InvalidSubmission(f"There is no receipt '{unknown[0][:40]}'. Cite receipts that the evaluator gave.")
        if snapshot is not None:
            self._evaluator.code(snapshot)
        if parent is not None:
            self.read(parent)
        body: dict[str, Any] = {"kind": kind, "title": title, "text": text, "family": family.value}
        body |= {"receipts": receipts, "snapshot": snapshot, "parent": parent}
        Finding.model_validate_json(json.dumps(body | {"id": "f-0", "at": "", "author": author}))
        entry = self._ledger.append("finding", author, body)
        return _finding(entry.seq, entry.at, author, body)

    def since(self, after: int, limit: int) -> list[Finding]:
        """Up to `limit` findings (at most 100) with a number above `after`, oldest first."""
        return self._all(after)[: max(0, min(limit, 100))]

    def read(self, finding: str) -> Finding:
        """One finding.

        Raises:
            InvalidSubmission: there is none of that id.
        """
        for one in self._all(0):
            if one.id == finding:
                return one
        raise InvalidSubmission(f"There is no finding '{finding[:40]}'. List the findings to see their ids.")

    def search(self, query: str, limit: int = 20) -> list[Finding]:
        """The latest findings whose title, text or family contains every word of the query."""
        words = query.casefold().split()
        hits = [f for f in self._all(0) if all(w in f"{f.title} {f.text} {f.family}".casefold() for w in words)]
        return hits[::-1][: max(0, min(limit, 100))]

    def _all(self, after: int) -> list[Finding]:
        return [_finding(e.seq, e.at, e.who, e.body) for e in self._ledger.entries("finding", after=after)]


def _finding(seq: int, at: str, author: str, body: dict[str, Any]) -> Finding:
    """A finding's number is its ledger entry's."""
    return Finding.model_validate_json(json.dumps(body | {"id": f"f-{seq:06d}", "at": at, "author": author}))
