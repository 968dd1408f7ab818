"""The detectors of one campaign, beside the path of a submission: they are shown what was answered
once it is recorded, and what they raise is recorded after it."""

import logging
from collections.abc import Sequence

from aarlab.core.entries import EventBody
from aarlab.core.errors import Transient
from aarlab.evaluation.detectors import Flag, Submitted, Watch
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.views import SET_ASIDE, WORKS_AGAIN, aside_in

log = logging.getLogger("aarlab.evaluation")


class DetectorRunner:
    """`watch`: the detectors, once what they know is derived from the ledger."""

    watch: Watch

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        # answered, and not shown to the detectors yet; None: one of these failed
        self._unseen: list[Submitted] | None = []
        self._flags: list[Flag] = []  # raised, and not recorded yet
        self._aside: dict[str, str] = {}  # detectors that the ledger says were set aside, and why

    @property
    def settled(self) -> bool:
        """Whether they have seen all that was answered, and all that they raised is recorded."""
        return self._unseen == [] and not self._flags

    def begin(self, flags: Sequence[Flag]) -> None:
        """Record what they raised of submissions that were recorded before this process began."""
        self.note_flags(flags)
        self._aside = aside_in(self._ledger.each("campaign"))
        self._note_aside()

    def answered(self, one: Submitted) -> None:
        """A submission that `look` is to show them."""
        if self._unseen is not None:
            self._unseen.append(one)

    def look(self) -> None:
        """Show them what was answered; should the process end before, the next one does. Where a
        bug in aarlab ends this, none of them is shown more before the next start. Flags that the
        ledger cannot take now are recorded after the next submission, or at the next start."""
        unseen, self._unseen = self._unseen, None
        if unseen is None:
            return
        self._flags += [flag for one in unseen for flag in self.watch.see(one)]
        self._unseen = []
        try:
            self.note_flags(self._flags)
            self._flags = []
            self._note_aside()
        except Transient as error:
            log.warning("%d flags cannot be recorded now: %s", len(self._flags), error)

    def note_flags(self, flags: Sequence[Flag]) -> None:
        """Record flags. They are the operator's to read; those that use labels nobody else's."""
        self._ledger.append_many([Draft("flag", "evaluator", flag.plain()) for flag in flags])

    def _note_aside(self) -> None:
        """Record which detectors were set aside, and which that the ledger says were work again."""
        now = self.watch.aside
        noted = {name: words for name, words in now.items() if self._aside.get(name) != words}
        events = [
            EventBody(event=SET_ASIDE, detail=words, detector=name) for name, words in noted.items()
        ]
        again = self._aside.keys() & self.watch.watching
        events += [EventBody(event=WORKS_AGAIN, detector=name) for name in sorted(again)]
        self._ledger.append_many([Draft("campaign", "evaluator", e.plain()) for e in events])
        self._aside = dict(now)
