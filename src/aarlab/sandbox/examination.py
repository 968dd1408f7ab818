"""The check of a sandbox, which a provider's author calls in one line."""

import http.server
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.held_folder import HeldFolder
from aarlab.sandbox.sandbox import MIB, Limits, MakeSandbox, Mount, Sandbox, SandboxSpec, Standing

HOME, DATA = "/home/researcher", "/data"
LIMITS, WAIT_S = Limits(timeout_s=60), 60.0


@dataclass(frozen=True)
class Place:
    """A home, data, and what must not be reached."""

    make: MakeSandbox
    folder: Path
    port: int

    @contextmanager
    def sandbox(
        self,
        standing: Standing = Standing(),  # noqa: B008 - a frozen record
    ) -> Iterator[Sandbox]:
        """One with a home and data, closed at the end."""
        mounts = (
            Mount(self.folder / "home", HOME, writable=True),
            Mount(self.folder / "data", DATA),
        )
        with closing(
            self.make(SandboxSpec("examined", mounts, {"MINE": "1"}, HOME, standing))
        ) as sandbox:
            yield sandbox

    def python(self, code: str, **more: Standing) -> str:
        """What a program prints."""
        with self.sandbox(**more) as sandbox:
            return sandbox.exec([sys.executable, "-c", code], LIMITS).output


Question = Callable[[Place], Iterator[str]]


def check_sandbox(make: MakeSandbox) -> None:
    """Start real commands in sandboxes of this provider and check from outside what they could do.

    Raises:
        Misconfigured: it breaks the contract, or does not isolate what its `isolates` names; the
            message lists how.
    """
    with HeldFolder(0o755) as held, _server() as port:
        folder = held.path
        for name in ("home", "data", "private"):
            (folder / name).mkdir()
            (folder / name / "file").write_text(f"content of {name}")
        place = Place(make, folder, port)
        with place.sandbox() as sandbox:
            isolates = type(sandbox).isolates
        asked = [*ALWAYS, *(ISOLATED[name] for name in sorted(isolates & ISOLATED.keys()))]
        if broken := [words for question in asked for words in question(place)]:
            raise Misconfigured(
                f"The sandbox breaks its contract: {'; '.join(broken)}.", broken=broken
            )


# --- what every sandbox does ----------------------------------------------------------------------


def _commands(place: Place) -> Iterator[str]:
    with place.sandbox() as sandbox:
        at = sandbox.inside
        code = (
            f"import sys; print(open({at(DATA)!r} + '/file').read()); open('new', 'w').write('x'); "
            "sys.exit(7)"
        )
        done = sandbox.exec([sys.executable, "-c", code], LIMITS)
        if (done.returncode, done.output.strip()) != (7, "content of data"):
            yield (
                f"a command's exit status or output is wrong: {done.returncode}, "
                f"{done.output[-300:]!r}"
            )
        if not (place.folder / "home" / "new").exists():
            yield "files written in the home folder do not appear outside"
        if sandbox.exec(["/no/such/thing"], LIMITS).returncode == 0:
            yield "a missing executable is not reported as a failure"
        late = sandbox.exec(
            [sys.executable, "-c", "import time; time.sleep(600)"], Limits(timeout_s=3)
        )
        if not late.timed_out:
            yield "a command is not ended at its time limit"


def _stops(place: Place) -> Iterator[str]:
    """Closing stdin asks; `close` ends all."""
    log = place.folder / "log"
    with place.sandbox() as sandbox:
        before = sandbox.usage()
        code = (
            "import sys, time\nwhile time.process_time() < 0.5: pass\nx = b'x' * (64 << "
            "20)\nprint('up', flush=True)\n"
        )
        process = sandbox.start(
            [sys.executable, "-c", code + "sys.stdin.read(); print('asked'); sys.exit(3)"], log
        )
        if not _until(lambda: log.exists() and "up" in log.read_text()):
            yield (
                "a started command's output is not in its log: "
                f"{log.read_text()[-300:] if log.exists() else 'none'!r}"
            )
        usage = sandbox.usage()
        if usage.cpu_s < before.cpu_s + 0.4 or usage.memory_bytes < 64 * MIB or usage.processes < 1:
            yield f"its use of resources is not counted: {usage}"
        if process.poll() is not None or process.stdin is None:
            yield "the stdin of a started command is not kept open"
        else:
            process.stdin.close()
            if not _until(lambda: process.poll() is not None) or process.returncode != 3:
                yield f"closing stdin does not let it end by itself: {process.returncode}"
        hung = sandbox.start(
            [sys.executable, "-c", f"import time; time.sleep(600) # {place.folder.name}"],
            place.folder / "log2",
        )
        _until(lambda: bool(_running(place.folder.name)))
    if hung.poll() is None or not _until(lambda: not _running(place.folder.name)):
        yield "a command is still running after close"


