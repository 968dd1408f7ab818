"""What others wrote is shown as it is on a terminal, and does nothing to it."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.cli.plain_console import PlainConsole
from aarlab.cli.show import Show
from aarlab.evaluation.audit import Audit
from aarlab.evaluation.confirmation.run_order import NoVerdict
from aarlab.fleet.confirm import say_of

HOSTILE = "[/x] [bold]b[/bold] :smile: \x1b[2J\x1b]0;title\x07 end"
SHOWN = "[/x] [bold]b[/bold] :smile:  end"


def test_what_is_printed_is_no_markup_and_no_escape_sequence():
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=True)
    console.print(HOSTILE)
    console.print(Text("[/x] \x1b[2J end"))
    assert console.file.getvalue() == f"{SHOWN}\n[/x]  end\n"


def test_a_style_of_ours_stays():
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=True)
    console.print(Text("held", style="bold"))
    assert "\x1b[1m" in console.file.getvalue()


@pytest.mark.parametrize("make", [Console, PlainConsole])
def test_a_line_of_a_campaign_and_its_progress_may_quote_a_researcher(make):
    """A line that is no markup of rich's ended the command."""
    console = make(file=io.StringIO(), width=200)
    show = Show(console)
    show.line(f" {HOSTILE}", head="1 problem")
    with show.steps():
        show.say(HOSTILE, 0, 2)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == f"1 problem {SHOWN}"
    assert lines[1].startswith(f"  {SHOWN}: ")


def test_a_claim_without_a_verdict_is_said_in_its_own_words():
    """A grader's error quotes what was submitted; it ended `aar run` before the report, each time
    that it was resumed."""
    console = Console(file=io.StringIO(), width=200)
    claim = NoVerdict("token", "0" * 64, "ann", {"final": "KeyError: '[/x]'"})
    say_of([claim], Show(console))
    assert "could not be run, no verdict. KeyError: '[/x]'" in console.file.getvalue()


def test_faults_of_a_ledger_of_somebody_else_are_all_shown(tmp_path, monkeypatch):
    found = Audit(
        entries=1, checkpoints=0, covered=0, graded=0, confirmations=0, faults=(HOSTILE, "second")
    )
    monkeypatch.setattr("aarlab.evaluation.audit.audit", lambda *_, **__: found)
    monkeypatch.setattr("aarlab.evaluation.audit.load_key", lambda _: SimpleNamespace())
    monkeypatch.setattr("aarlab.cli.ledger_command.folder_of", lambda _: tmp_path)
    ended = CliRunner().invoke(app, ["ledger", "verify", "theirs", "--problem", str(tmp_path)])
    assert ended.exit_code == 1
    assert f"WRONG {SHOWN}\nWRONG second\n" in ended.output


def test_no_command_prints_to_another_kind_of_terminal():
    folder = Path(__file__).parents[2] / "src/aarlab/cli"
    makes = {p.name for p in folder.glob("*.py") if re.search(r"(?<!\w)Console\(", p.read_text())}
    assert makes == {"main.py"}, "take PlainConsole"
