"""The forum's findings, to be listed, read and searched: a view of the record. Who posts one is
`evaluation.forum`'s matter."""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Entry, Finding
from aarlab.core.view import EntrySource, View

MOST = 100  # findings in one answer


class FindingsView(View):
    """The findings of one campaign; a finding's number is its entry's. Those that an operator hid
    are not there."""

    LIVE = View.LIVE | {"hidden"}

    def __init__(self, record: EntrySource) -> None:
        super().__init__(record)
        self.hidden: Collection[str] = ()  # ids; whoever makes the view sets it
        self._found: list[Finding] = []
        self._numbers: list[int] = []  # of the findings, ascending
        self._texts: list[str] = []  # what is searched, without regard to case
        self._by_id: dict[str, Finding] = {}

    def _take(self, entry: Entry) -> None:
        if entry.kind == "finding":
            finding = finding_of(entry.seq, entry.at, entry.who, entry.body)
            self._found.append(finding)
            self._numbers.append(entry.seq)
            self._texts.append(f"{finding.title} {finding.text} {finding.family}".casefold())
            self._by_id[finding.id] = finding

    def since(self, after: int, limit: int) -> list[Finding]:
        """Up to `limit` findings (at most 100) with a number above `after`, oldest first."""
        with self._current():
            shown = self._from(bisect_right(self._numbers, after))
            return list(islice(shown, max(0, min(limit, MOST))))

    def _from(self, place: int) -> Iterator[Finding]:
        hidden = self.hidden
        while place < len(self._found):
            if self._found[place].id not in hidden:
                yield self._found[place]
            place += 1

    def read(self, finding: str) -> Finding:
        """One finding.

        Raises:
            InvalidSubmission: there is none of that id.
        """
        with self._current():
            found = self._by_id.get(finding)
        if found is None or finding in self.hidden:
            words = f"There is no finding '{finding[:40]}'. List the findings to see their ids."
            raise InvalidSubmission(words, finding=finding[:40])
        return found

    def search(self, query: str, limit: int = 20) -> list[Finding]:
        """The latest findings whose title, text or family contains every word of the query, latest
        first."""
        words, most, hits = query.casefold().split(), max(0, min(limit, MOST)), []
        with self._current():
            count = len(self._texts)
        for number in range(count - 1, -1, -1):  # what is there stays there, so no lock is needed
            if len(hits) == most:
                break
            found = self._found[number]
            if found.id not in self.hidden and all(w in self._texts[number] for w in words):
                hits.append(found)
        return hits


def finding_of(seq: int, at: str, author: str, body: dict[str, Any]) -> Finding:
    """The finding that an entry records."""
    return Finding.model_validate_json(
        json.dumps(body | {"id": f"f-{seq:06d}", "at": at, "author": author})
    )
