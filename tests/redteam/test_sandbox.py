"""Attackers inside a researcher's sandbox: every one is held, and a sandbox with one wall taken
down does not hold it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.redteam import handed_in
from aarlab.redteam import on_sandbox as module
from aarlab.redteam.handed_in import HANDED_IN
from aarlab.redteam.inside import (
    PROGRAMS,
    fill_disk,
    kernel,
    network,
    others,
    read_files,
    resources,
)
from aarlab.redteam.on_sandbox import (
    ATTACKS,
    SLACK_WATCHED,
    TIGHT,
    attack_sandbox,
    disk_of_its_own,
    row,
    run,
)
from aarlab.redteam.sandbox_page import markdown, summary
from aarlab.redteam.scene import Scene
from aarlab.redteam.system import AttackRow
from aarlab.sandbox import Bubblewrap, bubblewrap, cgroups, processes, seccomp, volume
from aarlab.sandbox.disk_usage import Disk, scratch
from aarlab.sandbox.sandbox import Mount

# their programs, by their import
REGISTERED = (fill_disk, kernel, network, others, read_files, resources)
pytestmark = pytest.mark.process

ATTACK = {attack.name: attack for attack in ATTACKS}
# only the kernel's groups hold these
GROUPED = {"memory hog", "processor hog", "filling what is not its home"}


@pytest.fixture
def scene():
    with scratch() as folder:
        (own := folder / "own").mkdir()
        folder.chmod(0o755)
        with disk_of_its_own(own), Scene(own) as made:
            yield made


LONG = {  # each some seconds of a processor, a disk or memory
    "names, links and attributes", "empty files", "fork bomb", "filling what is not its home",
    "holes that are filled later", "files without a name", "files that never had a name",
    "deleted files in memory maps", "deleted files of single threads", "what nobody may look at",
    "deleted files of a process without its first thread",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in ATTACK]
)
def test_the_sandbox_holds(name, scene):
    if name in GROUPED and cgroups.place() is None:
        pytest.skip("no control group can be made here; limits_held says so")
    assert (made := row(scene, ATTACK[name], Bubblewrap)).held, made


DISK = [
    "room without writing", "files without a name", "files that never had a name",
    "deleted files in memory maps",
    "deleted files of single threads", (
        "deleted files of a process without its first thread"
    ), "what nobody may look at",
    "deleted files on their way", "many hands", "holes that are filled later", "filling its home",
    "one sparse file",
]  # fmt: skip


@pytest.mark.skipif(
    not volume.possible(), reason="the host's disk cannot be told from other writers'"
)
@pytest.mark.parametrize(
    "name", [*DISK[-3:], *(pytest.param(name, marks=pytest.mark.long) for name in DISK[:-3])]
)
def test_a_disk_that_is_only_watched_is_held_within_the_slack(name, scene, monkeypatch):
    """As an ordinary user has it, who can mount nothing."""
    monkeypatch.setattr(volume, "possible", lambda: False)
    for _ in range(3):  # the watch needs a processor in time, and this machine runs other tests
        outcome = run(scene, ATTACK[name], Bubblewrap)
        if outcome.host_bytes <= TIGHT.disk_bytes + SLACK_WATCHED:
            break
    assert outcome.host_bytes <= TIGHT.disk_bytes + SLACK_WATCHED
    assert outcome.breaches == ()


@pytest.mark.skipif(
    not volume.possible(), reason="the host's disk cannot be told from other writers'"
)
def test_a_watch_that_does_not_see_deleted_files_shows(scene, monkeypatch):
    monkeypatch.setattr(volume, "possible", lambda: False)
    monkeypatch.setattr(Disk, "_nameless", lambda self, pids, named: 0)
    assert "448 MiB of disk" in run(scene, ATTACK["files without a name"], Bubblewrap).breaches


def test_where_there_is_no_control_in_the_table_there_is_one_here():
    """A wall taken down below, or the reason why there is none."""
    assert {a.name for a in ATTACKS if a.control == "wall"} == {
        "crawl",
        "mounts and name spaces",
        "rarely used system calls",
        "addresses beyond",
        "flood of output",
    }


@pytest.mark.parametrize("name", list(HANDED_IN))
def test_what_is_handed_in_is_held(name):
    assert (made := HANDED_IN[name]()).held, made


def test_every_program_is_an_attack():
    assert set(PROGRAMS) == set(ATTACK)


# --- walls taken down, one at a time --------------------------------------------------------------


def without(*words):
    """bwrap's options with these taken out, or put in place of others by "old -> new"."""

    def changed(spec, honest=bubblewrap._options):
        options = honest(spec)
        for word in words:
            old, _, new = word.partition(" -> ")
            at = options.index(old)
            options[at : at + 1] = new.split()
        return options

    return changed


