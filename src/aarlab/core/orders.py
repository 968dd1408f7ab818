"""What operators asked of a campaign while it ran: a view of its record, so that whoever reads the
record, also after a kill, knows the same."""

from typing import Any, NamedTuple

from aarlab.core.entries import EventBody
from aarlab.core.operator_records import Order
from aarlab.core.records import Entry
from aarlab.core.view import EntrySource, View

OPERATOR = "operator"


class Message(NamedTuple):
    """Words of an operator to one researcher, or to all (`to` is None)."""

    number: int  # of the entry
    at: str
    to: str | None
    text: str


class Orders(View):
    """All that was asked so far, as it stands now."""

    def __init__(self, record: EntrySource) -> None:
        super().__init__(record)
        self.paused: int | None = None  # the entry that asked for it; None: the fleet runs
        self.limits: dict[str, float] = {}  # by the name of the field, the highest that was asked
        self.messages: list[Message] = []
        self.hidden: dict[str, int] = {}  # finding -> the entry that hid it
        self.to_confirm: dict[str, int] = {}  # snapshot -> entry

    def now(self) -> "Orders":
        """Itself, up to date."""
        with self._current():
            return self

    def to(self, name: str, after: int = 0) -> list[Message]:
        """The messages to that researcher in entries after that number, in order."""
        with self._current():
            return [m for m in self.messages if m.number > after and m.to in (None, name)]

    def take(self, entry: Entry) -> None:
        """One more entry, from a view that reads the record itself."""
        self._take(entry)

    def _take(self, entry: Entry) -> None:
        if entry.kind != "campaign" or entry.who != OPERATOR or "order" not in entry.body:
            return
        order = entry.read(EventBody).order
        if order is not None:
            getattr(self, f"_{order.act}")(entry, order)

    def _pause(self, entry: Entry, _: Order) -> None:
        self.paused = self.paused or entry.seq

    def _continue(self, _: Entry, __: Order) -> None:
        self.paused = None

    def _extend(self, _: Entry, order: Order) -> None:
        for name, value in order.limits.items():
            self.limits[name] = max(value, self.limits.get(name, value))

    def _message(self, entry: Entry, order: Order) -> None:
        self.messages.append(Message(entry.seq, entry.at, order.researcher, order.text or ""))

    def _hide(self, entry: Entry, order: Order) -> None:
        self.hidden = self.hidden | {order.finding or "": entry.seq}

    def _show(self, _: Entry, order: Order) -> None:
        self.hidden = {name: seq for name, seq in self.hidden.items() if name != order.finding}

    def _confirm(self, entry: Entry, order: Order) -> None:
        self.to_confirm.setdefault(order.snapshot or "", entry.seq)


class NoEntries:
    """A record of nothing: for orders that are taken one by one."""

    def entries(self, *, after: int = 0, limit: int = -1) -> list[Entry]:
        """None."""
        del after, limit
        return []


class CampaignEntries:
    """The entries about the campaign alone, for a reader who needs no others."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def entries(self, *, after: int = 0, limit: int = -1) -> list[Entry]:
        """See `core.view.EntrySource`."""
        return self._ledger.entries("campaign", after=after, limit=limit)
