"""Limits on all processes of a sandbox together, with the kernel's groups and without; no figure
here is a time."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aarlab.sandbox import Bubblewrap, cgroups, volume
from aarlab.sandbox.cgroups import Cgroup, CgroupPlace
from aarlab.sandbox.disk_usage import du, scratch
from aarlab.sandbox.sandbox import GIB, MIB, Limits, Mount, SandboxSpec, Standing

grouped = pytest.mark.skipif(cgroups.place() is None, reason="no control group can be made here")
LIMITS = Limits(timeout_s=30, memory_bytes=8 * GIB, file_bytes=GIB)
FORKS = """
import os, time
n = 0
try:
    for n in range(400):
        if os.fork() == 0: time.sleep(60)
except BlockingIOError: print('refused at', n)
"""
HOG = """
import os
pid = os.fork()
if pid == 0:
    x = [b'x' * (1 << 20) for _ in range(600)]
    os._exit(0)
print('hog ended with', os.waitpid(pid, 0)[1])
"""


def run(code: str, standing: Standing) -> str:
    with closing(Bubblewrap(SandboxSpec("s", (), standing=standing))) as box:
        return box.exec([sys.executable, "-c", code], LIMITS).output


@pytest.fixture
def without_groups(monkeypatch):
    """As on a machine where an ordinary user may make no group."""
    monkeypatch.setattr(cgroups, "place", lambda: None)
    monkeypatch.setattr(cgroups, "scopes", lambda: False)


@pytest.mark.process
@grouped
def test_a_fork_bomb_is_refused_at_the_limit():
    assert 20 <= int(run(FORKS, Standing(pids=40)).split()[-1]) <= 48
    assert "refused" not in run(FORKS, Standing(pids=None))  # so the question can fail


@pytest.mark.process
@grouped
def test_a_hog_is_killed_and_its_sandbox_goes_on():
    assert "hog ended with 9" in run(HOG, Standing(memory_bytes=256 * MIB))
    assert "hog ended with 0" in run(HOG, Standing(memory_bytes=2 * GIB))


@pytest.mark.process
@grouped
def test_shared_memory_and_tmp_count_as_memory():
    code = (
        "f = open('/dev/shm/x', 'wb')\nfor _ in range(300): f.write(bytes(1 << "
        "20))\nprint('written')"
    )
    assert "written" not in run(code, Standing(memory_bytes=200 * MIB))
    assert "written" in run(code, Standing(memory_bytes=GIB))


@pytest.mark.long
@pytest.mark.process
@grouped
def test_processor_time_is_limited_by_the_kernel(tmp_path):
    """So little of it that a machine which others keep busy gives more."""
    box = Bubblewrap(SandboxSpec("s", (), standing=Standing(cpus=0.03)))
    folder = box._processes.cgroup.folders["cpu"]
    file, said = (
        ("cpu.cfs_quota_us", "3000") if cgroups.place().version == 1 else ("cpu.max", "3000 100000")
    )
    assert (folder / file).read_text().strip() == said
    code = "import time\nwhile time.process_time() < 0.1: pass"
    assert box.exec([sys.executable, "-c", code], LIMITS).returncode == 0
    throttled = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())[
        "nr_throttled"
    ]
    assert int(throttled) > 0
    box.close()


@pytest.mark.process
@grouped
def test_process_that_leaves_its_group_is_killed_with_the_cgroup(tmp_path):
    from aarlab.sandbox import Directory

    box = Directory(SandboxSpec("s", (Mount(tmp_path, "/home", writable=True),), workdir="/home"))
    code = (
        "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True, "
        "stdout=-3, stderr=-3).pid)"
    )
    pid = int(box.exec([sys.executable, "-c", code], LIMITS).output)
    command = Path(f"/proc/{pid}/cmdline")
    assert command.read_bytes()
    box.close()
    assert not command.exists() or not command.read_bytes()  # gone, or ended and not yet reaped


@grouped
def test_groups_go_at_close_and_those_of_the_dead_at_the_next_start():
    place = cgroups.place()
    group = Cgroup(place, Standing())
    folders = set(group.folders.values())
    assert all(f.is_dir() for f in folders)
    group.close()
    assert not any(f.exists() for f in folders)
    some = place.folders["pids"]
    dead, mine = (
        some / "aar-999999999-1-1",
        some / f"aar-{os.getpid()}-{cgroups.started(os.getpid())}-0",
    )
    dead.mkdir(), mine.mkdir()
    cgroups.sweep(some)
    assert mine.exists()
    assert not dead.exists()
    mine.rmdir()


@pytest.mark.process
def test_without_groups_forks_are_refused_and_memory_is_watched(without_groups):
    assert 20 <= int(run(FORKS, Standing(pids=40)).split()[-1]) <= 48
    said = run(
        HOG.replace("os._exit(0)", "import time; time.sleep(60)"), Standing(memory_bytes=256 * MIB)
    )
    assert '"limit": "memory"' in said
    assert "hog ended" not in said


@pytest.mark.process
def test_what_is_not_held_is_said(without_groups):
    assert "cpus" not in Bubblewrap.limits_held()
    assert "prlimit" in Bubblewrap.limits_held()["pids"]
    assert "watched" in Bubblewrap.limits_held()["memory"]


@grouped
@pytest.mark.process
def test_what_the_kernel_holds_is_said():
    assert {name: words.split()[0] for name, words in Bubblewrap.limits_held().items()} == {
        "memory": "cgroup",
        "pids": "cgroup",
        "cpus": "cgroup",
        "disk": "a" if volume.possible() else "watched",  # a file system of fixed size
    }


@pytest.mark.process
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become another user"
)
def test_an_ordinary_user_has_a_sandbox_with_limits():
    """The whole of it as an ordinary user, who can make no group on most machines; a shell, for
    this Python may be root's."""
    code = """
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.bubblewrap import Bubblewrap
from aarlab.sandbox.sandbox import *
Bubblewrap.require()
box = Bubblewrap(SandboxSpec("s", (), standing=Standing(pids=40)))
print(box.uid, Bubblewrap.limits_held()["pids"])
bomb = "i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); echo $i; done"
print(box.exec(["/bin/sh", "-c", bomb], Limits(timeout_s=20)).output)
box.close()
"""
    command = [
        "setpriv",
        "--reuid",
        "31999",
        "--regid",
        "31999",
        "--clear-groups",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    )
    if (
        "PermissionError" in done.stderr
        or "No module named" in done.stderr
        or "can't open" in done.stderr
    ):
        pytest.skip("this Python is in a folder that other users may not enter")
    assert done.returncode == 0, done.stderr
    first, *numbers, last = done.stdout.strip().splitlines()
    assert first == "None prlimit --nproc"
    assert "fork" in last
    assert 20 <= int(numbers[-1]) <= 48