FILLER = """import os, time
kept = []
try:
    for n in range(128):
        kept.append(open(f'f{n}', 'wb', buffering=0))
        if UNLINK: os.remove(f'f{n}')
        kept[-1].write(b'x' * (1 << 20))
        time.sleep(0.02)
    print('had all of it')
except OSError as error:
    print('refused:', error.strerror)
"""


def _disk(place: Place) -> Iterator[str]:
    yield from _filled(place, "filling the disk", unlink=False)
    yield from _filled(place, "filling the disk with deleted files", unlink=True)


def _filled(place: Place, what: str, *, unlink: bool) -> Iterator[str]:
    """A file more is refused, or ends the command with a line that says so; deleted files that are
    open count."""
    log = place.folder / f"log-disk-{unlink}"
    ends = ("refused: No space", '"limit": "disk"', "had all")
    with place.sandbox(Standing(disk_bytes=8 * MIB)) as sandbox:
        process = sandbox.start([sys.executable, "-uc", FILLER.replace("UNLINK", str(unlink))], log)
        _until(lambda: process.poll() is not None)
        if not _until(lambda: any(words in log.read_text() for words in ends)):
            yield f"{what}: the log does not say which limit was passed: {log.read_text()[-300:]!r}"
        if "had all" in log.read_text():
            yield f"{what} is neither refused nor ends a command"
        if not unlink and not 6 * MIB < sandbox.usage().disk_bytes < 100 * MIB:
            yield f"disk is not counted: {sandbox.usage().disk_bytes}"
    for path in (place.folder / "home").glob("f[0-9]*"):
        path.unlink()


ALWAYS: tuple[Question, ...] = (_commands, _stops, _disk)


# --- what it says it keeps apart ------------------------------------------------------------------


def _files(place: Place) -> Iterator[str]:
    path = str(place.folder / "private" / "file")
    if "content of private" in place.python(
        f"import os\nfor p in ({path!r}, '/proc/1/root' + {path!r}): print(open(p).read())"
    ):
        yield "files of the host that are not mounted can be read"
    for target in (f"{DATA}/new", "/usr/new", "/new", "/etc/new", "/proc/sys/kernel/core_pattern"):
        if "wrote" in place.python(f"open({target!r}, 'w'); print('wrote')"):
            yield f"{target} can be written"


def _network(place: Place) -> Iterator[str]:
    for host in ("127.0.0.1", "localhost"):
        if "connected" in place.python(
            f"import socket; socket.create_connection(({host!r}, {place.port}), 3); "
            "print('connected')"
        ):
            yield f"a port of the host is reached at {host}"
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.connect(('192.0.2.1', 53)); print('a route')"
    )
    if "a route" in place.python(code):
        yield "there is a route to the network"


def _processes(place: Place) -> Iterator[str]:
    said = place.python(
        "import glob; print([open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/cmdline')])"
    )
    if str(place.folder) in said or "pytest" in said:
        yield "code can see other processes, or the host's paths on command lines"
    if "killed" in place.python(f"import os; os.kill({os.getpid()}, 0); print('killed')"):
        yield "a process of the host can be signalled"


def _environment(place: Place) -> Iterator[str]:
    said = place.python("import os; print(sorted(os.environ))")
    if "MINE" not in said:
        yield "its own environment is missing"
    if extra := [
        name
        for name in os.environ
        if f"'{name}'" in said and name not in {"PATH", "HOME", "HOSTNAME", "LC_CTYPE", "PWD"}
    ]:
        yield f"variables of the host's environment are set inside: {', '.join(extra)}"


def _users(place: Place) -> Iterator[str]:
    said = place.python("print(open('/proc/self/status').read())")
    if "CapEff:\t0000000000000000" not in said or "NoNewPrivs:\t1" not in said:
        yield "code has capabilities, or can gain some"
    place.python("open('mark', 'w')")
    mark = place.folder / "home" / "mark"
    if not mark.exists() or mark.stat().st_uid == 0:
        yield "code runs under the kernel's uid 0, or nothing can be written at home"


ISOLATED: dict[str, Question] = {
    "files": _files,
    "network": _network,
    "processes": _processes,
    "environment": _environment,
    "users": _users,
}


def _running(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if word.encode() in words and b"time.sleep" in words:
            found.append(path.parent.name)
    return found


def _until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _server() -> Iterator[int]:
    """A port of the host."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
