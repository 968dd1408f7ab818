"""Which researcher read which finding and downloaded whose code, and when first, as the ledger has
it. A ledger of a version that did not record it says nothing of it: not that nobody did."""

from typing import Any, NamedTuple

from aarlab.core.entries import ReadBody
from aarlab.core.records import Entry
from aarlab.web.shown_text import line


class Reader(NamedTuple):
    """Who was sent it whole, and when first."""

    who: str
    at: str
    how: str


class WhoRead:
    """What is recorded so far."""

    def __init__(self) -> None:
        self.since_seq: int | None = None  # the entry from which on it is recorded, and its time
        self.since: str | None = None
        self.readers: dict[str, tuple[Reader, ...]] = {}  # by finding or snapshot

    def take(self, entry: Entry) -> None:
        """Add what an entry of any kind says."""
        if entry.kind == "read":
            self._begin(entry)
            body = entry.read(ReadBody)
            one = Reader(entry.who, entry.at, body.how)
            self.readers |= {what: (*self.readers.get(what, ()), one) for what in body.what}
        elif entry.kind == "campaign" and entry.body.get("reads") is True:
            self._begin(entry)

    def _begin(self, entry: Entry) -> None:
        if self.since_seq is None:
            self.since_seq, self.since = entry.seq, entry.at

    def of(self, what: str) -> dict[str, list[dict[str, Any]]]:
        """Who opened a finding, who had it only in a list, and who downloaded a snapshot; in order
        of time."""
        found: dict[str, list[dict[str, Any]]] = {"opened": [], "listed": [], "downloaded": []}
        opened = {one.who for one in self.readers.get(what, ()) if one.how != "listed"}
        for who, at, how in self.readers.get(what, ()):
            if how != "listed" or who not in opened:
                found[how].append({"researcher": line(who), "at": at})
        return found

    def all_of(self, seq: int) -> bool:
        """Whether everybody is known who read what entry `seq` holds."""
        return self.since_seq is not None and seq > self.since_seq
