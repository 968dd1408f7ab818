"""What all processes of one sandbox use together: counted and limited; and how a long-running
command is stopped."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.sandbox import Bubblewrap, Directory, volume
from aarlab.sandbox.disk_usage import past_modes, reserve_bytes
from aarlab.sandbox.sandbox import MIB, Limits, Mount, SandboxSpec, Standing
from tests.waiting import waited_for

pytestmark = pytest.mark.process

LIMITS = Limits(timeout_s=20)
PYTHON = [sys.executable, "-uc"]


@pytest.fixture
def make(tmp_path):
    """Makes sandboxes with a home, and closes them."""
    made = []
    (tmp_path / "home").mkdir()

    def sandbox(kind=Bubblewrap, mounts=(), **more):
        mounts = (Mount(tmp_path / "home", "/home/researcher", writable=True), *mounts)
        made.append(kind(SandboxSpec("s", mounts, workdir="/home/researcher", **more)))
        return made[-1]

    yield sandbox
    for box in made:
        box.close()


@pytest.mark.parametrize("kind", [Bubblewrap, Directory])
def test_closing_stdin_asks_a_command_to_stop(make, tmp_path, kind):
    code = "import sys; print('up'); sys.stdin.read(); print('asked to stop'); sys.exit(3)"
    process = make(kind).start([*PYTHON, code], tmp_path / "log")
    waited_for(lambda: (tmp_path / "log").exists() and "up" in (tmp_path / "log").read_text())
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(20) == 3
    waited_for(lambda: (tmp_path / "log").read_text() == "up\nasked to stop\n")


@pytest.mark.long
@pytest.mark.parametrize("kind", [Bubblewrap, Directory])
def test_what_it_uses_is_counted(make, tmp_path, kind):
    box = make(kind)
    assert box.usage().cpu_s < 0.1
    assert box.usage().processes == 0
    code = "import sys, time; x = b'x' * (200 << 20); open('file', 'wb').write(b'y' * (3 << 20))\n"
    code += "while time.process_time() < 0.5: pass\nprint('up'); sys.stdin.read()"
    process = box.start([*PYTHON, code], tmp_path / "log")
    waited_for(lambda: (tmp_path / "log").exists() and "up" in (tmp_path / "log").read_text())
    usage = box.usage()
    assert 0.45 <= usage.cpu_s < 20
    assert 200 * MIB <= usage.memory_bytes < 300 * MIB
    assert usage.processes >= 1
    process.stdin.close()
    process.wait(20)
    after = box.usage()
    assert after.cpu_s >= usage.cpu_s  # what was used stays used
    assert after.memory_bytes < 50 * MIB
    assert 3 * MIB <= after.disk_bytes < 4 * MIB


def test_a_device_that_is_not_there_is_the_operators_to_mend(make):
    with pytest.raises(Misconfigured, match="/dev/no-such-gpu"):
        make(devices=("/dev/no-such-gpu",))


def test_a_named_device_is_seen_inside_and_works_there(make):
    """Stands for /dev/nvidia0: any device that bwrap's own /dev does not have."""
    device = next(
        (d for d in ("/dev/kmsg", "/dev/autofs", "/dev/fuse", "/dev/net/tun") if Path(d).exists()),
        None,
    )
    if device is None:
        pytest.skip("this machine has no device beyond the usual ones")
    look = [*PYTHON, f"import os, stat; print(stat.S_ISCHR(os.stat({device!r}).st_mode))"]
    assert "FileNotFoundError" in make().exec(look, LIMITS).output
    assert make(devices=(device,)).exec(look, LIMITS).output.strip() == "True"


def serve(path: Path, word: bytes) -> threading.Thread:
    """Answer one connection on a unix socket, as the gateway would: the socket is open to all, its
    parent folder is not."""
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(20)
    server.bind(str(path))
    path.chmod(0o666)
    server.listen()

    def answer():
        with server, server.accept()[0] as connection:
            connection.sendall(word)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_a_socket_that_is_made_anew_in_its_folder_is_reached(make, tmp_path):
    gate = tmp_path / "closed" / "gate"
    gate.mkdir(parents=True)
    gate.chmod(0o711)
    (tmp_path / "closed").chmod(0o700)
    box = make(mounts=(Mount(gate, "/run/gate"),))
    ask = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/gate/lab.sock'); "
        "print(s.recv(9).decode())"
    )
    process = box.start([*PYTHON, f"{ask}\nsys.stdin.readline()\n{ask}"], tmp_path / "log")
    first = serve(gate / "lab.sock", b"first")
    first.join()
    (gate / "lab.sock").unlink()
    serve(gate / "lab.sock", b"second")
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait(20) == 0, (tmp_path / "log").read_text()
    waited_for(lambda: (tmp_path / "log").read_text().split() == ["first", "second"])
    assert "Read-only" in box.exec([*PYTHON, "open('/run/gate/mine', 'w')"], LIMITS).output


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one uid")
def test_two_sandboxes_never_share_a_uid(make):
    uids = [make().uid for _ in range(20)]
    assert len(set(uids)) == 20


@pytest.fixture
def watched(starts_processes, monkeypatch):
    """As on a machine that can mount nothing."""
    monkeypatch.setattr(volume, "possible", lambda: False)


def test_beyond_its_disk_a_command_is_ended_and_its_log_says_why(make, tmp_path, watched):
    box = make(standing=Standing(disk_bytes=8 * MIB))
    code = (
        "import itertools, time\nfor n in itertools.count(): open(f'f{n}', 'wb').write(b'x' * (1 "
        "<< 20)); time.sleep(0.02)"
    )
    process = box.start([*PYTHON, code], tmp_path / "log")
    assert process.wait(60) != 0
    waited_for(lambda: '"limit": "disk"' in (tmp_path / "log").read_text())
    assert box.usage().disk_bytes > 8 * MIB


