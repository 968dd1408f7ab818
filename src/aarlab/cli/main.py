"""The `aar` command."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.cli import doctor as doctor_
from aarlab.cli.path import prepared, reported, walk
from aarlab.cli.show import Show
from aarlab.core.errors import AarError
from aarlab.core.settings import home
from aarlab.fleet.campaign import Campaign, load, validated
from aarlab.report.build import baseline_rows
from aarlab.report.render import accuracy, interval, print_report

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console(highlight=False)
Set = Annotated[list[str] | None, typer.Option("--set", "-s", help="a campaign field, FIELD=VALUE; repeatable")]
HELP = "Fields and their defaults:\n\n" + "\n\n".join(
    f"{name} = {field.default!r}: {field.description}" for name, field in Campaign.model_fields.items()
)


def _campaign(fields: list[str] | None, **given: object) -> Campaign:
    """The record from FIELD=VALUE words, YAML-typed, over given ones."""
    import yaml

    for word in fields or []:
        name, _, value = word.partition("=")
        given[name] = yaml.safe_load(value)
    return validated(given, "--set")


@app.command(help="Walk the whole path: testbed, baselines, nine researchers, confirmation, report. Resumes.\n\n" + HELP)
def demo(fields: Set = None) -> None:
    _walk(_campaign(fields))


@app.command(help="Run the campaign that a YAML file describes (see `aar demo --help` for its fields). Resumes.")
def run(campaign: Annotated[Path, typer.Argument(help="CAMPAIGN.yaml")]) -> None:
    _walk(load(campaign))


@app.command(help="Measure the baselines of a testbed (set up on the first call) and print their table.")
def bench(fields: Set = None) -> None:
    campaign = _campaign(fields)
    bed = prepared(campaign, home(), Show(console))
    console.print(f"{bed.folder.name}: PGR with 95 % intervals over items, seeds and anchors")
    for row in baseline_rows(bed):
        cells = (interval(row.feedback.pgr), interval(row.final.pgr), accuracy(row.final.accuracy))
        console.print(f"  {row.name:14s} feedback {cells[0]:22s} final {cells[1]:22s} accuracy {cells[2]}")


@app.command(help="Serve a campaign's evaluator and forum on loopback (tools for agents at /mcp), without starting a fleet.")
def serve(fields: Set = None, port: Annotated[int, typer.Option(help="on 127.0.0.1; 0 picks a free one")] = 0) -> None:
    from aarlab.server.serve import run as run_server

    campaign = _campaign(fields)
    bed = prepared(campaign, home(), Show(console))
    folder = home().campaigns / campaign.name
    console.print(f"address and operator's token: {folder / 'server'} (address.json, operator.token). Ctrl-C stops.")
    run_server(bed.folder, folder, policy=campaign.policy, port=port, paths=[])


@app.command(help="Write the report of a campaign again from its ledger.")
def report(name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo") -> None:
    folder = home().campaigns / name
    campaign = load(folder / "campaign.yaml")
    made, path = reported(campaign, prepared(campaign, home(), Show(console)), folder)
    print_report(made, console)
    print(f"report: {path}")


@app.command(help="Say what is missing on this machine and how to mend it.")
def doctor() -> None:
    if not doctor_.examine(console):
        raise typer.Exit(1)


def _walk(campaign: Campaign) -> None:
    try:
        made, path = walk(campaign, home(), Show(console))
    except KeyboardInterrupt:
        print("Stopped. All that was done is kept; the same command goes on from here.", file=sys.stderr)
        raise typer.Exit(130) from None
    print_report(made, console)
    print(f"report: {path}")


def main() -> None:
    """The entry point: our errors become one sentence and an exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except AarError as error:
        Console(stderr=True, highlight=False).print(f"[bold]{error.whose_move}[/bold]: {error}", soft_wrap=True)
        sys.exit(2)
