"""Which researcher was sent what others wrote, and when for the first time: so that it can be said
afterwards whether two researchers came to an idea independently."""

import threading
from collections.abc import Sequence
from typing import Literal

from aarlab.core.callers import Identity
from aarlab.core.entries import CodeBody, ReadBody
from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Entry
from aarlab.core.view import View
from aarlab.evaluation.ledger.ledger import Ledger

How = Literal["opened", "listed", "downloaded"]


class Reads(View):
    """What each researcher has read so far, its own findings and code among it: a bit for each
    finding and snapshot, for there may be millions of pairs."""

    LIVE = View.LIVE | {"_ledger", "_turns"}

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._ledger = ledger
        self._turns: dict[str, threading.Lock] = {}  # by researcher
        self._places: dict[str, int] = {}  # of each finding, by its id, and of each snapshot
        self._whole: dict[str, int] = {}  # by researcher; bit n: the one at place n
        self._listed: dict[str, int] = {}  # those in a list, and whole

    def _take(self, entry: Entry) -> None:
        if entry.kind == "finding":
            self._know(entry.who, [f"f-{entry.seq:06d}"])
        elif entry.kind == "code":
            self._know(entry.who, [entry.read(CodeBody).snapshot])
        elif entry.kind == "read":
            body = entry.read(ReadBody)
            self._know(entry.who, body.what, listed=body.how == "listed")

    def _know(self, who: str, what: Sequence[str], *, listed: bool = False) -> None:
        bits = 0
        for one in what:
            bits |= 1 << self._places.setdefault(one, len(self._places))
        self._listed[who] = self._listed.get(who, 0) | bits
        if not listed:  # who opened a finding needs no list of it any more
            self._whole[who] = self._whole.get(who, 0) | bits

    def add(self, me: Identity, how: How, what: Sequence[str]) -> None:
        """Record that a researcher is sent this, as far as it is the first time and another's.
        `what`: ids of findings, or a snapshot that was committed.

        Raises:
            InvalidSubmission: there is none of that id.
            Transient: the store could not take it; send nothing.
        """
        if me.role != "researcher":
            return
        with self._turns.setdefault(me.name, threading.Lock()):
            if new := self._new(me.name, how, what):
                self._ledger.append("read", me.name, ReadBody(how=how, what=new).plain())

    def _new(self, who: str, how: How, what: Sequence[str]) -> tuple[str, ...]:
        with self._current():
            if absent := set(what) - self._places.keys():
                raise InvalidSubmission(f"There is no {min(absent)}.", absent=True)
            known = (self._listed if how == "listed" else self._whole).get(who, 0)
            return tuple(one for one in dict.fromkeys(what) if not known >> self._places[one] & 1)
