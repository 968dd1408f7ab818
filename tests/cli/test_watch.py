"""What is seen of a fleet: everything that matters, in any width, nothing exact, and nothing that
harms a terminal."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import closing

import pytest
from rich.console import Console

from aarlab.cli import watch as watch_module
from aarlab.cli.frame import Seen, frame, summary
from aarlab.cli.show import FleetView
from aarlab.cli.watch import Watcher
from aarlab.core.budget import Spent
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Family
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import Places, note_places
from aarlab.fleet.alarms import alarms
from tests.fleet.fleets import HOSTILE, NOW, campaign_folder, fleet, member, submission
from tests.store_servers import free_port

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]


def drawn(seen: Seen, width: int = 200, rows: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(frame(seen, width=width, rows=rows))
    return console.file.getvalue()


def look(folder, state=None) -> Seen:
    with closing(Watcher(folder)) as watcher:
        return watcher.look(state)._replace(at=NOW)


@pytest.fixture
def folder(tmp_path):
    return campaign_folder(tmp_path, fleet())


def test_a_wide_frame_says_what_each_researcher_does_has_and_has_spent(folder):
    row = next(
        line for line in drawn(look(folder)).splitlines() if line.strip().startswith("researcher-1")
    )
    for words in (
        "running #3",
        "0.42, 0 s",
        "$1.25/5.00",
        "1.2M/10.0M tok",
        "0.50/2.00 h",
        "0.25 cpu-h",
        "210 MB/0",
    ):
        assert words in row
    assert row.rstrip().endswith("4 s: Bash: python method.py")


def test_the_head_says_totals_cost_services_and_what_was_released(folder):
    text = drawn(look(folder))
    for words in (
        "1 running, 1 held",
        "10 m left",
        "3 experiments, 0 findings",
        "reported level PGR 0.42 (provisional)",
        "41.2 of 140.0 bits",
    ):
        assert words in text
    assert "$2.50/20.00" in text
    assert "$2.50 per researcher-hour without the machine's time, of unknown price" in text
    assert "gateway up · server up" in text


def test_exact_scores_are_in_the_ledger_and_in_no_frame(folder):
    seen = look(folder)
    for shown in (drawn(seen), drawn(seen, 70), summary(seen)):
        assert "0.87" not in shown
        assert "0.76" not in shown


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 132, 250])
def test_no_line_is_wider_than_the_terminal_and_every_researcher_is_there(folder, width):
    lines = drawn(look(folder), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("resear" in line[:10] for line in lines) >= 2


def test_a_frame_fits_the_terminals_height(tmp_path):
    folder = campaign_folder(tmp_path, fleet(*(member(f"researcher-{n}") for n in range(1, 101))))
    lines = drawn(look(folder), 160, rows=24).splitlines()
    assert len(lines) <= 24
    shown = sum(line.strip().startswith("researcher-") for line in lines)
    assert f"and {100 - shown} more" in lines[-1]
    assert (
        sum(
            line.strip().startswith("researcher-") for line in drawn(look(folder), 160).splitlines()
        )
        == 100
    )


def test_what_researchers_write_cannot_harm_the_terminal(tmp_path):
    state = fleet(
        member("researcher-1", last_action=HOSTILE),
        alarms=(HOSTILE,),
        services={"gateway": HOSTILE},
    )
    folder = campaign_folder(tmp_path, state)
    ledger = Ledger(folder / "server" / "ledger.sqlite")
    ledger.append(
        "flag",
        "evaluator",
        {"detector": HOSTILE, "submitter": HOSTILE, "receipts": [], "evidence": ""},
    )
    ledger.close()
    for shown in (drawn(look(folder)), drawn(look(folder), 60), summary(look(folder))):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "[bold red]x[/bold red]" in drawn(look(folder)), "shown as it is, not obeyed"


def test_the_ledger_is_followed_while_another_process_writes_it(folder):
    watcher, server = Watcher(folder), Ledger(folder / "server" / "ledger.sqlite")
    assert watcher.look().progress.experiments == 3
    server.append("submission", "researcher-2", submission(4, improved=True, level=0.55))
    seen = watcher.look()
    assert (seen.progress.of("researcher-2").best_pgr, seen.progress.level_pgr) == (0.55, 0.55)
    server.append("submission", "researcher-1", submission(5, improved=False, level=0.31))
    assert watcher.look().progress.level_pgr == 0.55, "a receipt from memory has an older level"
    server.close()
    assert watcher.look().progress.experiments == 5
    watcher.close()


def test_who_watches_does_not_keep_the_ledger_from_being_closed_as_one_file(folder):
    path = CampaignFolder(folder).server.ledger
    ledger, watcher = Ledger(path), Watcher(folder)
    ledger.append("campaign", "evaluator", {"event": "one"})
    watcher.look()
    ledger.append("campaign", "evaluator", {"event": "two"})
    ledger.close()
    assert [p.name for p in path.parent.glob(f"{path.name}*")] == [path.name]
    watcher.look()
    watcher.close()


def test_a_campaign_without_ledger_or_supervisor_is_shown_as_far_as_it_is(tmp_path):
    folder = campaign_folder(tmp_path)
    assert "No supervisor has run this campaign yet" in drawn(look(folder))
    (folder / "server" / "ledger.sqlite").unlink()
    fleet().write(folder)
    assert "cost unknown" not in drawn(look(folder))
    (folder / "fleet.json").write_text("{")
    with pytest.raises(Misconfigured, match="damaged"):
        look(folder)


def test_a_fleet_is_shown_while_the_ledgers_database_is_down(tmp_path):
    pytest.importorskip("psycopg", reason="needs psycopg (extra cluster)")
    folder = campaign_folder(tmp_path, fleet())
    where = Places(ledger=f"postgresql://aar@127.0.0.1:{free_port()}/aar", log="first")
    note_places(CampaignFolder(folder).server.root, where)
    seen = look(folder)
    assert seen.progress is None
    assert "researcher-1" in drawn(seen)


def test_alarms_say_what_to_look_at_and_are_silent_when_all_is_well():
    assert alarms(fleet(member("a")), None, NOW) == ()
    assert "has said nothing for 60 s" in alarms(fleet(member("a")), None, NOW + 60)[0]
    assert "aar run --resume small" in alarms(fleet(member("a")), None, NOW + 60)[0]
    assert alarms(fleet(member("a", "finished"), member("b", "stopped")), None, NOW + 9999) == (), (
        "it ended"
    )
    assert alarms(fleet(member("a"), services={"server": "down since 12:00"}), None, NOW) == (
        "server: down since 12:00",
    )
    assert "a has done nothing for 17 m" in alarms(
        fleet(member("a", last_action_at=NOW - 1000)), None, NOW
    )
    assert "a has done nothing for 17 m" in alarms(
        fleet(member("a", last_action_at=None, started_at=NOW - 1000)), None, NOW
    )
    assert "held" in alarms(fleet(member("a", "held")), None, NOW)[0]
    assert "a was given up after 6 restarts" in alarms(
        fleet(member("a", "gave up", restarts=6)), None, NOW
    )
    assert alarms(fleet(member("a"), spent=Spent(usd=19.0)), None, NOW) == (
        "95% of the campaign's budget in dollars is spent",
    )
    assert alarms(fleet(member("a"), alarms=("collapse", "collapse")), None, NOW) == ("collapse",)


def test_flags_are_an_alarm_for_the_operator(folder):
    assert "flags raised: near copies 1" in alarms(None, look(folder).progress, NOW)


def test_a_collapse_of_ideas_is_an_alarm_while_it_lasts(folder):
    watcher, ledger = Watcher(folder), Ledger(folder / "server" / "ledger.sqlite")
    families = [f.value for f in Family]

    def tried(*names: str) -> str:
        for number, name in enumerate(names, start=ledger.count() + 1):
            ledger.append(
                "submission",
                "researcher-1",
                submission(number, improved=False, level=0.4, family=name),
            )
        return " ".join(alarms(None, watcher.look().progress, NOW))

    assert "collapsed" not in tried(*(families[n % 11] for n in range(160)))
    assert "most ideas are now ensemble" in tried(*["ensemble"] * 60)
    assert "collapsed" not in tried(*(families[n % 11] for n in range(60)))
    ledger.close()
    watcher.close()


def test_the_view_during_a_run_is_the_same_picture(folder):
    plain = Console(file=io.StringIO(), width=200)
    with FleetView(plain, folder) as view:
        view(fleet())
        view(fleet())
    lines = plain.file.getvalue().splitlines()
    assert len(lines) == 1, "at most one line in 10 seconds"
    assert "3 experiments" in lines[0]
    assert "ALARM" in lines[0]
    terminal = Console(file=io.StringIO(), width=200, height=40, force_terminal=True)
    with FleetView(terminal, folder) as view:
        view(fleet())
    assert "Bash: python method.py" in terminal.file.getvalue()


def aar(home, *words: str, **more) -> subprocess.Popen:
    env = {**os.environ, "AAR_HOME": str(home), "COLUMNS": "120", "LINES": "30", "TERM": "xterm"}
    return subprocess.Popen([*AAR, *words], env=env, **more)


@pytest.mark.process
def test_the_command_prints_one_frame_when_asked_for_one(tmp_path):
    campaign_folder(tmp_path / "campaigns", fleet())
    with aar(tmp_path, "watch", "small", "--once", stdout=subprocess.PIPE, text=True) as process:
        text = process.communicate(timeout=110)[0]
    assert process.returncode == 0
    assert "researcher-2" in text
    assert "\x1b" not in text, "it goes into a pipe"
    with aar(tmp_path, "watch", "none", "--once", stderr=subprocess.PIPE, text=True) as process:
        assert "There is no campaign" in process.communicate(timeout=110)[1]


def test_without_a_terminal_it_ends_with_the_campaign(tmp_path):
    over = fleet(member("researcher-1", "finished"), member("researcher-2", "finished"))
    folder = campaign_folder(tmp_path, over)
    log = Console(file=io.StringIO(), width=200)
    watch_module.watch(folder, log, once=False)
    assert log.file.getvalue().count("2 finished") == 1


@pytest.mark.process
@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_watch_ends_on_q_or_ctrl_c_and_restores_the_terminal(tmp_path, key):
    campaign_folder(tmp_path / "campaigns", fleet())
    ours, its = pty.openpty()
    process = aar(
        tmp_path,
        "watch",
        "small",
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(its)
    shown = _read_until(ours, b"researcher-2")
    os.write(ours, key)
    shown += _read_until(ours, b"\x1b[?1049l")
    assert process.wait(30) == 0
    assert b"\x1b[?1049h" in shown
    os.close(ours)


def test_an_interrupt_that_is_swallowed_still_ends_the_watch():
    """An exception in a finaliser is printed and dropped by Python."""
    before = signal.getsignal(signal.SIGINT)
    with watch_module._interrupts() as interrupted:
        assert not interrupted.is_set()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
    assert signal.getsignal(signal.SIGINT) is before


def _take_terminal() -> None:
    """The new session's controlling terminal, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(terminal: int, words: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 60
    while words not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)
    assert words in seen
    return seen


def test_watch_shows_a_started_process_and_an_ended_fleet(folder):
    begun = drawn(look(folder, fleet(member("researcher-1", last_action=""))))
    assert "4 s: nothing printed yet" in begun
    assert "gateway up" in begun
    assert "gateway up" not in drawn(look(folder, fleet(member("researcher-1", state="stopped"))))
