"""`aar ls`, `aar stop` and `aar rm`: the campaigns of this state folder."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.amounts import size
from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.hold import holder
from aarlab.core.layout import CampaignFolder
from aarlab.core.printable import one_line, printable
from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing
from aarlab.fleet.campaign import Campaign, begun
from aarlab.fleet.campaign_list import rows
from aarlab.fleet.operator_asks import ask_to_stop, record, running, wait_until_stopped

Name = Annotated[str, typer.Argument(help="the campaign's name")]
DETACHED = False  # whether this process is one that `--detach` started
DAY = "%Y-%m-%d %H:%M"


def ls(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List the campaigns of this state folder. Says where it is."""
    found = rows(home().campaigns)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print(f"state: {home().root}")
    if not found:
        print("No campaign yet. `aar demo` runs one.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("name", "state", "fleet", "problem", "changed"):
        table.add_column(name, overflow="fold", no_wrap=name in {"name", "changed"})
    for row in found:
        changed = datetime.fromisoformat(str(row["changed"])).astimezone()
        known = row["kind"] is not None
        fleet = f"{row['researchers']} x {Path(str(row['kind'])).name}" if known else ""
        problem = Path(str(row["problem"])).name if known else ""
        cells = (row["name"], row["state"], fleet, problem, changed.strftime(DAY))
        table.add_row(*(one_line(str(cell), 200) for cell in cells))
    PlainConsole().print(table)


def detached(campaign: Campaign) -> None:
    """Start the command that runs here again, in a process that outlives this one and its
    terminal.

    Raises:
        Misconfigured: it is being run already, or something that it needs is missing.
    """
    from aarlab.fleet import preflight  # takes a second to import

    preflight.require(campaign)
    folder = home().campaigns / campaign.name
    campaign.require_same(folder)
    if runs := holder(CampaignFolder(folder).lock):
        raise Misconfigured(f"The campaign '{campaign.name}' is being run by process {runs}.")
    folder.mkdir(parents=True, exist_ok=True)
    program = "from aarlab.cli import campaigns_command, main\n"
    program += "campaigns_command.DETACHED = True\nmain.main()"
    with CampaignFolder(folder).run_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *sys.argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    print(f"started: {campaign.name} (process {process.pid}, output in {log.name})")
    print(f"aar watch {campaign.name} shows it; aar stop {campaign.name} stops it")


def is_run(name: str) -> bool:
    """Whether a process runs or serves that campaign."""
    return holder(CampaignFolder(home().campaigns / name).lock) is not None


@only_showing()
def stop(name: Name) -> None:
    """Stop a running campaign, as Ctrl-C does. Nothing is lost."""
    folder = _folder(name)
    running(folder)
    try:
        record(folder, "asked to stop", "by the operator")
    except AarError as error:  # it is set up or confirmed now, or its evaluator hangs
        print(f"not recorded: {printable(str(error))}", file=sys.stderr)
    wait_until_stopped(folder, ask_to_stop(folder))
    print(f"stopped: {name}. Nothing is lost; {resumed_by(name)}.")


def resumed_by(name: str) -> str:
    """How a campaign that was stopped goes on, as text."""
    if CampaignFolder(home().campaigns / name).settings.exists():
        return f"resume with `aar run --resume {name}`"
    return "it was being set up, so start it by the same command as before"


@only_showing()
def rm(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False
) -> None:
    """Delete a campaign's folder. Problems, models and label budgets stay."""
    folder = _folder(name)
    if runs := holder(CampaignFolder(folder).lock):
        raise Misconfigured(
            f"The campaign '{name}' is being run by process {runs}. Stop it first: `aar stop "
            f"{name}`."
        )
    used = size(sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()))
    if not yes:
        asked = f"Delete {folder} ({used}: ledger, code, transcripts, report)?"
        typer.confirm(asked, abort=True)
    shutil.rmtree(folder)
    print(f"deleted: {folder} ({used})")


def _folder(name: str) -> Path:
    """Of a campaign that exists, or that is being set up."""
    folder = home().campaigns / name
    if not holder(CampaignFolder(folder).lock):
        begun(home().campaigns, name)
    return folder
