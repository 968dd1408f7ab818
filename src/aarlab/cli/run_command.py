"""`aar demo`, `aar run` and `aar serve`: a campaign from flags, fields and a YAML file, and what it
runs."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from aarlab.cli import campaigns_command as campaigns
from aarlab.cli import detail
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.cli.web_command import pages_beside
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record
from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing
from aarlab.core.strict_yaml import Document, record_of
from aarlab.fleet.campaign import Campaign, begun, load, placed

if TYPE_CHECKING:
    from aarlab.cli.show import Show
    from aarlab.report.verified import AnyReport

console = PlainConsole()
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="a campaign field, FIELD=VALUE; repeatable")
]


def _shown(value: object) -> str:
    """A default value in the form that --set takes: YAML in one line."""
    plain = (
        value.model_dump()
        if isinstance(value, Record)
        else list(value)
        if isinstance(value, tuple)
        else value
    )
    return (
        yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
        .removesuffix("...\n")
        .strip()
    )


FIELDS = "Fields and their defaults:\n\n" + "\n\n".join(
    f"{name} = {_shown(field.get_default(call_default_factory=True))}: {field.description}"
    for name, field in Campaign.model_fields.items()
)


def campaign_of(fields: list[str] | None, **given: object) -> Campaign:
    """The campaign from FIELD=VALUE arguments (values are YAML), which override `given`."""
    words: dict[str, str] = {}
    for word in fields or []:
        name, sign, value = word.partition("=")
        if not sign or name in words:
            what = "is given twice. Give it once" if sign else "has no value. Write FIELD=VALUE"
            raise Misconfigured(f"--set: {name} {what}.")
        words[name] = value
    document = Document.of(words, "--set")
    made = record_of(Campaign, document, "--set", shape=lambda value: given | value, lines=False)
    return placed(made, Path.cwd())


Name = Annotated[str | None, typer.Option(help="name of the campaign [demo]")]
ProblemName = Annotated[
    str | None, typer.Option(help="a problem, mine.jsonl, mine.py, or a folder")
]
KindName = Annotated[
    str | None, typer.Option(help="search, claude_code, command, scripted, or mine.py")
]
Count = Annotated[int | None, typer.Option(help="how many researchers [9]")]
Minutes = Annotated[float | None, typer.Option(help="wall clock of the fleet [1.5]")]
Web = Annotated[
    bool,
    typer.Option(
        "--web", help="show the run in a browser: prints a link (not with --detach: aar web)"
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="go on in the background; `aar watch NAME` shows it")
]


@only_showing()
@detail.shows_progress
def demo(
    *,
    name: Name = None,
    problem: ProblemName = None,
    kind: KindName = None,
    researchers: Count = None,
    minutes: Minutes = None,
    fields: Set = None,
    detach: Detach = False,
    web: Web = False,
) -> None:
    """Run a whole campaign: testbed, baselines, nine researchers, confirmation, report. Run it
    again to resume."""
    flags = _given(name=name, problem=problem, kind=kind, researchers=researchers, minutes=minutes)
    short = {"confirm_on_fresh": False, "confirm_on_pair": False, "transfer": ()}
    _walk(campaign_of(fields, **short, **flags), detach=detach, web=web)


@only_showing()
@detail.shows_progress
def run(  # noqa: PLR0913 - each a flag
    campaign: Annotated[Path | None, typer.Argument(parser=path, help="CAMPAIGN.yaml")] = None,
    *,
    resume: Annotated[
        str | None,
        typer.Option(
            help="name of a campaign to resume; --set and flags change what may change, such as "
            "budgets"
        ),
    ] = None,
    name: Name = None,
    problem: ProblemName = None,
    kind: KindName = None,
    researchers: Count = None,
    minutes: Minutes = None,
    fields: Set = None,
    detach: Detach = False,
    web: Web = False,
) -> None:
    """Run the campaign of a YAML file. Flags and --set override its fields; `aar demo --help`
    lists them. Run it again to resume."""
    if (campaign is None) == (resume is None):
        raise Misconfigured("Give the campaign's YAML file, or --resume NAME to resume a campaign.")
    flags = _given(name=name, problem=problem, kind=kind, researchers=researchers, minutes=minutes)
    found = load(campaign) if campaign else begun(home().campaigns, str(resume))
    if flags or fields:
        found = campaign_of(fields, **found.model_dump(mode="json") | flags)
    _walk(found, detach=detach, web=web)


def _given(**flags: object) -> dict[str, object]:
    """The flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


