"""`python -m aarlab.researchers.inside --socket S [--port P] -- ARGV`: runs a researcher's program
in its sandbox.

It forwards 127.0.0.1:P (0: a free port) to the gateway's unix socket, and replaces `{gate}` in the
program's arguments and environment by that address. When stdin ends, it stops the program: SIGINT,
a pause of GRACE_S seconds, SIGKILL to all descendants. Its exit status is that of the program (128
+ n for signal n), and no descendant survives it. It uses the standard library alone, because one
such process runs beside every researcher.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from aarlab.core.settings import environment

GRACE_S = 10.0  # between SIGINT and SIGKILL
GATE_S, GATE_POLL_S = 30.0, 0.1  # how long a connection waits for a gateway that is being restarted
CHUNK = 1 << 16
STACK = 1 << 18  # bytes of each thread
GATE = "{gate}"
_SET_CHILD_SUBREAPER = 36  # prctl: orphaned descendants become children of this process


# --- the forwarder --------------------------------------------------------------------------------


def listen(port: int) -> socket.socket:
    """A loopback socket at that port, or at a free one."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    listener.set_inheritable(False)
    return listener


def forward(listener: socket.socket, path: str) -> None:
    """Forward every connection to the unix socket at `path`, which may be replaced, until the
    listener is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_connect, args=(near, path), daemon=True).start()


def _connect(near: socket.socket, path: str) -> None:
    """Forward both directions of one connection."""
    far = _reach(path)
    if far is None:
        near.close()
        return
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
    back.start()
    _pump(near, far)
    back.join()
    near.close()
    far.close()


def _reach(path: str) -> socket.socket | None:
    """A connection to the gateway. Waits up to GATE_S seconds for a gateway that restarts; then
    None."""
    until = time.monotonic() + GATE_S
    while True:
        far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            far.connect(path)
            return far
        except OSError:
            far.close()
        if time.monotonic() > until:
            return None
        time.sleep(GATE_POLL_S)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes from `source` to `sink`. An end of file closes this direction only; a reset
    closes both."""
    try:
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# --- the program ----------------------------------------------------------------------------------


def start(argv: list[str], address: str) -> subprocess.Popen[bytes]:
    """Start the program in its own process group, with an empty stdin."""
    env = {name: value.replace(GATE, address) for name, value in environment().items()}
    given = [word.replace(GATE, address) for word in argv]
    return subprocess.Popen(given, env=env, stdin=subprocess.DEVNULL, process_group=0)


class ProgramStop:
    """Sends SIGINT to the program once, and SIGKILL to all that remain after `grace_s` seconds."""

    def __init__(self, pid: int, grace_s: float) -> None:
        self._pid, self._grace_s = pid, grace_s
        self._once = threading.Lock()

    def ask(self, *_: object) -> None:
        """Stop the program; can be used as a signal handler."""
        if not self._once.acquire(blocking=False):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)
        timer = threading.Timer(self._grace_s, kill_children)
        timer.daemon = True
        timer.start()

    def when_stdin_ends(self) -> None:
        """Runs in a thread of its own."""
        with contextlib.suppress(OSError):
            while os.read(0, CHUNK):
                pass
        self.ask()


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process, so that they can be found and killed."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for(pid: int) -> int:
    """Wait for one child and return its exit status as a shell does; reap orphans that end
    meanwhile."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def children() -> list[int]:
    """Process ids of this process's children, including ended ones."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(folder.name))
    return found


def kill_children() -> None:
    """Send SIGKILL to all children. Their own children become children of this process
    (`end_all`)."""
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_all() -> None:
    """Kill and reap until no descendant is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            kill_children()
            os.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--socket",
        required=True,
        help="the gateway's unix socket; opened again for every connection",
    )
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument(
        "--grace", type=float, default=GRACE_S, help="seconds from the end of stdin to SIGKILL"
    )
    parser.add_argument("argv", nargs="+", help="the program")
    a = parser.parse_args()
    threading.stack_size(STACK)
    listener = listen(a.port)
    threading.Thread(target=forward, args=(listener, a.socket), daemon=True).start()
    adopt_orphans()
    # a script's background job ignores it, and so would the program
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        program = start(a.argv, f"http://127.0.0.1:{listener.getsockname()[1]}")
    except OSError as error:
        sys.stderr.write(f"{a.argv[0]} cannot be started: {error.strerror}.\n")
        return 127
    stop = ProgramStop(program.pid, a.grace)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop.ask)
    threading.Thread(target=stop.when_stdin_ends, daemon=True).start()
    status = wait_for(program.pid)
    end_all()
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # do not wait for the threads of open connections
