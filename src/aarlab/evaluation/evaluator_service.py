"""`python -m aarlab.evaluation.evaluator_service`: the evaluator's process. It alone reads
private/, the meter and the ledger.

It answers the lab's process on one unix socket (`core.evaluator_socket`) and nobody else. The
socket lies in a folder that the lab's user alone may enter.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import secrets
import signal
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from aarlab.core.bodies import read_as
from aarlab.core.connections import cancelled_in_silence
from aarlab.core.entries import Body, FindingBody, ShownCode, ShownSubmission
from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured
from aarlab.core.evaluator_socket import (
    BUG,
    BUG_WORDS,
    CALLS,
    MAX_LINE,
    PAGE,
    Address,
    After,
    Asked,
    Caller,
    Nothing,
    Now,
    Outbox,
    Outcome,
    Reading,
    ReleasedEntries,
    Request,
    ServingLimits,
    Snapshot,
    read,
    refused,
)
from aarlab.core.files import write_whole
from aarlab.core.layout import ServerFolder
from aarlab.core.operation_records import Code
from aarlab.core.os_errors import exits_with_message
from aarlab.core.parent_pipe import when_parent_ends
from aarlab.core.records import Entry
from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.handlers import Handlers
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.issued_seeds import SEEDS
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY
from aarlab.evaluation.submission_queue import LARGEST, SubmissionQueue

THREADS = 32  # in which all work is done; the event loop reads and writes
SUBMIT = "submit_predictions"  # answered in one thread of its own
STOP_S = 5  # for calls in work at the end
IN_WORK = 256  # calls of one connection; it is not read further until one is answered
# The fields of a body that the lab's process receives, by kind. Entries of other kinds are not sent
# to it.
SHOWN: Mapping[str, type[Body]] = {
    "code": ShownCode,
    "submission": ShownSubmission,
    "finding": FindingBody,
}
log = logging.getLogger("aarlab.evaluation")


class EvaluatorService:
    """Answers calls for one campaign until it is closed."""

    def __init__(
        self,
        problem: Path,
        campaign: Path,
        *,
        policy: str = DEFAULT_POLICY,
        wait_s: float = 0.0,
        addresses: Sequence[Path] = (),
    ) -> None:
        """The operator gets a new token. Where the lab takes requests is written to
        CAMPAIGN/server/address.json, and to each of `addresses`.

        Raises:
            Misconfigured: see `Evaluator`.
        """
        self._evaluator = Evaluator(problem, campaign, policy=policy, wait_s=wait_s)
        self._evaluator.ledger.when_unsettled = _end_in_order
        self._tokens = TokenStore(self._evaluator.folder)
        self._addresses = (ServerFolder(self._evaluator.folder).address, *addresses)
        self._handlers = Handlers(self._evaluator, self._tokens)
        self._evaluator.note_build("server started")
        self._evaluator.state_keeper.keep_if_due()  # nobody waits for it now
        self._tokens.renew_operator()
        self._in_work: set[asyncio.Future[bytes]] = set()
        self._submissions = SubmissionQueue(self._evaluator, self._handlers)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="evaluator")

    def close(self) -> None:
        """Let what is in work end, then close the evaluator."""
        self._submissions.close()
        self._pool.shutdown()
        self._evaluator.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        room, outbox, pid = asyncio.Semaphore(IN_WORK), Outbox(writer), _peer(writer)
        try:
            while True:
                await room.acquire()
                await writer.drain()  # who does not read our answers is not read further
                request, body = await read(reader, Request)
                future = self._worked(request, body, pid)
                self._in_work.add(future)
                future.add_done_callback(partial(self._answered, request, outbox, room))
        except (EOFError, ConnectionError):
            pass  # the lab's process has ended
        except (ValueError, asyncio.LimitOverrunError) as error:
            log.error("The lab's process sent what is no call: %s", str(error)[:500])
        finally:
            writer.close()

    async def drain(self) -> None:
        """Let the calls in work be answered, for STOP_S at most."""
        if self._in_work:
            await asyncio.wait(self._in_work, timeout=STOP_S)

    def _answered(
        self,
        request: Request,
        outbox: Outbox,
        room: asyncio.Semaphore,
        future: asyncio.Future[bytes],
    ) -> None:
        self._in_work.discard(future)
        room.release()
        if future.cancelled():  # the process ends
            return
        if error := future.exception():
            outbox.send(*_refusal(request, error))
        else:
            answer = future.result()
            outbox.send(Outcome(number=request.number, size=len(answer)), answer)

    def _worked(self, request: Request, body: bytes, pid: int) -> asyncio.Future[bytes]:
        token, ids, loop = request.token, request.ids, asyncio.get_running_loop()
        if request.call == SUBMIT and token is not None and not ids and len(body) <= LARGEST:
            return self._submissions.submit(token, body)
        if request.call == "now":  # asked at every request: mostly a look into dictionaries
            return loop.create_task(self._at_once(request, body, pid))
        return loop.run_in_executor(self._pool, self._called, request, body, pid)

    async def _at_once(self, request: Request, body: bytes, pid: int) -> bytes:
        return self._called(request, body, pid)

    def _called(self, request: Request, body: bytes, pid: int) -> bytes:
        """The JSON of an answer."""
        if request.token is not None:
            answer = self._handlers.do(request.call, request.token, request.ids, body)
        elif request.call in CALLS:
            given = read_as(CALLS[request.call].takes, body or b"{}")
            answer = self._own(given, pid)
        else:
            raise InvalidSubmission(
                f"The evaluator knows no call '{request.call}' without a token.", absent=True
            )
        return answer.model_dump_json().encode()

    def _own(self, given: BaseModel, pid: int) -> BaseModel:
        """One of CALLS, by what it takes."""
        match given:
            case Asked(tokens=tokens, after=after):
                return self._now(tokens, after)
            case After(after=after, kind=kind, limit=limit):
                return released_entries(
                    self._evaluator.ledger.entries(kind, after=after, limit=limit), after
                )
            case Snapshot(snapshot=snapshot):
                return Code(files=self._evaluator.code(snapshot))
            case Reading(token=token, findings=findings, listed=listed):
                me = self._tokens.who(token)
                self._handlers.reads.add(me, "listed" if listed else "opened", findings)
                return Nothing()
            case Address(url=url):
                for path in self._addresses:
                    write_whole(path, json.dumps({"url": url, "pid": pid}))
                return Nothing()
        return ServingLimits(answers=SEEDS * (len(self._evaluator.ids) + 1))

    def _now(self, tokens: Sequence[str], after: int) -> Now:
        found = self._tokens.valid(tokens)
        callers = {token: Caller(name=me.name, role=me.role) for token, me in found.items()}
        ledger = self._evaluator.ledger
        new = after < ledger.latest_finding
        page = released_entries(
            ledger.entries("finding", after=after, limit=PAGE) if new else [], after
        )
        hidden = list(self._handlers.orders.now().hidden)
        return Now(entries=page.entries, upto=page.upto, callers=callers, hidden=hidden)


def released_entries(entries: list[Entry], after: int) -> ReleasedEntries:
    """What the lab's process may know of these entries. Hashes are left out: those of version 0.1.0
    hash scores as they are."""
    shown = []
    for entry in entries:
        if entry.kind in SHOWN:
            fields = SHOWN[entry.kind].model_fields
            body = {name: value for name, value in entry.body.items() if name in fields}
            shown.append(replace(entry, text=json.dumps(body), prev="", hash=""))
    return ReleasedEntries(entries=shown, upto=entries[-1].seq if entries else after)


def _refusal(request: Request, error: BaseException) -> tuple[Outcome, bytes]:
    """An error as an answer. The words of one that is the operator's to fix may name a hidden
    score or a path, and those of a bug anything: they stay in this process's log, under a
    number."""
    if isinstance(error, Misconfigured):
        number = _logged(error, f"refusal at {request.call}")
        words = (
            "The operator must fix something, not you: its number in the evaluator's log is "
            f"{number}."
        )
        return refused(request.number, Misconfigured(words, **error.facts))
    if isinstance(error, AarError):
        return refused(request.number, error)
    number = _logged(error, f"bug at {request.call}")
    words = BUG_WORDS.format(log="evaluator", number=number).encode()
    return Outcome(number=request.number, size=len(words), error=BUG), words


def _end_in_order() -> None:
    """Whoever started us starts us again: then the ledger says what was recorded."""
    log.error("It is not known whether the last entries were recorded: the evaluator starts again.")
    os.kill(os.getpid(), signal.SIGTERM)


def _peer(writer: asyncio.StreamWriter) -> int:
    """The number of the process at the other end, as the kernel says (in our own namespace,
    whatever its own is); 0 where the kernel does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0
    peer = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    return struct.unpack("3i", peer)[0]