@only_showing()
@detail.shows_progress
def serve(
    name: Annotated[
        str | None, typer.Argument(help="a campaign that was begun; else --set says what is served")
    ] = None,
    *,
    fields: Set = None,
    port: Annotated[int, typer.Option(help="on 127.0.0.1; 0 picks a free one")] = 0,
) -> None:
    """Serve a campaign's evaluator and forum on loopback (MCP at /mcp) without a fleet."""
    from aarlab.fleet import preflight
    from aarlab.fleet.evaluator_process import SOON_S, EvaluatorProcess, serve_until_stopped
    from aarlab.fleet.prepare import prepared

    known = begun(home().campaigns, name).model_dump(mode="json") if name else {}
    campaign = campaign_of(fields, **known)
    if campaign.in_folder:
        raise Misconfigured(
            "`aar serve` runs no researchers' code, which a problem in a folder requires. Use `aar "
            "run`, or `aar evaluator FOLDER`."
        )
    if campaign.mode == "code":
        raise Misconfigured(
            "`aar serve` does not run researchers' code, which mode=code requires. Use `aar run`, "
            "or set mode=predictions."
        )
    preflight.require(campaign)
    bed = prepared(campaign, home(), show(), starting=True)
    folder = home().campaigns / campaign.name
    console.print(
        f"address and operator's token: {folder / 'server'} (address.json, operator.token). "
        "Ctrl-C stops."
    )
    server = EvaluatorProcess(
        bed.folder,
        folder,
        policy=campaign.policy,
        port=port,
        takeover_s=SOON_S,
        detectors=campaign.detectors,
    )
    serve_until_stopped(
        server,
        lambda url: console.print(f"{url}; the lab is apart from the evaluator by {server.apart}"),
    )


def show() -> "Show":
    from aarlab.cli.show import Show

    return Show(console)


def _walk(campaign: Campaign, *, detach: bool, web: bool) -> None:
    from aarlab.fleet.pipeline import run_campaign
    from aarlab.report.verified import reported

    if detach and not campaigns.DETACHED:
        campaigns.detached(campaign)
        return
    console.print(f"state: {home().root}", soft_wrap=True)
    # a log may be read by others, and a link logs in
    web = web and not campaigns.DETACHED
    shown = pages_beside(campaign.name, _line) if web else nullcontext()
    try:
        with shown:
            made, path = run_campaign(campaign, home(), show(), reported)
    except (KeyboardInterrupt, SystemExit) as end:
        status = end.code if isinstance(end, SystemExit) else 130
        print(f"Stopped. Nothing is lost; {campaigns.resumed_by(campaign.name)}.", file=sys.stderr)
        raise typer.Exit(int(status or 0)) from None
    print_report(made, path, whole=False)


def _line(words: str) -> None:
    console.print(words, soft_wrap=True, markup=False)


def print_report(made: "AnyReport", path: Path, *, whole: bool = True) -> None:
    """Print a report's tables, or what it comes to in a few sentences, and where it is. Raises an
    error if its ledger does not verify."""
    from aarlab.report.folder_pages import print_folder_report
    from aarlab.report.folder_report import FolderReport
    from aarlab.report.terminal import print_outcome, print_report
    from aarlab.report.verified import require_verified

    if isinstance(made, FolderReport):
        print_folder_report(made, console, whole=whole)
    else:
        (print_report if whole else print_outcome)(made, console)
    there = path if os.access(path.parent, os.W_OK) else "not written, the folder is read-only"
    print(f"report: {there}")
    require_verified(made, path)
