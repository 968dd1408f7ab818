"""The agent of a node: it keeps a connection to the hub, starts and ends the researchers that are
this node's, and ends all of them when the lab was not heard for longer than they may go on.

It dials out: a node needs no open port.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aarlab.core.cluster_layout import NodeFolder
from aarlab.core.errors import AarError, Misconfigured, Transient, Unauthorised
from aarlab.core.held_folder import HeldFolder
from aarlab.core.hold import Hold
from aarlab.core.http import allow_connections
from aarlab.core.own_code import this_build, whole_code
from aarlab.core.records import Record
from aarlab.core.settings import Home
from aarlab.nodes.framing import BEAT_S, OPENING_S, SILENT_S, Wire
from aarlab.nodes.hosted import Hosted
from aarlab.nodes.hosted_home import HostedHome
from aarlab.nodes.hub_socket import address
from aarlab.nodes.joining import REPLY, Joined, context_of, dial, joined
from aarlab.nodes.messages import (
    TO_NODE,
    Ack,
    Alive,
    Attach,
    Begin,
    Incarnation,
    KeepOnly,
    Reply,
    Stop,
    line_of,
)
from aarlab.sandbox import volume

FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 5.0
WATCH_S = 1.0
LAST_S = 60.0  # for homes to be kept when the agent is stopped
Key = tuple[str, str]  # campaign, researcher


class NodeAgent:
    """See the module's docstring. `say_line`: shows a line to the node's operator."""

    def __init__(
        self, home: Home, capacity: int, sockets: Path, say_line: Callable[[str], object]
    ) -> None:
        self._folder, self.data, self.sockets = NodeFolder(home.node), home.node_data, sockets
        self._joined: Joined = joined(self._folder)
        self._hub = address(self._joined.hub, str(self._folder.settings))
        self._context, self.python = context_of(self._folder), sys.executable
        self._capacity, self._say_line = capacity, say_line
        # sandboxes end with the thread that started them: it lasts as long as we
        self.starts = ThreadPoolExecutor(1, thread_name_prefix="starts")
        self.hosted: dict[Key, Hosted] = {}
        self._wire: Wire | None = None
        self._synced: set[str] = set()  # campaigns whose list came by this connection
        self._heard: dict[str, float] = {}  # campaign -> when, by the monotonic clock
        self._stop_asked, self._shown = asyncio.Event(), ""
        self._work: set[asyncio.Task[None]] = set()
        self._orders: dict[Key, asyncio.Lock] = {}

    # --- what those whom it hosts use (`hosted.NodeServices`) ------------------------------------

    async def reach(self) -> Wire:
        """A connection to the hub. Raises Transient where there is none now."""
        if self._wire is None:
            raise Transient("The lab cannot be reached now. Try again.")
        return await dial(self._hub, self._context)

    def say(self, record: Record) -> None:
        """To the hub, if it is there now; what matters is said again when it is back."""
        if self._wire is not None:
            self._wire.writer.write(line_of(record))

    def place(self, who: Incarnation) -> HostedHome:
        """Where its home and its log are."""
        return HostedHome(self._folder, who)

    # --- its course -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end all researchers, in order.

        Raises:
            Misconfigured: the hub refuses this node permanently; all researchers were ended.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked.set)
        watch = asyncio.create_task(self._watch())
        attached = asyncio.create_task(self._stay_attached())
        stopped = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait([attached, stopped, watch], return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                await self._end_all("its node was stopped")
            for task in (attached, watch):
                if task.done():
                    task.result()
        finally:
            for hosted in list(self.hosted.values()):
                await hosted.forget()
            for task in (attached, watch, stopped):
                task.cancel()
            self.starts.shutdown()

    async def _end_all(self, fault: str) -> None:
        self._show("stopping: researchers are ended, and their homes kept")
        await asyncio.gather(*(h.end(fault) for h in self.hosted.values()))
        until = time.monotonic() + LAST_S
        while not all(h.done for h in self.hosted.values()) and time.monotonic() < until:
            await asyncio.sleep(0.1)
        if self._wire is not None:
            await self._wire.close()

    async def _stay_attached(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                await self._attached()
            except Transient as error:
                self._show(str(error))
            except (Unauthorised, Misconfigured) as error:
                raise Misconfigured(str(error)) from error
            except AarError as error:  # a message that is none: connect again
                self._show(str(error))
            lasted = time.monotonic() - began > SILENT_S
            pause = FIRST_PAUSE_S if lasted else min(2 * pause, MOST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _attached(self) -> None:
        """One connection, from its beginning to its end. Raises why it ended."""
        wire = await dial(self._hub, self._context)
        beat = None
        try:
            await wire.send(self._attach())
            reply: Reply = await wire.record(REPLY, OPENING_S)
            if not reply.ok:
                raise (Unauthorised if reply.final else Transient)(reply.words)
            self._wire, self._synced = wire, set()
            self._show(f"connected to {self._hub}")
            beat = asyncio.create_task(self._beat(wire))
            while True:
                message = await wire.record(TO_NODE, SILENT_S)
                for campaign in self._synced:
                    self._heard[campaign] = time.monotonic()
                self._heed(message)
        finally:
            self._wire = None
            for hosted in self.hosted.values():
                hosted.cut_off()
            if beat is not None:
                beat.cancel()
            wire.cut()

    def _attach(self) -> Attach:
        return Attach(
            code=whole_code().digest,
            version=str(this_build())[:200],
            capacity=self._capacity,
            hosted=tuple(h.who for h in self.hosted.values()),
        )

    async def _beat(self, wire: Wire) -> None:
        while True:
            wire.writer.write(line_of(Alive()))
            await asyncio.sleep(BEAT_S)

    def _show(self, words: str) -> None:
        if words != self._shown:
            self._shown = words
            self._say_line(f"{time.strftime('%F %T')} {self._joined.name}: {words}")

    # --- orders -----------------------------------------------------------------------------------

    def _heed(self, message: object) -> None:
        if isinstance(message, KeepOnly):
            self._synced.add(message.campaign)
            self._heard[message.campaign] = time.monotonic()
            self._soon(self._keep_only(message))
        elif isinstance(message, Begin):
            self._synced.add(message.who.campaign)
            self._heard[message.who.campaign] = time.monotonic()
            self._soon(self._begin(message))
        elif isinstance(message, Stop):
            self._soon(self._stop(message))
        elif isinstance(message, Ack) and (found := self._found(message.who)):
            found.acknowledged(message)

    def _found(self, who: Incarnation) -> Hosted | None:
        found = self.hosted.get((who.campaign, who.researcher))
        return found if found is not None and found.who == who else None

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _one_at_a_time(self, key: Key) -> asyncio.Lock:
        return self._orders.setdefault(key, asyncio.Lock())

    async def _begin(self, begin: Begin) -> None:
        key = begin.who.campaign, begin.who.researcher
        async with self._one_at_a_time(key):
            before = self.hosted.get(key)
            if before is not None:
                if before.who.number > begin.who.number:
                    return
                if before.who == begin.who:
                    before.again(begin.output_from)
                    return
                await before.forget()
            self.hosted[key] = Hosted(begin, self)

    async def _stop(self, stop: Stop) -> None:
        key = stop.who.campaign, stop.who.researcher
        async with self._one_at_a_time(key):
            if (found := self._found(stop.who)) is None:
                return
            if stop.at_once:
                await found.forget()
                del self.hosted[key]
            else:
                found.ask_to_stop()

    async def _keep_only(self, wanted: KeepOnly) -> None:
        """End every other incarnation of that campaign: it was moved, or its campaign is over."""
        for key, hosted in list(self.hosted.items()):
            if key[0] != wanted.campaign or hosted.who in wanted.who:
                continue
            async with self._one_at_a_time(key):
                if self.hosted.get(key) is hosted:
                    await hosted.forget()
                    del self.hosted[key]
                    home = self._folder.homes.joinpath(*key)
                    await asyncio.to_thread(volume.let_go, home)

    async def _watch(self) -> None:
        """End whoever's campaign was not heard for longer than it may go on."""
        while True:
            now = time.monotonic()
            for key, hosted in list(self.hosted.items()):
                silent_s = now - self._heard.get(key[0], now)
                if silent_s > hosted.begin.grace_s and not hosted.ending:
                    words = f"the lab was not heard for {silent_s:.0f} s"
                    self._show(f"{key[1]} of {key[0]} is ended: {words}")
                    await hosted.end(f"on its node {words}")
            await asyncio.sleep(WATCH_S)


def serve(home: Home, capacity: int | None, say_line: Callable[[str], object]) -> None:
    """Run the agent of this machine until it is stopped.

    Raises:
        Misconfigured: it has not joined, another agent runs, or the hub refuses it.
    """
    folder = NodeFolder(home.node)

    def busy(holder: str) -> str:
        return f"An agent of this node runs already: process {holder}."

    joined(folder)
    allow_connections()
    with Hold(folder.lock, busy), HeldFolder(0o711) as held:
        volume.recover()
        most = capacity or max(1, os.cpu_count() or 1)

        async def run() -> None:
            await NodeAgent(home, most, held.path, say_line).run()

        asyncio.run(run())
