"""The program between a sandbox and a researcher, with real children: how they end, and what is
left of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.processes import gone
from tests.researchers.gate import USAGE, Gate
from tests.waiting import waited_for

pytestmark = pytest.mark.process

PYTHON = (sys.executable, "-c")
# Python looks for signals between two instructions: one that comes just before a long sleep would
# wait for its end
NAPS = "\nwhile True: time.sleep(0.05)"


def begun(*argv: str, place: Path, grace: float = 60.0, **more) -> subprocess.Popen:
    words = ["--socket", str(place / "lab.sock"), "--grace", str(grace), "--", *argv]
    module = [sys.executable, "-m", "aarlab.researchers.inside"]
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    return subprocess.Popen([*module, *words], **pipes, **more)


def ended(process: subprocess.Popen, timeout: float = 90) -> tuple[int, str]:
    """Its status and what it printed, with its stdin left open until it has ended."""
    process.wait(timeout)
    process.stdin.close()
    with process.stdout:
        return process.returncode, process.stdout.read()


def first_line(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
        ("import os; os.abort()", 134),
    ],
)
def test_it_ends_as_the_program_did(tmp_path, code, status):
    assert ended(begun(*PYTHON, code, place=tmp_path)) == (status, "")


def test_a_program_that_is_not_there_is_said(tmp_path):
    status, said = ended(begun("/no/such/thing", place=tmp_path))
    assert (status, said) == (127, "/no/such/thing cannot be started: No such file or directory.\n")


def test_the_gates_address_stands_in_arguments_and_environment(tmp_path):
    code = "import os, sys; print(sys.argv[1], os.environ['URL'], sys.stdin.read() == '')"
    env = {**os.environ, "URL": "<{gate}/v1>"}
    status, said = ended(begun(*PYTHON, code, "at {gate}", place=tmp_path, env=env))
    _, address, also, nothing_on_stdin = said.split()
    assert status == 0
    assert address.startswith("http://127.0.0.1:")
    assert also == f"<{address}/v1>"
    assert nothing_on_stdin == "True"


SAYS = (
    "import os, sys, time, signal\ndef f(*_): os.write(1, b'asked\\n'); "
    "sys.exit(5)\nsignal.signal(signal.SIGINT, f)\n"
)
ASK = {
    "the end of stdin": lambda process: process.stdin.close(),
    "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
    "SIGINT": lambda process: process.send_signal(signal.SIGINT),
    "SIGHUP": lambda process: process.send_signal(signal.SIGHUP),
}


@pytest.mark.parametrize("how", ASK)
def test_a_program_is_asked_to_stop(tmp_path, how):
    process = begun(*PYTHON, SAYS + "print('up', flush=True)" + NAPS, place=tmp_path)
    assert first_line(process) == "up"
    ASK[how](process)
    assert ended(process) == (5, "asked\n")


def test_it_is_asked_also_where_our_starter_ignores_interrupts(tmp_path):
    """As in a job that a script runs in the background."""
    deaf = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    code = "import time; print('up', flush=True)" + NAPS
    process = begun(*PYTHON, code, place=tmp_path, **deaf)
    assert first_line(process) == "up"
    process.stdin.close()
    assert ended(process)[0] == 130


def test_one_that_does_not_heed_is_killed_after_its_grace(tmp_path):
    code = "import signal, time; signal.signal(2, lambda *_: None); print('up', flush=True)" + NAPS
    process = begun(*PYTHON, code, place=tmp_path, grace=0.3)
    assert first_line(process) == "up"
    process.stdin.close()
    assert ended(process)[0] == 137


ORPHAN = f"""
import subprocess, sys, time
leave = "import subprocess as s; "
leave += "print(s.Popen(['sleep', '973'], start_new_session=True).pid, flush=True)"
subprocess.run([{sys.executable!r}, "-c", leave])
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); "
deaf += "signal.signal(2, signal.SIG_IGN); time.sleep(972)"
stays = subprocess.Popen([{sys.executable!r}, "-c", deaf], start_new_session=True)
print(stays.pid, flush=True){NAPS}
"""


@pytest.mark.parametrize("how", ["kill the program", "ask it to stop"])
def test_nothing_that_the_program_left_lives_longer(tmp_path, how):
    process = begun(*PYTHON, ORPHAN, place=tmp_path)
    pids = [int(first_line(process)) for _ in range(2)]
    assert not any(gone(pid) for pid in pids)
    if how == "kill the program":
        mine = [
            int(p)
            for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        program = next(pid for pid in mine if pid not in pids)
        os.kill(program, signal.SIGKILL)
        assert ended(process)[0] == 137
    else:
        process.stdin.close()
        assert ended(process)[0] in (1, 130)  # Python's way to end at SIGINT
    assert all(gone(pid) for pid in pids)


# --- the forwarder --------------------------------------------------------------------------------

ADDRESS = "import sys, time; print(sys.argv[1].rpartition(':')[2], flush=True)" + NAPS


@contextmanager
def forwarding(place: Path):
    """The port of a running forwarder."""
    process = begun(*PYTHON, ADDRESS, "{gate}", place=place)
    try:
        yield int(first_line(process))
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.settimeout(20)
    return made


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@contextmanager
def unix_server(path: Path, act, connections: int = 1):
    """`act(connection)` for each connection, in a thread of its own."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(20)

        def take():
            for _ in range(connections):
                made = server.accept()[0]
                threading.Thread(target=lambda c=made: (act(c), c.close()), daemon=True).start()

        thread = threading.Thread(target=take)
        thread.start()
        yield
        thread.join()
    path.unlink()