V1 = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 /docker/a /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
OWN_V1 = "9:cpu,cpuacct:/docker/a\n4:memory:/docker/a/b:c\n0::/\n"


def test_hierarchies_of_version_1_are_found_by_hand():
    place = cgroups.version_1(cgroups.hierarchies(V1), OWN_V1)
    both = Path("/sys/fs/cgroup/cpu,cpuacct")
    assert {c: Path(os.path.normpath(f)) for c, f in place.folders.items()} == {
        "memory": Path("/sys/fs/cgroup/memory/b:c"),
        "cpu": both,
        "cpuacct": both,
    }
    assert cgroups.version_1(cgroups.hierarchies(V1), "0::/\n") is None


def tree(root: Path, handed_on: dict[str, str]) -> None:
    for path, words in handed_on.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "cgroup.subtree_control").write_text(words)


def test_version_2_takes_the_nearest_group_that_hands_its_controllers_on(tmp_path):
    own = "user.slice/user@1000.service/app.slice/term.scope"
    tree(
        tmp_path,
        {"": "cpu memory pids", "user.slice": "memory pids", own: "", f"{own}/..": "memory pids"},
    )
    mounts = cgroups.hierarchies(f"40 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    place = cgroups.version_2(mounts, f"0::/{own}\n")
    app = tmp_path / "user.slice/user@1000.service/app.slice"
    assert place == CgroupPlace(2, {"memory": app, "pids": app})
    tree(tmp_path, {"": "", "user.slice": "", own: "", f"{own}/..": "cpu"})
    assert cgroups.version_2(mounts, f"0::/{own}\n") is None
    assert cgroups.version_2({}, f"0::/{own}\n") is None


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            1,
            {
                "memory.limit_in_bytes": "1048576",
                "pids.max": "18",
                "cpu.cfs_period_us": "100000",
                "cpu.cfs_quota_us": "150000",
            },
        ),
        (2, {"memory.max": "1048576", "pids.max": "18", "cpu.max": "150000 100000"}),
    ],
)
def test_limits_in_the_words_of_each_version(version, said):
    assert {
        file: value for _, file, value in cgroups.limits(version, Standing(MIB, 10, 1.5))
    } == said
    assert list(cgroups.limits(version, Standing(None, None, None, None))) == []


def test_the_words_for_systemd():
    words = cgroups.scoped(["true"], Standing(MIB, 10, 1.5))
    assert words[0] == "systemd-run"
    assert words[-2:] == ["--", "true"]
    assert {"MemoryMax=1048576", "MemorySwapMax=0", "TasksMax=18", "CPUQuota=150%"} <= set(words)
    assert "MemoryMax" not in " ".join(cgroups.scoped(["true"], Standing(None, None, None, None)))


@pytest.mark.process
def test_disk_is_measured_without_following_anything(tmp_path):
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "new\nline\t1").write_bytes(b"x" * 10_000)
    os.mkfifo(tmp_path / "pipe")
    os.link(tmp_path / "new\nline\t1", tmp_path / "again")
    assert 8192 <= du([tmp_path]) < 64 * 1024
    assert du([tmp_path], "--inodes") == 4


@pytest.mark.process
def test_whatever_was_built_in_a_scratch_folder_it_is_measured_and_goes():
    with scratch() as folder:
        here = os.open(folder, os.O_RDONLY)
        for _ in range(1500):  # Python's own removal recurses, and fails at 1,000
            os.mkdir("deeper", dir_fd=here)
            here, above = os.open("deeper", os.O_RDONLY, dir_fd=here), here
            os.close(above)
        os.close(here)
        assert du([folder], "--inodes") == 1501
    assert not folder.exists()


@pytest.mark.process
def test_a_tool_that_path_names_first_and_a_sandbox_does_not_have_is_not_used(
    tmp_path, monkeypatch
):
    """As those of Homebrew or conda, below a home folder."""
    (tmp_path / "prlimit").symlink_to(shutil.which("prlimit"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox = Bubblewrap(SandboxSpec(name="tools", mounts=()))
    try:
        done = sandbox.exec(["/bin/sh", "-c", "echo fine"], Limits(timeout_s=20))
    finally:
        sandbox.close()
    assert done.output.strip() == "fine"
