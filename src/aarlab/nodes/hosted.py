"""On a node: one incarnation of a researcher, from the order to start it to its last output."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.records import Record
from aarlab.nodes.framing import Wire
from aarlab.nodes.hosted_home import HostedHome, fetched_folder
from aarlab.nodes.log_tail import LogTail
from aarlab.nodes.messages import (
    CHUNK,
    Ack,
    Begin,
    Incarnation,
    IncarnationBegun,
    IncarnationEnded,
    Output,
    UsageReport,
)
from aarlab.nodes.program import sandbox_of, start_program
from aarlab.nodes.relay import Relay
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.researcher import IncarnationStart
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.sandbox import Sandbox, Standing

POLL_S, USED_S = 0.2, 5.0
DRAIN_S = 0.3  # between a process's end and the reading of its last output
LAST_OUTPUT_S = 600.0  # for what it printed to be taken by the lab
ENDED_HERE = 255


class NodeServices(Protocol):
    """What an agent gives to those whom it hosts."""

    python: str
    sockets: Path  # a folder for sockets
    data: Path  # where data are kept by their hash
    starts: Executor  # the one thread that starts sandboxes: they end with it

    async def reach(self) -> Wire:
        """A connection to the hub; Transient where there is none."""
        ...

    def say(self, record: Record) -> None:
        """To the hub, if it is there now."""
        ...

    def place(self, who: Incarnation) -> HostedHome:
        """Where its home and its log are."""
        ...


@dataclass
class OutputSender:
    """Its output on the way: one piece at a time, the next when the lab has it."""

    tail: LogTail
    who: Incarnation
    say: Callable[[Record], None]
    at: int = 0
    piece: bytes = b""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def step(self) -> bool:
        """Send the next piece, if there is one and none is on its way; whether all has arrived."""
        if not self.piece:
            self.piece = self.tail.read(CHUNK)
            if not self.piece:
                return True
            self._send()
        return False

    def _send(self) -> None:
        self.say(Output(who=self.who, at=self.at, data=self.piece))

    def arrived(self, at: int) -> None:
        """The lab has so many bytes."""
        if self.piece and at >= self.at + len(self.piece):
            self.at, self.piece = at, b""
        self.changed.set()

    def again(self, at: int) -> None:
        """The connection is another one: send what the lab has not."""
        self.arrived(at)
        if self.piece:
            self.at = at
            self._send()


class Hosted:
    """See the module's docstring. It belongs to the agent's event loop."""

    def __init__(self, begin: Begin, around: NodeServices) -> None:
        self.begin, self.who, self._around = begin, begin.who, around
        self._home = around.place(begin.who)
        self._sending = OutputSender(LogTail(self._home.log), begin.who, around.say)
        self._relay = Relay(begin.who, around.sockets, around.reach)
        self._sandbox: Sandbox | None = None
        self._process: subprocess.Popen | None = None
        self._fault = ""
        self._begun = False
        self._over: IncarnationEnded | None = None
        self._asked = False  # to stop
        self.task = asyncio.create_task(self._run())

    @property
    def done(self) -> bool:
        """Whether nothing of it runs."""
        return self._over is not None or self.task.done()

    @property
    def ending(self) -> bool:
        """Whether it has ended, or is being ended."""
        return self.done or bool(self._fault)

    # --- orders -----------------------------------------------------------------------------------

    def again(self, output_from: int) -> None:
        """The hub is there again: say what it may have missed."""
        if self._begun:
            self._around.say(IncarnationBegun(who=self.who))
        self._sending.again(output_from)
        if self._over is not None:
            self._around.say(self._over)

    def acknowledged(self, ack: Ack) -> None:
        """The lab has some of its output."""
        self._sending.arrived(ack.at)

    def ask_to_stop(self) -> None:
        """In order, by the end of its standard input."""
        self._asked = True
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def cut_off(self) -> None:
        """The hub is gone: connections to the gateway are gone with it."""
        self._relay.cut()

    async def end(self, fault: str) -> None:
        """End all that runs of it now, for a reason that is not its own. Its home is kept, if the
        lab can be reached."""
        self._fault = self._fault or fault
        self._relay.cut()
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)

    async def forget(self) -> None:
        """End it, and what it has here but its home."""
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        if self._sandbox is not None:  # it was started just then
            await asyncio.to_thread(self._sandbox.close)
        self._relay.close()
        await asyncio.to_thread(self._home.forget_log)

    # --- its course -------------------------------------------------------------------------------

    async def _run(self) -> None:
        code, not_kept = ENDED_HERE, ""
        try:
            await self._start()
            code = await self._until_it_ends()
            not_kept = await self._home_kept()
        except (AarError, OSError, subprocess.SubprocessError) as error:
            self._fault = self._fault or f"it could not be started: {error}"[:1900]
        finally:
            if self._sandbox is not None:
                await asyncio.to_thread(self._sandbox.close)
        self._relay.close()
        await self._all_sent()
        self._over = IncarnationEnded(
            who=self.who, code=code, fault=self._fault[:1900], not_kept=not_kept
        )
        self._around.say(self._over)

    async def _start(self) -> None:
        begin, around = self.begin, self._around
        if begin.researcher_kind.endswith(".py"):
            raise Misconfigured("Kinds of researcher of one's own are not started on nodes yet.")
        researcher = RESEARCHERS[begin.researcher_kind](begin.options)
        kind = SANDBOXES[begin.sandbox]
        if not kind.isolates:
            raise Misconfigured(f"A node starts nobody in the sandbox {begin.sandbox}.")
        await asyncio.to_thread(kind.require)
        researcher.require()
        data = await fetched_folder(around.reach, around.data, begin.who.campaign, begin.data)
        brief = await fetched_folder(around.reach, around.data, begin.who.campaign, begin.brief)
        await self._home.made_ready(around.reach, begin)
        await self._relay.open()
        limits = Standing(**begin.limits.model_dump())
        spec = sandbox_of(
            begin.who.researcher,
            data=data,
            brief=brief,
            home=self._home.home,
            gate=self._relay.folder,
            more=researcher.mounts(),
            standing=limits,
            devices=begin.devices,
        )
        incarnation_start = IncarnationStart(
            incarnation=begin.who.number,
            session=begin.session,
            begun=begin.begun,
            ended=begin.ended,
        )

        def start() -> None:
            self._sandbox = kind(spec)
            self._process = start_program(
                researcher, self._sandbox, incarnation_start, around.python, self._home.log
            )

        await asyncio.shield(asyncio.get_running_loop().run_in_executor(around.starts, start))
        self._begun = True
        around.say(IncarnationBegun(who=self.who))
        if self._asked:
            self.ask_to_stop()

    async def _until_it_ends(self) -> int:
        """Follow it; its exit status."""
        process, used_at, kept_at = self._process, 0.0, time.monotonic()
        assert process is not None
        while process.poll() is None:
            now = time.monotonic()
            self._sending.step()
            if now - used_at >= USED_S:
                used_at = now
                await self._say_used()
            if now - kept_at >= self.begin.keep_home_s:
                kept_at = now
                with contextlib.suppress(Transient, OSError):  # the next time, or at its end
                    await self._home.keep(self._around.reach, self.begin)
            await self._pause()
        await asyncio.sleep(DRAIN_S)
        await self._say_used()
        return max(-255, min(255, process.returncode))

    async def _pause(self) -> None:
        self._sending.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._sending.changed.wait()

    async def _say_used(self) -> None:
        if self._sandbox is None:
            return
        used = await asyncio.to_thread(self._sandbox.usage)
        self._around.say(
            UsageReport(
                who=self.who,
                cpu_s=max(0.0, used.cpu_s),
                memory_bytes=max(0, used.memory_bytes),
                disk_bytes=max(0, used.disk_bytes),
                processes=max(0, used.processes),
                unwritten=used.unwritten,
            )
        )

    async def _home_kept(self) -> str:
        """Keep its home; why not, as text."""
        if self._sandbox is not None:  # what still runs of it could change its home
            await asyncio.to_thread(self._sandbox.close)
        try:
            return await self._home.keep(self._around.reach, self.begin) or ""
        except (AarError, OSError) as error:
            return str(error)[:1900]

    async def _all_sent(self) -> None:
        until = time.monotonic() + LAST_OUTPUT_S
        while not self._sending.step() and time.monotonic() < until:
            await self._pause()
