"""The `aar` command. What takes long to import is imported by the command that needs it."""

import inspect
import signal
import sys
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from click import Command, Context, HelpFormatter
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from aarlab.cli import ask_command as ask_
from aarlab.cli import bench_command as bench_
from aarlab.cli import campaigns_command as campaigns
from aarlab.cli import cluster_command as cluster_
from aarlab.cli import compare_command as compare_
from aarlab.cli import detail
from aarlab.cli import directions_command as directions_
from aarlab.cli import evaluator_command as evaluator_
from aarlab.cli import export_command as export_
from aarlab.cli import families_command as families_
from aarlab.cli import grade_command as grade_
from aarlab.cli import import_command as import_
from aarlab.cli import init_command as init_
from aarlab.cli import items_command as items_
from aarlab.cli import lab_command as lab
from aarlab.cli import ledger_command as ledger
from aarlab.cli import metrics_command as metrics_
from aarlab.cli import node_command as node
from aarlab.cli import problem_command as problem_
from aarlab.cli import redteam as redteam_
from aarlab.cli import reproduce_command as reproduce_
from aarlab.cli import store_command as store
from aarlab.cli import web_command as web_
from aarlab.cli.path_type import path
from aarlab.cli.run_command import FIELDS, console, demo, print_report, run, serve, show
from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.files import widen_umask
from aarlab.core.layout import CampaignFolder
from aarlab.core.os_errors import as_misconfigured
from aarlab.core.printable import printable
from aarlab.core.settings import home, set_data_from
from aarlab.core.standard_output import only_showing, open_streams
from aarlab.core.store import StoreError
from aarlab.fleet.campaign import begun, load

GROUPS = {
    "Run": ("demo", "run", "confirm", "report", "reproduce", "compare"),
    "Look after campaigns": (
        "ls",
        "watch",
        "web",
        "metrics",
        "transcript",
        "message",
        "hide",
        "pause",
        "continue",
        "extend",
        "stop",
        "rm",
        "ledger",
        "store",
        "cluster",
        "export",
    ),
    "Measure": ("bench", "controls", "grade", "redteam", "simulate"),
    "Serve and connect": ("evaluator", "serve", "token", "lab", "node"),
    "Prepare": ("doctor", "init", "problem", "import", "items", "directions", "families"),
}


