"""`python -m aarlab.models.tuned.serve`: the models of one preset on one device, until its starter ends or it is told to.

Requests come in through the operator's socket and through doors, of which each belongs to one sandbox (`aarlab.models.wire`).
One thread owns the device; jobs of several doors take turns. What nobody foresaw ends the process, and its starter starts it
again: jobs are asked for again, and go on from their checkpoints.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient
from aarlab.core.lifeline import when_cut
from aarlab.models.decks import Deck, read_deck
from aarlab.models.preset import Preset
from aarlab.models.requests import DOOR, Fields, through
from aarlab.models.tuned.doors import Door
from aarlab.models.tuned.link import Gone, Link
from aarlab.models.tuned.operations import OPERATIONS, Loaded, Operation, Place
from aarlab.models.tuned.turns import MOST_WAITING, Turns
from aarlab.models.wire import ANSWER_S, DOOR_LINE, LINE, Message, failure

OPERATOR, OPERATOR_CONNECTIONS = "operator", 256
log = logging.getLogger("aarlab.worker")


@dataclass(eq=False)
class Job:
    """One request, read, and its last line once there is one."""

    source: str
    operation: Operation
    asked: Any
    link: Link
    last: "asyncio.Future[Message]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Worker:
    """The event loop's side: connections, turns, doors."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded, self._turns = loaded, Turns[Job]()
        self._decks: dict[str, Deck] = {}
        self._doors: dict[str, Door] = {}
        self._faults: dict[str, str] = {}  # by door: see `_failed`
        self._at_once = {
            "hello": self._hello,
            "deck": self._deck,
            "open": self._open,
            "failed": self._failed,
            "shut": self._shut,
        }

    async def run(self, path: Path, told: asyncio.Event) -> None:
        """Take requests until told."""
        operator = Door(path, 0o600, self._operator, OPERATOR_CONNECTIONS, LINE)
        work = asyncio.create_task(self._work())
        ended = asyncio.create_task(told.wait())
        await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
        for door in (operator, *self._doors.values()):
            door.shut()
        if work.done():
            work.result()

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """One job after another in the device's thread."""
        thread, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
        while True:
            job = await self._turns.next()
            if not job.link.over:
                last = await loop.run_in_executor(thread, self._done, job)
                if last is not None and not job.last.done():
                    job.last.set_result(last)

    def _done(self, job: Job) -> Message | None:
        """The last line; None where nobody waits for it."""
        try:
            return {"is": "done", **job.operation.run(self._loaded, job.asked, job.link)}
        except Gone:
            return None
        except InvalidSubmission as error:
            return failure(error)
        except AarError as error:
            log.warning("%s", error)
            if job.link.keeps:
                return failure(error)
            self._faults[job.source] = type(error).__name__
            return failure(hidden(error))

    async def _answer(self, source: str, operation: Operation, message: Message, link: Link, decks: Mapping[str, Deck]) -> None:
        """Let a request wait for its turn, and send its last line; a caller who hangs up ends it."""
        job = Job(source, operation, operation.read(message, decks), link)
        self._turns.put(source, job, None if link.keeps else MOST_WAITING)
        listening = asyncio.create_task(link.listen())
        try:
            await asyncio.wait([listening, job.last], return_when=asyncio.FIRST_COMPLETED)
            if job.last.done():
                await link.send(job.last.result())
            else:
                link.check()  # raises
        finally:
            listening.cancel()
            self._turns.remove(source, job)

    # --- connections --------------------------------------------------------------------------------------------------

    async def _operator(self, link: Link) -> None:
        """One request of the operator's."""
        link.keeps = True
        message = await link.request()
        op = message.get("op")
        if op in self._at_once:
            await link.send({"is": "done", **self._at_once[op](message)})
        elif isinstance(op, str) and op in OPERATIONS:
            await self._answer(OPERATOR, OPERATIONS[op], message, link, self._decks)
        else:
            raise InvalidSubmission(f"op must be one of {', '.join([*self._at_once, *OPERATIONS])}.", field="op")

    def _sandbox(self, source: str, deck: Deck) -> Any:
        """What a door does with a connection."""

        async def one(link: Link) -> None:
            message = through(await link.request())
            await self._answer(source, OPERATIONS[message["op"]], message, link, {DOOR: deck})

        return one

    # --- what the operator asks for beside jobs -------------------------------------------------------------------------

    def _hello(self, message: Message) -> Message:
        Fields(message).done()
        return {"pid": os.getpid(), "device": self._loaded.place.device}

    def _deck(self, message: Message) -> Message:
        """Take in a deck from a file of the operator's."""
        self._decks[message["name"]] = read_deck(Path(message["path"]))
        return {}

    def _open(self, message: Message) -> Message:
        """Open a door to two splits of a deck."""
        deck, names = self._decks[message["deck"]], {"student": message["student"], "test": message["test"]}
        seen = Deck({ours: deck.splits[s] for ours, s in names.items()}, {ours: deck.digests[s] for ours, s in names.items()})
        self._shut(message)
        path = Path(message["path"])
        self._doors[message["path"]] = Door(path, 0o666, self._sandbox(str(path), seen), line=DOOR_LINE)
        return {}

    def _shut(self, message: Message) -> Message:
        """Close a door; who is in is put out."""
        self._faults.pop(message["path"], None)
        if door := self._doors.pop(message["path"], None):
            door.shut()
        return {}

    def _failed(self, message: Message) -> Message:
        """The kind of the last failure behind a door that was not the caller's own; empty if there was none."""
        return {"kind": self._faults.get(message["path"], "")}