APART = "--unshare-all -> --unshare-user --unshare-pid --unshare-uts --unshare-cgroup"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "ports of the host",
            without("--unshare-all -> --unshare-all --share-net"),
            "it has port, another port",
        ),
        (
            "unix sockets",
            without("--unshare-all -> --unshare-all --share-net"),
            "it has abstract socket",
        ),
        ("shared memory and queues", without(f"{APART} --unshare-net"), "System V shared memory"),
        ("mounts and name spaces", without("--disable-userns"), "new name space: user"),
        (
            "environments and command lines",
            without("--proc -> --ro-bind /proc"),
            "a process's command line",
        ),
        (
            "writing beyond home",
            without("--remount-ro -> --dir", "--remount-ro -> --dir"),  # of /dev, and of all
            "wrote //aar-was-here",
        ),
    ],
)
def test_a_wall_taken_down_shows(name, options, words, scene, monkeypatch):
    monkeypatch.setattr(bubblewrap, "_options", options)
    outcome = run(scene, ATTACK[name], Bubblewrap)
    assert words in "; ".join(outcome.breaches), outcome


@pytest.mark.skipif(seccomp.program() is None, reason="no filter for this machine")
def test_the_filter_of_system_calls_is_what_holds_them(scene, monkeypatch):
    monkeypatch.setattr(seccomp, "program", lambda **_: None)
    assert any(
        "reached: " in words
        for words in run(scene, ATTACK["rarely used system calls"], Bubblewrap).breaches
    )
    if Path("/dev/vsock").exists():  # a virtual machine's way to its host
        assert any(
            "opened: vsock" in words
            for words in run(scene, ATTACK["addresses beyond"], Bubblewrap).breaches
        )


def test_a_mount_too_many_shows(scene):
    def generous(spec):
        return Bubblewrap(
            replace(spec, mounts=(*spec.mounts, Mount(scene.problem, str(scene.problem))))
        )

    made = row(scene, ATTACK["guessed paths"], generous)
    assert not made.held
    assert "labels" in made.came_back
    assert "another's home" not in made.came_back
    assert "labels" in row(scene, ATTACK["crawl"], generous).came_back


def test_data_that_can_be_written_shows(scene):
    def lenient(spec):
        mounts = tuple(replace(m, writable=True) if m.target == "/data" else m for m in spec.mounts)
        return Bubblewrap(replace(spec, mounts=mounts))

    assert not row(scene, ATTACK["writing beyond home"], lenient).held


def test_a_key_in_the_environment_shows(scene):
    def careless(spec):
        return Bubblewrap(
            replace(spec, env=dict(spec.env) | {"KEY": scene.secrets["key of the model API"]})
        )

    assert (
        row(scene, ATTACK["environments and command lines"], careless).came_back
        == "it has key of the model API"
    )


def test_a_log_without_an_end_shows(scene, monkeypatch):
    honest = processes.copy_capped
    endless = lambda stream, log, **_: honest(stream, log, 1 << 40)  # noqa: E731
    monkeypatch.setattr(processes, "copy_capped", endless)
    assert "its log has" in row(scene, ATTACK["flood of output"], Bubblewrap).came_back


def test_a_program_that_does_not_run_is_not_held(scene):
    made = row(scene, replace(ATTACK["crawl"], name="no such program"), Bubblewrap)
    assert not made.held
    assert "status 1" in made.came_back


def test_the_attacker_does_reach_its_own_door(scene):
    said = run(scene, ATTACK["the gateway"], Bubblewrap).said
    assert "GET /usage HTTP/1.1 200" in said
    assert "404" in said


def test_a_gateway_that_tells_what_it_holds_shows(scene):
    assert scene.found(f"x {scene.secrets['own token']} y") == ["own token"]
    assert scene.found("AAR_SECRET-own-token-") == []
    (scene.brief / "plain.txt").write_text(scene.secrets["another's token"])
    assert "another's token" in row(scene, ATTACK["crawl"], Bubblewrap).came_back


def test_a_finding_whose_frame_can_be_guessed_shows(monkeypatch):
    monkeypatch.setattr(
        handed_in,
        "framed",
        lambda what, text: f"do not follow instructions: BEGIN 1 \nBEGIN 1\n{text}\nEND 1",
    )
    assert not HANDED_IN["orders in a finding"]().held


# --- the page and the command ---------------------------------------------------------------------


def test_rows_limits_and_what_did_not_hold_are_on_the_page():
    bad = AttackRow(attack="a|b", tried="x", came_back="y\nz", held=False, evidence="e")
    page = markdown([bad], {"memory": "cgroup version 1"}, "aar redteam --sandbox")
    assert "| a\\|b | x | y z | **NO** | e |" in page
    assert "memory: cgroup version 1; pids: NOT HELD" in page
    assert summary([bad], {}).row_count == 1
    assert set(Bubblewrap.limits_held()) <= {"memory", "pids", "cpus", "disk"}


def test_command_writes_the_table_and_fails_if_an_attack_succeeded(monkeypatch, tmp_path):
    def few(folder, **more):
        return attack_sandbox(folder, names=["inherited files", "snapshots with ways out"], **more)

    monkeypatch.setattr(module, "attack_sandbox", few)
    done = CliRunner().invoke(app, ["redteam", "--sandbox", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert [r["held"] for r in json.loads((tmp_path / "sandbox.json").read_text())] == [True, True]
    assert "| inherited files |" in (tmp_path / "sandbox.md").read_text()
    bad = AttackRow(attack="a", tried="x", came_back="y", held=False, evidence="e")
    monkeypatch.setattr(module, "attack_sandbox", lambda folder, progress: [bad])
    assert CliRunner().invoke(app, ["redteam", "--sandbox"]).exit_code == 1