class Grouped(TyperGroup):
    """Help with the commands in groups, each with its first sentence whole."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, _first_sentence(self.commands[name])) for name in names])


def _first_sentence(command: Command) -> str:
    return (command.help or "").split("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")


app = typer.Typer(
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    from aarlab.core.own_code import this_build

    if asked:
        print(this_build())
        raise typer.Exit


@app.callback()
def _every(
    *,
    verbose: detail.Verbose = False,
    quiet: detail.Quiet = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="print JSON lines: aar --log-json run ...")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="print version, commit and source, then exit",
        ),
    ] = False,
) -> None:
    del version
    with suppress(AarError, OSError):  # the command that needs the state folder says so
        widen_umask(home().root)
    detail.set_detail(verbose=verbose, quiet=quiet)
    if log_json:
        from aarlab.cli.json_log import log_as_json

        log_as_json()
        console.width = WIDE


@app.command(
    help=(
        "Confirm the leaders of a finished campaign: re-runs on final, on a fresh draw of the "
        "data, with another teacher and student, and on transfer problems. Run it again to "
        "resume. With --snapshot while the campaign runs, that one waits for its confirmation."
    )
)
@only_showing()
@detail.shows_progress
def confirm(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    snapshot: Annotated[
        str | None, typer.Option(help="a snapshot's hash, or the first digits of it [the leaders]")
    ] = None,
) -> None:
    begun(home().campaigns, name)  # before seconds of imports
    if snapshot is not None and campaigns.is_run(name):
        ask_.confirm_later(name, snapshot)
        return

    from aarlab.cli.confirm_command import confirm as confirm_

    print_report(*confirm_(name, home(), show(), snapshot=snapshot))


@app.command(
    help=(
        "Write a campaign's report again from its ledger. With --site, also as a static site with "
        "the pages of `aar web`."
    )
)
@only_showing()
@detail.shows_progress
def report(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    *,
    site: Annotated[
        Path | None,
        typer.Option(parser=path, help="a folder to make: report and pages, to be sent around"),
    ] = None,
) -> None:
    campaign, folder = begun(home().campaigns, name), home().campaigns / name

    from aarlab.fleet.prepare import prepared
    from aarlab.fleet.run_folder import served
    from aarlab.programs.table_export import require_new
    from aarlab.report.verified import reported

    if site is not None:
        require_new(site)
    bed = (
        served(campaign, home(), show())
        if campaign.in_folder
        else prepared(campaign, home(), show(), again=False)
    )
    made, page = reported(campaign, bed, folder, live=site is None)
    if site is not None:
        from aarlab.cli.site_command import make_site

        make_site(name, site, made)
    print_report(made, page)


@app.command(
    help=(
        "Watch a fleet: states, reported levels, spending, last actions, alarms. Quit with q or "
        "Ctrl-C."
    )
)
def watch(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    once: Annotated[bool, typer.Option("--once", help="print one frame and exit")] = False,
) -> None:
    from aarlab.cli.watch import watch as watch_

    watch_(home().campaigns / name, console, once=once)


@app.command(
    help=(
        "Show a researcher's transcript (its latest incarnation, or --incarnation N), or search "
        "all transcripts."
    )
)
def transcript(
    name: Annotated[str, typer.Argument(help="the campaign's name")],
    researcher: Annotated[str | None, typer.Argument(help="for example researcher-3")] = None,
    *,
    incarnation: Annotated[int | None, typer.Option(help="its number [the latest]")] = None,
    tail: Annotated[
        bool, typer.Option("--tail", help="show the last steps, then new ones until Ctrl-C")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="show every line of every step")] = False,
    search: Annotated[
        str | None,
        typer.Option(help="find the steps of all researchers that contain all these words"),
    ] = None,
) -> None:
    from aarlab.cli import transcripts_command as transcripts

    folder = home().campaigns / name
    if not CampaignFolder(folder).transcripts.is_dir():
        begun(home().campaigns, name)
    if search is not None:
        transcripts.search(folder, search, console)
    elif researcher is None:
        raise Misconfigured(
            "Name a researcher (`aar transcript NAME RESEARCHER`), or give words to search for "
            "(--search)."
        )
    else:
        (transcripts.tail if tail else transcripts.show)(
            folder, researcher, console, number=incarnation, full=full
        )


@app.command(help="Check this machine: report what is missing and how to fix it.")
@only_showing()
def doctor(
    *,
    campaign: Annotated[
        Path | None,
        typer.Option(parser=path, help="CAMPAIGN.yaml: check also what this campaign needs"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="qwen or PRESET.yaml: check what it needs; estimate its hours"),
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="check the campaign's PostgreSQL, S3, Ray or Slurm, too"),
    ] = False,
    from_: bench_.From = None,
) -> None:
    from aarlab.cli.doctor import examine

    more = {}
    if cluster:
        from aarlab.cli.doctor_cluster import checks as cluster_checks
        from aarlab.fleet.campaign import Campaign

        more["cluster"] = cluster_checks(load(campaign) if campaign else Campaign())
    if preset is not None:
        from aarlab.cli.doctor_preset import checks
        from aarlab.models import preset as presets

        if from_ is not None:
            set_data_from(from_)
        chosen = presets.preset(preset)
        more[f"preset {chosen.name}"] = checks(chosen)
    if not examine(console, load(campaign) if campaign else None, more):
        raise typer.Exit(1)


app.add_typer(lab.app, name="lab", help="The lab's tools, for a researcher inside a sandbox.")
app.add_typer(
    ledger.app, name="ledger", help="Verify a campaign's ledger, and find the source of a figure."
)
app.add_typer(
    store.app, name="store", help="Keep a campaign's record in PostgreSQL and S3, or move it back."
)
app.add_typer(node.app, name="node", help="Host researchers on other machines.")
app.add_typer(cluster_.app, name="cluster", help="Show the machines that run jobs.")
app.command(help=f"{inspect.getdoc(demo)}\n\n{FIELDS}")(demo)
app.add_typer(
    problem_.app, name="problem", help="Write, examine and show problems in folders of your own."
)
app.add_typer(
    import_.app, name="import", help="Make a problem in a folder of a task in another format."
)
for _command in (
    *(
        run,
        serve,
        compare_.compare,
        reproduce_.reproduce,
        campaigns.ls,
        web_.web,
        *(ask_.message, ask_.hide, ask_.pause, ask_.extend),
        campaigns.stop,
        campaigns.rm,
    ),
    *(bench_.bench, bench_.controls, grade_.grade, redteam_.redteam, redteam_.simulate),
    *(init_.init, items_.items, directions_.directions, families_.families),
    *(evaluator_.evaluator, evaluator_.token, export_.export, metrics_.metrics),
):
    app.command()(_command)
app.command("continue")(ask_.go_on)


def main() -> None:
    """The entry point. An AarError, or an error of the system, becomes a message on stderr and an
    exit status."""
    open_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except AarError as error:
        _refuse(error)
    except (OSError, StoreError) as error:
        _refuse(as_misconfigured(error))
    except BrokenExecutor:
        _refuse(
            Transient(
                "A worker process was killed or ran out of memory. Finished work is kept: run "
                "the same command again to resume. If this happens again, use fewer workers or "
                "more memory."
            )
        )


# the operator is whoever reads it
WIDE = 1_000  # columns of a line that no terminal shows
WHOSE_MOVE = {"operator": "error", "submitter": "error in what was submitted"}


def _refuse(error: AarError) -> NoReturn:
    message = escape(printable(str(error)))  # it may quote a researcher's text
    with only_showing():
        Console(stderr=True, highlight=False).print(
            f"[bold]{WHOSE_MOVE.get(error.whose_move, error.whose_move)}[/bold]: {message}",
            soft_wrap=True,
        )
    sys.exit(2)