def hidden(error: AarError) -> AarError:
    """A failure that is not the sandbox's, without what it says about this machine."""
    if isinstance(error, Misconfigured):
        return Misconfigured("The strong model cannot be asked before its operator has mended what the operator's log says.")
    return Transient("The strong model cannot be asked now; the operator's log says why. Ask again.")


async def serve(place: Place, path: Path, lifeline: int | None) -> None:
    """Take requests until SIGTERM, SIGINT or the end of the lifeline."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if lifeline is not None:
        when_cut(lifeline, told.set)
    await Worker(Loaded(place)).run(path, told)


def devices() -> list[str]:
    """Every GPU, or the CPU where there is none."""
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def check_device(name: str) -> None:
    """Raise where torch has no such device.

    Raises:
        Misconfigured: it has not.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).partition("\n")[0]
        raise Misconfigured(f"torch has no device {name} ({said}). Here: {', '.join(devices())}.") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", action="store_true", help="say as JSON which devices there are, and end")
    parser.add_argument("--preset", type=Path, help="a file with a Preset, as JSON")
    parser.add_argument("--weak", type=Path, help="the folder of the weak model")
    parser.add_argument("--strong", type=Path, help="the folder of the strong model")
    parser.add_argument("--device", help="a torch device")
    parser.add_argument("--socket", type=Path, help="the operator's socket")
    parser.add_argument("--cache", type=Path, help="a folder for results and checkpoints")
    parser.add_argument("--answer-s", type=float, default=ANSWER_S, help="for a caller's own loss of one step")
    parser.add_argument("--lifeline", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    if a.devices:
        parser.exit(0, json.dumps(devices()))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    preset = Preset.model_validate_json(a.preset.read_bytes())
    place = Place(preset, {"weak": a.weak, "strong": a.strong}, a.device, a.cache)
    Link.answer_s = a.answer_s
    try:
        check_device(a.device)
        asyncio.run(serve(place, a.socket, a.lifeline))
    except AarError as error:
        parser.exit(1, f"{error}\n")
    logging.shutdown()
    os._exit(0)  # a job may be under way in the device's thread: what it has not written yet is not wanted


if __name__ == "__main__":
    main()
