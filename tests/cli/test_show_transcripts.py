"""`aar transcript`: readable, harmless, and followed through incarnations."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from aarlab.cli import transcripts_command as transcripts
from aarlab.core.errors import Misconfigured
from tests.fleet.fleets import HOSTILE

AAR = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import "
    "aarlab.cli.main as m; m.main()",
]
RECORDED = Path(__file__).parents[1] / "fleet" / "claude_code.jsonl"


@pytest.fixture
def campaign(tmp_path):
    folder = tmp_path / "campaigns" / "small" / "transcripts" / "researcher-1"
    folder.mkdir(parents=True)
    (folder / "001.jsonl").write_text("".join(f"line {n}\n" for n in range(100)))
    shutil.copy(RECORDED, folder / "002.jsonl")
    (folder.parent / "researcher-2").mkdir()
    return folder.parents[1]


def printed(act, *given, **more) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    act(*given, console, **more)
    return console.file.getvalue()


def plain(text: str) -> str:
    """Without our own colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_latest_incarnation_is_shown_and_any_other_on_request(campaign):
    latest = plain(printed(transcripts.show, campaign, "researcher-1", number=None, full=False))
    assert latest.startswith("researcher-1, incarnation 2 of 2\n")
    assert "17:18:54 calls  Bash: echo hello" in latest
    assert "line 99" in plain(
        printed(transcripts.show, campaign, "researcher-1", number=1, full=False)
    )


def test_who_or_what_is_not_there_is_said_with_what_is(campaign):
    with pytest.raises(Misconfigured, match="researcher-1, researcher-2"):
        printed(transcripts.show, campaign, "../../etc", number=None, full=False)
    with pytest.raises(Misconfigured, match=r"no incarnation 7. It has: 1, 2"):
        printed(transcripts.show, campaign, "researcher-1", number=7, full=False)
    with pytest.raises(Misconfigured, match="It has: none"):
        printed(transcripts.tail, campaign, "researcher-2", number=None, full=False)


def test_what_stands_in_a_transcript_cannot_harm_the_terminal(campaign):
    path = campaign / "transcripts" / "researcher-2" / "001.jsonl"
    path.write_bytes((HOSTILE + "\n").encode() + b"\xff\x00\x1b[2J\n")
    for text in (
        printed(transcripts.show, campaign, "researcher-2", number=None, full=True),
        printed(transcripts.search, campaign, "red"),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", plain(text))
        assert "[bold" in text, "shown, not obeyed"


def test_long_steps_are_cut_unless_all_is_asked_for(campaign):
    event = '{"type":"assistant","message":{"content":[{"type":"text","text":"%s"}]}}'
    rows = "\\n".join(f"row {n}" for n in range(40))
    (campaign / "transcripts" / "researcher-2" / "001.jsonl").write_text(event % rows + "\n")
    short = printed(transcripts.show, campaign, "researcher-2", number=None, full=False)
    assert "28 more lines (--full)" in short
    assert "row 39" not in short
    assert "row 39" in printed(transcripts.show, campaign, "researcher-2", number=None, full=True)


def test_a_search_says_who_when_and_shows_the_words(campaign):
    text = printed(transcripts.search, campaign, "hello")
    assert "researcher-1 incarnation 2 2026-11-24T17:18:54 calls:" in plain(text)
    assert plain(text).strip().endswith("2 steps")
    assert "\x1b[1mhello\x1b[0m" in text
    assert plain(printed(transcripts.search, campaign, "nowhere")).strip() == "0 steps"


@pytest.mark.process
def test_the_tail_follows_an_incarnation_and_the_next_until_ctrl_c(campaign, tmp_path):
    env = {**os.environ, "AAR_HOME": str(tmp_path)}
    folder = campaign / "transcripts" / "researcher-2"
    (folder / "001.jsonl").write_text("".join(f"old {n}\n" for n in range(50)))
    words = ["transcript", "small", "researcher-2", "--tail"]
    process = subprocess.Popen([*AAR, *words], env=env, stdout=subprocess.PIPE, text=True)
    seen = [process.stdout.readline() for _ in range(20)]
    assert "old 30" in seen[0]
    with (folder / "001.jsonl").open("a") as file:
        file.write("new\ncut off")
    assert "new" in process.stdout.readline()
    time.sleep(0.2)
    (folder / "002.jsonl").write_text("another incarnation\n")
    assert "cut off" in process.stdout.readline(), "its incarnation is over: nothing more will come"
    assert "another incarnation" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 0


@pytest.mark.process
def test_the_command_asks_for_a_name_or_words(campaign, tmp_path):
    env = {**os.environ, "AAR_HOME": str(tmp_path)}
    done = subprocess.run(
        [*AAR, "transcript", "small"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert (done.returncode, "Name a researcher" in done.stderr) == (2, True)
    done = subprocess.run(
        [*AAR, "transcript", "small", "--search", "hello"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert done.stdout.strip().endswith("2 steps")
