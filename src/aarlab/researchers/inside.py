"""`python -m aarlab.researchers.inside --socket S [--port P] -- ARGV`: what stands between a sandbox and a program in it.

127.0.0.1:P (0: a free port) inside becomes the gateway's unix socket; `{gate}` in the program's arguments and environment
becomes that address. The end of our stdin asks the program to stop: SIGINT, GRACE_S seconds, SIGKILL to all. We end as it did
(128 + n for a signal n), and nothing that it left behind lives longer. Standard library alone, as one of these runs beside
every researcher.
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

GRACE_S = 10.0  # between being asked to stop and being killed
GATE_S, GATE_POLL_S = 30.0, 0.1  # how long a connection waits for a gateway that is being restarted
CHUNK = 1 << 16
STACK = 1 << 18  # bytes of each thread
GATE = "{gate}"
_SET_CHILD_SUBREAPER = 36  # prctl: orphans among our descendants become our children


# --- the forwarder -------------------------------------------------------------------------------------------------------


def listen(port: int) -> socket.socket:
    """A loopback socket at that port, or at a free one."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    listener.set_inheritable(False)
    return listener


def forward(listener: socket.socket, path: str) -> None:
    """Hand every connection on to the unix socket at `path`, which may be replaced meanwhile; until the listener is closed."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_connect, args=(near, path), daemon=True).start()


def _connect(near: socket.socket, path: str) -> None:
    """Both directions of one connection."""
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
    """A connection to the gateway, waiting for one that is being restarted; None if it does not come back."""
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
    """Bytes from one to the other; an end is handed on as an end, and the other direction goes on. A reset ends both."""
    try:
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# --- the program ---------------------------------------------------------------------------------------------------------


def start(argv: list[str], address: str) -> subprocess.Popen[bytes]:
    """The program, in a process group of its own and with nothing on its stdin."""
    env = {name: value.replace(GATE, address) for name, value in environment().items()}
    given = [word.replace(GATE, address) for word in argv]
    return subprocess.Popen(given, env=env, stdin=subprocess.DEVNULL, process_group=0)


class Stop:
    """Asks the program to stop, once, and kills all that is left after GRACE_S."""

    def __init__(self, pid: int, grace_s: float) -> None:
        self._pid, self._grace_s = pid, grace_s
        self._once = threading.Lock()

    def ask(self, *_: object) -> None:
        """Also a signal handler."""
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
    """From now on what our descendants leave behind becomes our child, and can be found and ended."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for(pid: int) -> int:
    """The exit status of one child, as a shell would tell it; orphans that end meanwhile are reaped."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def children() -> list[int]:
    """Our own children, ended ones included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(folder.name))
    return found


def kill_children() -> None:
    """SIGKILL to our children. What they leave behind comes to us, see `end_all`."""
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
    parser.add_argument("--socket", required=True, help="the gateway's unix socket; connected to anew for every connection")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--grace", type=float, default=GRACE_S, help="seconds from the end of stdin to SIGKILL")
    parser.add_argument("argv", nargs="+", help="the program")
    a = parser.parse_args()
    threading.stack_size(STACK)
    listener = listen(a.port)
    threading.Thread(target=forward, args=(listener, a.socket), daemon=True).start()
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a script's background job ignores it, and so would the program
    try:
        program = start(a.argv, f"http://127.0.0.1:{listener.getsockname()[1]}")
    except OSError as error:
        sys.stderr.write(f"{a.argv[0]} cannot be started: {error.strerror}.\n")
        return 127
    stop = Stop(program.pid, a.grace)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop.ask)
    threading.Thread(target=stop.when_stdin_ends, daemon=True).start()
    status = wait_for(program.pid)
    end_all()
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of open connections are not waited for
