"""A submitted program in a sandbox of its own, and its calls: one JSON line to it, one back. It
shares no process and no folder with the grader that asks, and it stands still between its calls,
from before its answer is passed on: it uses no time that is not measured, and takes none from what
the grader itself measures.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aarlab.problems.folder.folder_problem import FolderProblem, SubmissionForm
from aarlab.runs.endings import ENOUGH, Processors
from aarlab.runs.folder_run import folder_sandbox
from aarlab.runs.grade_inside import LINE
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import MakeSandbox, Mount, Sandbox
from aarlab.sandbox.usage_watch import below, stopped

START_S = 30.0  # until a sandbox runs, and until a program's file is loaded, beside its calls
ASKED, ANSWERS = "ask.sock", "answer.sock"
PROGRAM = "program.py"


@dataclass(frozen=True)
class AskedProgram:
    """A program that is asked. `folder`: with the socket, named ASKED, on which a grader asks."""

    folder: Path
    relay: "_Relay"

    @property
    def machine(self) -> str | None:
        """Why the machine, and not the program, failed: then nothing was graded."""
        return self.relay.machine


@contextlib.contextmanager
def program(
    problem: FolderProblem, code: Path, make_sandbox: MakeSandbox
) -> Iterator[AskedProgram]:
    """The program of the folder `code`, ready to be asked once by one grader."""
    contract = problem.contract
    with scratch() as place:
        ask, answer = place / "ask", place / "answer"
        for folder in (ask, answer):
            folder.mkdir()
            folder.chmod(0o711)
        mounts = (Mount(code, "/code"), Mount(answer, "/answer"))
        with (
            _listening(ask / ASKED) as asked,
            _listening(answer / ANSWERS) as answers,
            folder_sandbox(make_sandbox, "program", contract, contract.run, *mounts) as sandbox,
        ):
            try:
                argv = [sys.executable, "-m", "aarlab.runs.program_inside"]
                argv += ["--program", f"{sandbox.inside('/code')}/{PROGRAM}"]
                argv += ["--socket", f"{sandbox.inside('/answer')}/{ANSWERS}"]
                process = sandbox.start(argv, place / "log")
                relay = _Relay(sandbox, process, contract.submission)
                thread = threading.Thread(target=relay.run, args=(asked, answers), daemon=True)
                thread.start()
                try:
                    yield AskedProgram(ask, relay)
                finally:
                    relay.hang_up(asked)
            finally:
                sandbox.close()
            thread.join(START_S)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(1)
        yield listener


class _Ended(Exception):
    """The program takes no more calls, and why."""


class _Relay:
    """Passes lines between a grader and a program until the grader hangs up; each side connects
    once.

    `ended`: why the program takes no more calls. `machine`: why that is no failure of the program.
    """

    def __init__(self, sandbox: Sandbox, process: subprocess.Popen, what: SubmissionForm) -> None:
        self._sandbox, self._process, self._what = sandbox, process, what
        self._left_s = what.total_s
        self._worker: socket.socket | None = None
        self._grader: socket.socket | None = None
        self._still = contextlib.ExitStack()
        self.ended: str | None = None
        self.machine: str | None = None

    def run(self, asked: socket.socket, answers: socket.socket) -> None:
        """Relay until the grader, or this end, closes."""
        with contextlib.suppress(OSError), self._still:
            self._grader = grader = asked.accept()[0]
            with grader, contextlib.ExitStack() as worker:
                self._begin(answers, worker)
                requests = grader.makefile("rb")
                for line in iter(lambda: requests.readline(LINE), b""):
                    grader.sendall(self._answer(line) + b"\n")

    def hang_up(self, asked: socket.socket) -> None:
        """End `run`, whatever it waits for on the grader's side."""
        for waits in (asked, self._grader):
            with contextlib.suppress(OSError):
                if waits is not None:
                    waits.shutdown(socket.SHUT_RDWR)

    def _begin(self, answers: socket.socket, kept: contextlib.ExitStack) -> None:
        """Wait until the program's sandbox runs and its file is loaded."""
        answers.settimeout(START_S)
        try:
            self._worker = kept.enter_context(answers.accept()[0])
        except TimeoutError:
            self.machine = self.ended = f"its sandbox did not run within {START_S:g} s"
            return
        try:
            loaded = json.loads(self._line(START_S))
            if isinstance(loaded, dict) and loaded.get("failed"):
                self._end(f"its file cannot be loaded: {loaded['failed']}")
            self._stand_still()
        except (_Ended, ValueError, RecursionError) as error:
            self._end(str(error))

    def _answer(self, line: bytes) -> bytes:
        """One line of the program, without its end; or that it failed."""
        if self.ended is None:
            begun = time.monotonic()
            try:
                answered = self._call(line)
                self._stand_still()  # before the grader, which may time something else now, has it
                return answered
            except _Ended as error:
                self._end(str(error))
            finally:
                self._left_s -= time.monotonic() - begun
        return json.dumps({"failed": self.ended}).encode()

    def _call(self, line: bytes) -> bytes:
        assert self._worker is not None
        if self._left_s <= 0:
            raise _Ended(f"all its calls together took longer than {self._what.total_s:g} s")
        self._worker.settimeout(0)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if self._worker.recv(1):
                raise _Ended("it answered what it was not asked")
        self._still.close()
        limit = min(self._what.call_s, self._left_s)
        try:
            self._worker.settimeout(limit)
            self._worker.sendall(line)
        except TimeoutError as error:
            raise _Ended(f"it did not read its request within {limit:g} s") from error
        except OSError as error:
            raise _Ended("it has ended") from error
        return self._line(limit)

    def _line(self, limit: float) -> bytes:
        """A line of the program, without its end, within `limit` seconds."""
        begun, found, busy = time.monotonic(), bytearray(), None
        while not found.endswith(b"\n"):
            now = time.monotonic() - begun
            if busy is None and now >= limit / 2:  # a quick call does not pay for this look
                busy = Processors(), self._sandbox.usage().cpu_s
            if now >= limit and busy is not None:
                self._blame(limit, *busy)
            assert self._worker is not None
            self._worker.settimeout(max((limit if busy else limit / 2) - now, 1e-3))
            try:
                part = self._worker.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise _Ended("it has ended") from error
            if not part:
                raise _Ended("it has ended")
            found += part
            if len(found) > LINE or b"\n" in found[:-1]:
                raise _Ended(f"it answered more than one line of at most {LINE:,} bytes")
        return bytes(found[:-1])

    def _blame(self, limit: float, processors: Processors, own_s: float) -> None:
        left = processors.left(self._sandbox.usage().cpu_s - own_s)
        words = f"it took longer than {limit:g} s"
        if left < ENOUGH:
            self.machine = f"{words}, and others left it {left:.2f} processors"
        raise _Ended(words)

    def _stand_still(self) -> None:
        if self.ended is None:
            stand = self._still.enter_context(stopped(lambda: below(self._process.pid)))
            if not stand:
                raise _Ended("it starts processes faster than they can be stopped")

    def _end(self, words: str) -> None:
        """It takes no more calls, and takes no time from the grader's."""
        self.ended = words
        self._still.close()
        self._sandbox.close()
