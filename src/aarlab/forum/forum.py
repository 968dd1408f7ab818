"""Findings: shared, listed, read, searched. They live in the ledger; a figure in one is a receipt id."""

import json
from bisect import bisect_right
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Entry, Family, Finding, FindingKind
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.follow import Receipts, View

MOST = 100  # findings in one answer


class Forum(View):
    """The forum of one campaign."""

    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__(evaluator.ledger)
        self._evaluator, self._receipts = evaluator, Receipts(evaluator.ledger)
        self._found: list[Finding] = []
        self._numbers: list[int] = []  # of the findings, ascending
        self._texts: list[str] = []  # what is searched, without regard to case
        self._by_id: dict[str, Finding] = {}
        self._said: dict[tuple[str, str], Finding] = {}  # (author, body): who sends again what was recorded posts nothing anew

    def _take(self, entry: Entry) -> None:
        if entry.kind == "finding":
            finding = _finding(entry.seq, entry.at, entry.who, entry.body)
            self._found.append(finding)
            self._numbers.append(entry.seq)
            self._texts.append(f"{finding.title} {finding.text} {finding.family}".casefold())
            self._by_id[finding.id] = finding
            self._said[entry.who, _key(entry.body)] = finding

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
        """Post a finding; its author is whoever the token belongs to. The same again is the one that was posted.

        Raises:
            InvalidSubmission: it cites a receipt, snapshot or finding that does not exist, or a field is too long.
        """
        for receipt in receipts:
            self._receipts.get(receipt)
        if snapshot is not None:
            self._evaluator.code(snapshot)
        if parent is not None:
            self.read(parent)
        body: dict[str, Any] = {"kind": kind, "title": title, "text": text, "family": family.value}
        body |= {"receipts": receipts, "snapshot": snapshot, "parent": parent}
        _finding(0, "", author, body)
        with self._current():
            if said := self._said.get((author, _key(body))):
                return said
        entry = self._ledger.append("finding", author, body)
        return _finding(entry.seq, entry.at, author, body)

    def since(self, after: int, limit: int) -> list[Finding]:
        """Up to `limit` findings (at most 100) with a number above `after`, oldest first."""
        with self._current():
            first = bisect_right(self._numbers, after)
            return self._found[first : first + max(0, min(limit, MOST))]

    def read(self, finding: str) -> Finding:
        """One finding.

        Raises:
            InvalidSubmission: there is none of that id.
        """
        with self._current():
            found = self._by_id.get(finding)
        if found is None:
            words = f"There is no finding '{finding[:40]}'. List the findings to see their ids."
            raise InvalidSubmission(words, finding=finding[:40])
        return found

    def search(self, query: str, limit: int = 20) -> list[Finding]:
        """The latest findings whose title, text or family contains every word of the query, latest first."""
        words, most, hits = query.casefold().split(), max(0, min(limit, MOST)), []
        with self._current():
            count = len(self._texts)
        for number in range(count - 1, -1, -1):  # what is there stays there, so no lock is needed
            if len(hits) == most:
                break
            if all(word in self._texts[number] for word in words):
                hits.append(self._found[number])
        return hits


def _key(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def _finding(seq: int, at: str, author: str, body: dict[str, Any]) -> Finding:
    """A finding's number is its ledger entry's."""
    return Finding.model_validate_json(json.dumps(body | {"id": f"f-{seq:06d}", "at": at, "author": author}))
