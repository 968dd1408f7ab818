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
    """What each researcher has read so far, its own findings and code among it."""

    LIVE = View.LIVE | {"_ledger", "_turns"}

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._ledger = ledger
        self._turns: dict[str, threading.Lock] = {}  # by researcher
        self._posted: set[str] = set()  # ids of findings
        # (who, id of a finding or snapshot); who opened a finding needs no list of it any more
        self._whole: set[tuple[str, str]] = set()
        self._listed: set[tuple[str, str]] = set()

    def _take(self, entry: Entry) -> None:
        if entry.kind == "finding":
            finding = f"f-{entry.seq:06d}"
            self._posted.add(finding)
            self._whole.add((entry.who, finding))
        elif entry.kind == "code":
            self._whole.add((entry.who, entry.read(CodeBody).snapshot))
        elif entry.kind == "read":
            body = entry.read(ReadBody)
            into = self._listed if body.how == "listed" else self._whole
            into.update((entry.who, one) for one in body.what)

    def add(self, me: Identity, how: How, what: Sequence[str]) -> None:
        """Record that a researcher is sent this, as far as it is the first time and another's.
        `what`: ids of findings, or a snapshot that was committed.

        Raises:
            InvalidSubmission: there is no finding of that id.
            Transient: the store could not take it; send nothing.
        """
        if me.role != "researcher":
            return
        with self._turns.setdefault(me.name, threading.Lock()):
            if new := self._new(me.name, how, what):
                self._ledger.append("read", me.name, ReadBody(how=how, what=new).plain())

    def _new(self, who: str, how: How, what: Sequence[str]) -> tuple[str, ...]:
        with self._current():
            if how != "downloaded" and (absent := set(what) - self._posted):
                raise InvalidSubmission(f"There is no finding {min(absent)}.", absent=True)
            known = (self._whole, self._listed) if how == "listed" else (self._whole,)
            return tuple(
                one for one in dict.fromkeys(what) if not any((who, one) in some for some in known)
            )