def _logged(error: BaseException, what: str) -> str:
    number = secrets.token_hex(4)
    log.error("%s, number %s", what, number, exc_info=error)
    return number


async def serve(service: EvaluatorService, path: Path, parent_pipe: int | None = None) -> None:
    """Listen at `path` until asked to stop, or until our starter has ended."""
    stop = asyncio.Event()
    if parent_pipe is not None:
        when_parent_ends(parent_pipe, stop.set)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    hidden = path.with_suffix(".new")
    hidden.unlink(missing_ok=True)
    connected = cancelled_in_silence(service.connected)
    server = await asyncio.start_unix_server(connected, hidden, limit=MAX_LINE)
    hidden.chmod(0o666)  # who may reach it is decided by its folder
    hidden.replace(path)
    try:
        await stop.wait()
        await service.drain()
    finally:
        server.close()
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", type=Path, required=True, help="a published problem's folder")
    parser.add_argument("--campaign", type=Path, required=True, help="the campaign's folder")
    parser.add_argument(
        "--policy", default=DEFAULT_POLICY, help="what a submitter learns about a score"
    )
    parser.add_argument(
        "--detector", type=Path, action="append", default=[], help="a file with one of your own"
    )
    parser.add_argument("--socket", type=Path, required=True, help="the unix socket to answer on")
    parser.add_argument(
        "--address",
        type=Path,
        action="append",
        default=[],
        help="where to write where the lab is, too",
    )
    parser.add_argument(
        "--takeover-s", type=float, default=0.0, help="seconds for an earlier evaluator to end"
    )
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    with exits_with_message():
        for path in a.detector:
            DETECTORS.registered_by(path)
        service = EvaluatorService(
            a.problem, a.campaign, policy=a.policy, wait_s=a.takeover_s, addresses=a.address
        )
        gc.freeze()  # what a long ledger left stays: to look through it holds all that is asked
        try:
            asyncio.run(serve(service, a.socket, a.parent_pipe))
        finally:
            service.close()


if __name__ == "__main__":
    main()
