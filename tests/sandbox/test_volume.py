"""Folders of a fixed size: what goes beyond is refused, what is in them outlives every end of their
holder."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.sandbox import Bubblewrap, volume
from aarlab.sandbox.sandbox import MIB, Limits, Mount, SandboxSpec, Standing
from tests.waiting import waited_for

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not volume.possible(), reason="this machine can mount no image; limits_held says so"
    ),
]
LIMITS = Limits(timeout_s=60)
HOLD = """
import sys
from pathlib import Path
from aarlab.sandbox import volume
held = volume.take(Path(sys.argv[1]), 16 << 20)
(Path(sys.argv[1]) / "late").write_text("written inside")
print("up", flush=True)
sys.stdin.read()
"""
FILL = """
import os
os.link('early', 'linked')
try:
    for n in range(32): open(f'f{n}', 'wb').write(bytes(1 << 20))
except OSError as error: print(n, error.strerror)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir(mode=0o750)
    (tmp_path / "home" / "early").write_text("from before")
    return tmp_path / "home"


def plain(home):
    """Whether nothing of ours is left beside it or on it."""
    return (
        not os.path.ismount(home)
        and [path.name for path in home.parent.iterdir() if "aar-disk" in path.name] == []
    )


def holder(home):
    """Another process that holds it."""
    words = [sys.executable, "-c", HOLD, str(home)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    return process


def killed(home):
    """Its holder, by SIGKILL."""
    process = holder(home)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close(), process.stdout.close()


def test_volume_refuses_excess_and_keeps_what_is_written(home):
    mount = Mount(home, "/home/r", writable=True)
    box = Bubblewrap(
        SandboxSpec("s", (mount,), workdir="/home/r", standing=Standing(disk_bytes=16 * MIB))
    )
    n, words = box.exec([sys.executable, "-c", FILL], LIMITS).output.strip().split(" ", 1)
    assert 12 <= int(n) <= 16
    assert words == "No space left on device"
    assert (home / "linked").read_text() == "from before"
    assert 12 * MIB < box.usage().disk_bytes <= 16 * MIB
    box.close()
    assert plain(home)
    assert home.stat().st_mode & 0o777 == 0o750
    assert (home / "early").stat().st_ino == (home / "linked").stat().st_ino
    assert len(list(home.glob("f*"))) == int(n) + 1


def test_after_a_kill_it_goes_on_with_what_was_written(home):
    killed(home)
    assert os.path.ismount(home)
    again = volume.take(home, 16 * MIB)
    assert (home / "late").read_text() == "written inside"
    volume.give_back(again)
    assert plain(home)
    assert {path.name for path in home.iterdir()} == {"early", "late"}


def test_image_is_the_truth_after_kill_and_reboot(home):
    killed(home)
    subprocess.run(["umount", home], check=True)
    assert not list(home.iterdir())
    volume.give_back(volume.take(home, 16 * MIB))
    assert plain(home)
    assert (home / "early").read_text() + (home / "late").read_text() == "from beforewritten inside"


def test_volumes_of_dead_processes_become_folders(home, tmp_path):
    other = tmp_path / "other" / "home"
    other.mkdir(parents=True)
    living = holder(other)
    killed(home)
    volume._sweep.__wrapped__()
    assert plain(home)
    assert (home / "late").exists()
    assert os.path.ismount(other)
    with pytest.raises(Misconfigured, match="another process"):
        volume.take(other, MIB)
    living.stdin.close()
    living.wait(), living.stdout.close()
    assert plain(other)


def test_a_volume_that_another_process_makes_plain_at_that_moment_is_left_to_it(home, monkeypatch):
    gone = home.parent / "gone" / "out"
    seen = [(volume.image_of(point), point) for point in (gone, home)]
    monkeypatch.setattr(volume, "_mounted", lambda: seen)
    monkeypatch.setattr(volume, "_run", lambda *words: pytest.fail(f"{words} was called"))
    volume._sweep.__wrapped__()
    assert plain(home)
    assert not gone.exists()


def test_an_image_that_is_being_made_stays_mounted_until_its_maker_is_gone(home, tmp_path):
    image, point = tmp_path / ".home.aar-disk-new", tmp_path / "in"
    image.write_bytes(bytes(MIB))
    point.mkdir()
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)], check=True)
    with image.open("rb") as maker:
        fcntl.flock(maker, fcntl.LOCK_EX)
        volume._mount(image, point)
        volume._sweep.__wrapped__()
        assert os.path.ismount(point)
    volume._sweep.__wrapped__()
    assert not os.path.ismount(point)


def test_an_image_that_was_never_finished_does_not_count(home):
    (home.parent / ".home.aar-disk-new").write_bytes(b"half")
    made = volume.take(home, 8 * MIB)
    assert (home / "early").read_text() == "from before"
    volume.give_back(made)
    assert plain(home)


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_damaged_image_is_reported_and_kept(home, size):
    killed(home)
    image = home.parent / ".home.aar-disk"
    subprocess.run(["umount", home], check=True)
    held = ["losetup", "-j", image]
    waited_for(lambda: not subprocess.run(held, capture_output=True, check=True).stdout)
    os.truncate(image, size)
    with pytest.raises(
        Misconfigured,
        match=r"\.home\.aar-disk holds the content of .*home and cannot be mounted\. Repair it",
    ):
        volume.take(home, 16 * MIB)
    assert image.stat().st_size == size


def test_it_is_kept_between_sandboxes_where_it_is_to_last(home):
    spec = SandboxSpec("s", (Mount(home, "/home/r", writable=True),), lasting=True)
    for _ in range(2):
        Bubblewrap(spec).close()
        assert os.path.ismount(home)
    volume.let_go(home)
    assert plain(home)


def test_two_sandboxes_share_it_and_the_last_lets_go(home):
    spec = SandboxSpec("s", (Mount(home, "/home/r", writable=True),))
    one, other = Bubblewrap(spec), Bubblewrap(spec)
    one.close()
    assert os.path.ismount(home)
    other.close()
    assert plain(home)


def test_who_holds_more_than_the_limit_gets_room_to_tidy_up(home):
    (home / "big").write_bytes(os.urandom(24 * MIB))
    made = volume.take(home, 8 * MIB)
    assert (home / "big").stat().st_size == 24 * MIB
    assert made.image.stat().st_size < 100 * MIB
    volume.give_back(made)
    assert (home / "big").stat().st_size == 24 * MIB


def test_uncopied_files_stay_in_the_image_with_a_note(home, monkeypatch):
    made = volume.take(home, 16 * MIB)
    monkeypatch.setattr(volume, "COPY", ("false",))
    volume.give_back(made)
    assert ".home.aar-disk" in (home / "READ-ME-aar").read_text()
    monkeypatch.undo()
    volume.give_back(volume.take(home, 16 * MIB))
    assert plain(home)
    assert [path.name for path in home.iterdir()] == ["early"]


def test_room_that_is_freed_inside_is_the_hosts_again(home):
    made = volume.take(home, 64 * MIB)
    (home / "big").write_bytes(os.urandom(32 * MIB))
    subprocess.run(["sync", "-f", home], check=True)
    assert made.image.stat().st_blocks * 512 > 32 * MIB
    (home / "big").unlink()
    until = time.monotonic() + 30
    while made.image.stat().st_blocks * 512 > 8 * MIB and time.monotonic() < until:
        subprocess.run(["sync", "-f", home], check=True)
    assert made.image.stat().st_blocks * 512 <= 8 * MIB
    volume.give_back(made)