def test_an_ordinary_user_goes_past_the_modes_of_its_own_folders():
    """Code inside has the user's own uid there, and may close a folder to who measures or removes
    it."""
    user = (
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
        if os.geteuid() == 0
        else []
    )
    if subprocess.run(
        [*user, past_modes()[0], "--version"], check=False, capture_output=True
    ).returncode:
        pytest.skip("this environment lies in a folder that others may not enter")
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o777)
        words = f"cd {made} && mkdir home && head -c 3M /dev/zero >home/file && chmod 0 home"
        subprocess.run([*user, "/bin/sh", "-c", words], check=True)
        ask = {"capture_output": True, "text": True}
        assert (
            "Permission denied"
            in subprocess.run([*user, "du", "-sm", f"{made}/home"], **ask).stderr
        )
        past = [*user, *past_modes()]
        assert subprocess.run([*past, "du", "-sm", f"{made}/home"], **ask).stdout.startswith(
            ("3", "4")
        )
        subprocess.run([*past, "rm", "-rf", f"{made}/home"], check=True)
        assert not Path(made, "home").exists()


DRIP = """
import os, time
for n in range(64):
    open(f'f{n}', 'wb').write(b'x' * (1 << 20)); time.sleep(0.1)
print('had all')
"""


@pytest.mark.parametrize("possible", [True, False])
def test_below_the_reserve_who_writes_is_ended_and_who_does_not_goes_on(
    make, tmp_path, monkeypatch, possible
):
    if not possible:
        monkeypatch.setattr(volume, "possible", lambda: False)
    s = os.statvfs(tmp_path)
    # more than there is
    monkeypatch.setenv("AAR_DISK_RESERVE_GIB", str(s.f_blocks * s.f_frsize / (1 << 30)))
    (tmp_path / "other").mkdir()
    quiet = Bubblewrap(
        SandboxSpec("quiet", (Mount(tmp_path / "other", "/home/researcher", writable=True),))
    )
    calm = quiet.start(
        [*PYTHON, "import sys; sys.stdin.read(); print('untouched')"], tmp_path / "calm"
    )
    process = make().start([*PYTHON, DRIP], tmp_path / "log")
    assert process.wait(60) != 0
    waited_for(lambda: "the reserve is" in (tmp_path / "log").read_text())
    assert "; s took " in (tmp_path / "log").read_text()  # by its name
    assert "had all" not in (tmp_path / "log").read_text()
    calm.stdin.close()
    assert calm.wait(60) == 0
    quiet.close()


def test_a_reserve_that_is_no_number_is_the_operators_to_mend(monkeypatch):
    for said in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("AAR_DISK_RESERVE_GIB", said)
        with pytest.raises(Misconfigured, match="AAR_DISK_RESERVE_GIB"):
            reserve_bytes(1 << 40)
    monkeypatch.setenv("AAR_DISK_RESERVE_GIB", "0.5")
    assert reserve_bytes(1 << 40) == 1 << 29


@pytest.mark.parametrize(("total", "reserve"), [(1, 0.5), (10, 1), (100, 5), (1024, 10)])
def test_the_reserve_is_a_twentieth_within_bounds(total, reserve, monkeypatch):
    monkeypatch.delenv("AAR_DISK_RESERVE_GIB", raising=False)
    assert reserve_bytes(total << 30) == reserve * (1 << 30)


def test_who_starts_beyond_its_disk_may_tidy_up(make, tmp_path):
    (tmp_path / "home" / "big").write_bytes(b"x" * (4 * MIB))
    done = make(standing=Standing(disk_bytes=MIB)).exec(
        [*PYTHON, "import os, time; time.sleep(0.6); os.remove('big')"], LIMITS
    )
    assert done.returncode == 0
    assert not (tmp_path / "home" / "big").exists()


def test_empty_files_count_and_a_sparse_one_counts_what_it_holds(make):
    box = make()
    box.exec(
        [
            *PYTHON,
            "for n in range(1000): open(f'f{n}', 'w')\nopen('sparse', 'w').truncate(1 << 27)",
        ],
        LIMITS,
    )
    assert 1000 * 4096 <= box.usage().disk_bytes < 8 * MIB


def test_limit_is_held_after_the_log_was_removed(make, tmp_path, watched):
    folder = tmp_path / "logs"
    folder.mkdir()
    process = make(standing=Standing(disk_bytes=8 * MIB)).start([*PYTHON, DRIP], folder / "log")
    waited_for((folder / "log").exists)
    shutil.rmtree(folder)
    assert process.wait(60) != 0
    for thread in threading.enumerate():
        if "(end)" in thread.name:
            thread.join(10)  # an exception in it fails this test


@pytest.mark.long
def test_who_cannot_be_looked_at_is_ended_and_the_watch_goes_on(make, tmp_path, watched):
    (tmp_path / "gone").mkdir()
    lost = Bubblewrap(
        SandboxSpec("lost", (Mount(tmp_path / "gone", "/home/researcher", writable=True),))
    )
    process = lost.start(
        [*PYTHON, "import time; print('up'); time.sleep(600)"], tmp_path / "lost-log"
    )
    waited_for(
        lambda: (tmp_path / "lost-log").exists() and "up" in (tmp_path / "lost-log").read_text()
    )
    (tmp_path / "gone").rmdir()
    assert process.wait(60) != 0
    waited_for(lambda: "cannot be looked at" in (tmp_path / "lost-log").read_text())
    other = make(standing=Standing(disk_bytes=8 * MIB)).start([*PYTHON, DRIP], tmp_path / "log")
    assert other.wait(60) != 0
    waited_for(lambda: '"limit": "disk"' in (tmp_path / "log").read_text())
    lost.close()
