"""The hub's list of which incarnation is which node's, as fleets' supervisors say; and what passes
between them and the nodes.

A supervisor's researchers may run on nodes as long as its connection is open: its end ends them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aarlab.core.errors import Transient
from aarlab.core.records import Record
from aarlab.nodes.framing import Wire
from aarlab.nodes.messages import (
    FROM_SUPERVISOR,
    Ack,
    Assign,
    AttachCampaign,
    Incarnation,
    IncarnationBegun,
    IncarnationEnded,
    KeepOnly,
    NodeNow,
    Output,
    Release,
    Reply,
    Stop,
    UsageReport,
    line_of,
)

WEEK_S = 7 * 86_400.0  # a supervisor may be silent: only its end means something
SELDOM_S = 0.5  # between two messages of one kind about one researcher
MOST_WAITING = 64 << 20  # bytes that a supervisor may be behind


@dataclass
class Assigned:
    """An incarnation that is a node's."""

    assign: Assign
    relays: set[Wire] = field(default_factory=set)
    acked: int = 0
    begun: bool = False
    storing: bool = False  # a home of it is on its way
    open_at: int = -1  # of output that was passed on and is not acknowledged: where it begins
    last: dict[str, float] = field(default_factory=dict)  # kind of message -> when

    def may_pass(self, message: Output | UsageReport | IncarnationBegun | IncarnationEnded) -> bool:
        """One piece of output at a time, and others not too often: no node can flood."""
        if isinstance(message, Output):
            if message.at != self.acked or self.open_at == message.at:
                return False
            self.open_at = message.at
            return True
        self.begun |= isinstance(message, IncarnationBegun)
        now = time.monotonic()
        if now - self.last.get(message.kind, -SELDOM_S) < SELDOM_S:
            return False
        self.last[message.kind] = now
        return True

    def cut(self) -> None:
        """End all connections of the researcher."""
        for wire in list(self.relays):
            wire.cut()


class Session:
    """One supervisor's."""

    def __init__(self, wire: Wire, opening: AttachCampaign) -> None:
        self.name, self.homes, self._wire = opening.name, Path(opening.homes), wire
        self.assigned: dict[str, Assigned] = {}  # by the researcher's name

    def push(self, record: Record) -> None:
        """Send it something; one that is far behind is cut off."""
        transport = self._wire.writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MOST_WAITING:
            self._wire.cut()
            return
        self._wire.writer.write(line_of(record))

    def of(self, node: str) -> Iterable[Assigned]:
        """What is that node's."""
        return [a for a in self.assigned.values() if a.assign.node == node]

    def cut(self) -> None:
        """End its connection."""
        self._wire.cut()


class Sessions:
    """All of them. `wire_of`: the connection of a node's agent, if it is there."""

    def __init__(self, wire_of: Callable[[str], Wire | None]) -> None:
        self.by_name: dict[str, Session] = {}
        self._wire_of = wire_of

    async def serve(self, wire: Wire, opening: AttachCampaign, now: Iterable[NodeNow]) -> None:
        """Follow a supervisor until its end; then its researchers are ended."""
        session, before = Session(wire, opening), self.by_name.get(opening.name)
        if before is not None:
            before.cut()
            self._drop(before)
        self.by_name[opening.name] = session
        session.push(Reply(ok=True))
        for node in now:
            session.push(node)
        try:
            while True:
                message = await wire.record(FROM_SUPERVISOR, WEEK_S)
                self._heed(session, message)
        except Transient:
            pass
        finally:
            if self.by_name.get(opening.name) is session:
                del self.by_name[opening.name]
                self._drop(session)

    def _drop(self, session: Session) -> None:
        nodes = {assigned.assign.node for assigned in session.assigned.values()}
        for assigned in session.assigned.values():
            assigned.cut()
        session.assigned.clear()
        for node in nodes:
            self._to(node, KeepOnly(campaign=session.name, who=()))

    def _heed(self, session: Session, message: object) -> None:
        if isinstance(message, Assign):
            self._assign(session, message)
        elif isinstance(message, Release | Stop | Ack):
            mine = session.assigned.get(message.who.researcher)
            if mine is None or mine.assign.begin.who != message.who:
                return
            if isinstance(message, Ack):
                mine.acked = max(mine.acked, message.at)
            if isinstance(message, Release):
                del session.assigned[message.who.researcher]
                mine.cut()
                self._to(mine.assign.node, Stop(who=message.who, at_once=True))
            else:
                self._to(mine.assign.node, message)

    def _assign(self, session: Session, assign: Assign) -> None:
        who = assign.begin.who
        before = session.assigned.get(who.researcher)
        if who.campaign != session.name or (
            before is not None and before.assign.begin.who.number > who.number
        ):
            return
        if before is not None:
            before.cut()
            if before.assign.begin.who != who or before.assign.node != assign.node:
                self._to(before.assign.node, Stop(who=before.assign.begin.who, at_once=True))
        session.assigned[who.researcher] = Assigned(assign, acked=assign.begin.output_from)
        self._to(assign.node, assign.begin)

    def _to(self, node: str, record: Record) -> None:
        if wire := self._wire_of(node):
            wire.writer.write(line_of(record))

    # --- nodes ------------------------------------------------------------------------------------

    def node_came(self, node: str, wire: Wire, hosted: Sequence[Incarnation], now: NodeNow) -> None:
        """Say to a node which incarnations are its own. One that it had begun, and has no more, is
        over: its agent was started again."""
        for session in self.by_name.values():
            mine = list(session.of(node))
            wanted = tuple(a.assign.begin.who for a in mine)
            wire.writer.write(line_of(KeepOnly(campaign=session.name, who=wanted)))
            for assigned in mine:
                assigned.open_at, who = -1, assigned.assign.begin.who
                if assigned.begun and who not in hosted:
                    fault = f"the agent of {node} was started again"
                    session.push(IncarnationEnded(who=who, code=255, fault=fault))
                    continue
                again = assigned.assign.begin.model_copy(update={"output_from": assigned.acked})
                wire.writer.write(line_of(again))
        self.everywhere(now)

    def everywhere(self, record: Record) -> None:
        """To all supervisors."""
        for session in self.by_name.values():
            session.push(record)

    def hosted_by(self, node: str) -> int:
        """How many researchers are that node's."""
        return sum(len(list(session.of(node))) for session in self.by_name.values())

    def assigned(self, node: str, who: Incarnation) -> tuple[Session, Assigned] | None:
        """Where this incarnation is that node's now."""
        session = self.by_name.get(who.campaign)
        mine = session.assigned.get(who.researcher) if session else None
        if session is None or mine is None:
            return None
        own = mine.assign.node == node and mine.assign.begin.who == who
        return (session, mine) if own else None

    def passed_on(
        self, node: str, message: Output | UsageReport | IncarnationBegun | IncarnationEnded
    ) -> bool:
        """Pass on what a node says of a researcher of its own; False where it is not."""
        found = self.assigned(node, message.who)
        if found is None:
            return False
        session, mine = found
        if mine.may_pass(message):
            session.push(message)
        return True

    def file(self, node: str, campaign: str, sha256: str) -> Path | None:
        """Where data are that are for a researcher of that node."""
        session = self.by_name.get(campaign)
        for assigned in session.of(node) if session else ():
            if sha256 in assigned.assign.files:
                return Path(assigned.assign.files[sha256])
        return None