def test_megabytes_pass_in_both_directions_and_an_end_is_an_end(tmp_path):
    """The client says all and ends; the server, which answers only then, is still heard."""
    data = os.urandom(3 << 20)
    with (
        forwarding(tmp_path) as port,
        unix_server(tmp_path / "lab.sock", lambda c: c.sendall(read_all(c)[::-1])),
    ):
        client = connect(port)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == data[::-1]
        client.close()


def test_the_servers_end_is_handed_on_while_the_client_still_speaks(tmp_path):
    heard = []

    def act(connection):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with forwarding(tmp_path) as port, unix_server(tmp_path / "lab.sock", act):
        client = connect(port)
        assert read_all(client) == b"bye"
        client.sendall(b"but ")
        client.sendall(b"wait")
        client.close()
        waited_for(lambda: heard)
    assert heard == [b"but wait"]


def test_many_at_once_are_kept_apart(tmp_path):
    with (
        forwarding(tmp_path) as port,
        unix_server(tmp_path / "lab.sock", lambda c: c.sendall(c.recv(9) * 2), 20),
    ):
        clients = [connect(port) for _ in range(20)]
        for n, client in reversed(list(enumerate(clients))):
            client.sendall(b"%d" % n)
        for n, client in enumerate(clients):
            assert read_all(client) == b"%d" % n * 2
            client.close()


def test_a_gateway_that_comes_back_is_found_again(tmp_path):
    """Requests wait while there is none; another socket under the same name is another gateway."""
    code = (
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1] + "
        "'/usage').read().decode())"
    )
    with Gate(tmp_path / "lab.sock") as first, forwarding(tmp_path) as port:
        argv = [*PYTHON, code, f"http://127.0.0.1:{port}"]
        assert (
            str(USAGE["spent"]["tokens"])
            in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        )
        assert len(first.asked) == 1
        first.__exit__()
        waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        assert waiting.poll() is None
        with Gate(tmp_path / "lab.sock") as second:
            second.usage = {"other": 1}
            assert "other" in waiting.communicate(timeout=20)[0]
        first.__enter__()


def test_it_imports_nothing_but_the_standard_library():
    code = "import sys, json; before = set(sys.modules); import aarlab.researchers.inside; "
    code += "print(json.dumps([m.partition('.')[0] for m in set(sys.modules) - before]))"
    done = subprocess.run([*PYTHON, code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) - set(sys.stdlib_module_names) == {"aarlab"}
