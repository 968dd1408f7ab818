"""The `aar` command. What takes long to import is imported by the command that needs it."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from aarlab.cli import detectors as detectors_
from aarlab.cli import directions as directions_
from aarlab.cli import evaluator as evaluator_
from aarlab.cli import families as families_
from aarlab.cli import lab, ledger
from aarlab.cli import redteam as redteam_
from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.printable import printable
from aarlab.core.records import Record, validated
from aarlab.core.settings import home, set_data_from
from aarlab.fleet.campaign import Campaign, begun, load, placed

if TYPE_CHECKING:
    from aarlab.cli.show import Show

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console(highlight=False)
Set = Annotated[list[str] | None, typer.Option("--set", "-s", help="a campaign field, FIELD=VALUE; repeatable")]


def _shown(value: object) -> str:
    """A default as --set takes it: YAML in one line."""
    plain = value.model_dump() if isinstance(value, Record) else list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000).removesuffix("...\n").strip()


HELP = "Fields and their defaults:\n\n" + "\n\n".join(
    f"{name} = {_shown(field.get_default(call_default_factory=True))}: {field.description}"
    for name, field in Campaign.model_fields.items()
)


def _campaign(fields: list[str] | None, **given: object) -> Campaign:
    """The record from FIELD=VALUE words, YAML-typed, over given ones."""
    for word in fields or []:
        name, _, value = word.partition("=")
        given[name] = yaml.safe_load(value)
    return placed(validated(Campaign, given, "--set"), Path.cwd())


@app.command(help="Walk the whole path: testbed, baselines, nine researchers, confirmation, report. Resumes.\n\n" + HELP)
def demo(fields: Set = None) -> None:
    _walk(_campaign(fields, confirm_on_fresh=False, confirm_on_pair=False, transfer=()))


@app.command(help="Run the campaign that a YAML file describes (see `aar demo --help` for its fields); a begun one goes on.")
def run(
    campaign: Annotated[Path | None, typer.Argument(help="CAMPAIGN.yaml")] = None,
    resume: Annotated[str | None, typer.Option(help="the name of a begun campaign, which goes on as it was begun")] = None,
) -> None:
    if (campaign is None) == (resume is None):
        raise Misconfigured("Give the campaign's YAML file, or --resume NAME for one that was begun.")
    _walk(load(campaign) if campaign else begun(home().campaigns, str(resume)))


Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="a problem, or ITEMS.jsonl; repeatable; the student's three if none is given")
]
From = Annotated[Path | None, typer.Option("--from", help="DIR/<owner>/<name>/...: files instead of the hub's")]
DataSeeds = Annotated[list[int] | None, typer.Option("--data-seed", help="draws items; repeatable, pooled [1]")]
BenchName = Annotated[str, typer.Option(help="folder under AAR_HOME/benches")]
StudentName = Annotated[str, typer.Option(help="smollm2; qwen or PRESET.yaml (fine-tuned); double (measures nothing real)")]
Workers = Annotated[int, typer.Option(help="processes of one thread each")]


@app.command(help="Measure methods on problems: table, forest plot, transfer heat map, JSON. Resumes.")
def bench(  # noqa: PLR0913 - each a flag
    *,
    task: Tasks = None,
    method: Annotated[list[str] | None, typer.Option(help="a method's name or FILE.py; repeatable; all if none")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="the four classic baselines and zero-shot")] = False,
    seeds: Annotated[int, typer.Option(help="runs of each method")] = 5,
    data_seed: DataSeeds = None,
    name: BenchName = "bench",
    student: StudentName = "smollm2",
    workers: Workers = 2,
    selection: Annotated[bool, typer.Option("--selection", help="look at data seed 0, to choose hyper-parameters")] = False,
    from_: From = None,
) -> None:
    from aarlab.bench.render import print_bench
    from aarlab.bench.run import run as run_bench
    from aarlab.bench.spec import BASELINES, SELECTION_SEED, Bench
    from aarlab.runs.students import tasks_of

    if from_ is not None:
        set_data_from(from_)
    task = task or list(tasks_of(student))
    method = [*(method or []), *(BASELINES if baselines else [])]
    given = {"name": name, "seeds": seeds, "student": student, "workers": workers, "selection": selection}
    given |= {"data_seeds": tuple(data_seed or ([SELECTION_SEED] if selection else [1]))}
    given |= ({"tasks": tuple(task)} if task else {}) | ({"methods": tuple(method)} if method else {})
    made, folder = run_bench(validated(Bench, given, "aar bench"), home(), _show())
    print_bench(made, console)
    print(f"bench: {folder}")


@app.command(help="Break one thing at a time and see that the testbed notices: the controls' table. Fails if one does not.")
def controls(
    *,
    task: Tasks = None,
    seeds: Annotated[int, typer.Option(help="runs of each control")] = 5,
    data_seed: DataSeeds = None,
    name: BenchName = "bench",
    student: StudentName = "smollm2",
    workers: Workers = 2,
) -> None:
    from aarlab.bench.render import print_controls
    from aarlab.bench.run import run_controls
    from aarlab.bench.spec import Bench

    given = {"name": name, "seeds": seeds, "student": student, "workers": workers, "data_seeds": tuple(data_seed or [1])}
    spec = validated(Bench, given | ({"tasks": tuple(task)} if task else {}), "aar controls")
    rows, path = run_controls(spec, home(), _show())
    print_controls(rows, console)
    print(f"controls: {path}")
    if not all(row.as_expected for row in rows):
        raise typer.Exit(1)


@app.command(help="Fine-tune the student itself (LoRA) on weak and on true labels, beside the frozen figures. Minutes a run.")
def lora(
    *,
    task: Tasks = None,
    seeds: Annotated[int, typer.Option(help="runs of each kind of labels")] = 2,
    items: Annotated[int, typer.Option(help="how many student items to train on")] = 640,
    data_seed: DataSeeds = None,
    name: BenchName = "bench",
) -> None:
    from aarlab.bench.render import print_lora
    from aarlab.bench.run import run_lora
    from aarlab.bench.spec import Bench

    given = {"name": name, "seeds": seeds, "data_seeds": tuple(data_seed or [1]), "tasks": tuple(task or ["small-chat"])}
    rows, path = run_lora(validated(Bench, given, "aar lora"), items, home(), _show())
    print_lora(rows, console)
    print(f"lora: {path}")


@app.command(help="Serve a campaign's evaluator and forum on loopback (tools for agents at /mcp), without starting a fleet.")
def serve(fields: Set = None, port: Annotated[int, typer.Option(help="on 127.0.0.1; 0 picks a free one")] = 0) -> None:
    from aarlab.cli.path import prepared
    from aarlab.server.serve import run as run_server

    campaign = _campaign(fields)
    if campaign.mode == "code":
        raise Misconfigured("`aar serve` runs nobody's code, and mode=code needs that. Use `aar run`, or mode=predictions.")
    bed = prepared(campaign, home(), _show())
    folder = home().campaigns / campaign.name
    console.print(f"address and operator's token: {folder / 'server'} (address.json, operator.token). Ctrl-C stops.")
    run_server(bed.folder, folder, policy=campaign.policy, port=port, paths=[])


app.command("evaluator")(evaluator_.evaluator)
app.command("token")(evaluator_.token)


@app.command(help="The whole release gate on a finished campaign: a fresh draw, another pair, transfer problems. Resumes.")
def confirm(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    snapshot: Annotated[str | None, typer.Option(help="a snapshot's hash, or its beginning; the leaders if not given")] = None,
) -> None:
    from aarlab.cli.confirm import confirm as confirm_
    from aarlab.report.render import print_report

    made, path = confirm_(name, home(), _show(), snapshot=snapshot)
    print_report(made, console)
    print(f"report: {path}")


@app.command(help="Write the report of a campaign again from its ledger.")
def report(name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo") -> None:
    from aarlab.cli.path import prepared, reported
    from aarlab.report.render import print_report

    campaign, folder = begun(home().campaigns, name), home().campaigns / name
    made, path = reported(campaign, prepared(campaign, home(), _show()), folder)
    print_report(made, console)
    print(f"report: {path}")


@app.command(help="Watch a fleet: states, told levels, spend against budget, last actions, alarms. q or Ctrl-C ends it.")
def watch(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    once: Annotated[bool, typer.Option("--once", help="print one frame and end")] = False,
) -> None:
    from aarlab.cli.watch import watch as watch_

    watch_(home().campaigns / name, console, once=once)


@app.command(help="Read what a researcher did (its latest life, or --life N), or search all researchers' transcripts.")
def transcript(
    name: Annotated[str, typer.Argument(help="the campaign's name")],
    researcher: Annotated[str | None, typer.Argument(help="researcher-3, say")] = None,
    *,
    life: Annotated[int | None, typer.Option(help="which life; the latest if not given")] = None,
    tail: Annotated[bool, typer.Option("--tail", help="the last steps, and what is added until Ctrl-C")] = False,
    full: Annotated[bool, typer.Option("--full", help="every line of every step")] = False,
    search: Annotated[str | None, typer.Option(help="steps of any researcher that have all these words")] = None,
) -> None:
    from aarlab.cli import transcripts

    folder = home().campaigns / name
    if not (folder / "transcripts").is_dir():
        begun(home().campaigns, name)
    if search is not None:
        transcripts.search(folder, search, console)
    elif researcher is None:
        raise Misconfigured("Say whose transcript, or what to look for: `aar transcript NAME RESEARCHER`, or --search WORDS.")
    else:
        (transcripts.tail if tail else transcripts.show)(folder, researcher, console, life=life, full=full)


@app.command(help="Say what is missing on this machine and how to mend it.")
def doctor(
    *,
    campaign: Annotated[Path | None, typer.Option(help="CAMPAIGN.yaml: say what that campaign needs, too")] = None,
    preset: Annotated[str | None, typer.Option(help="qwen or PRESET.yaml: what it needs, and what it would cost")] = None,
    from_: From = None,
    usd_per_gpu_hour: Annotated[float | None, typer.Option(min=0, help="for the estimate of a preset")] = None,
) -> None:
    from aarlab.cli.doctor import examine

    more = {}
    if preset is not None:
        from aarlab.cli.doctor_preset import checks
        from aarlab.models import preset as presets
        from aarlab.models.cost import USD_PER_GPU_HOUR

        if from_ is not None:
            set_data_from(from_)
        chosen = presets.preset(preset)
        more[f"preset {chosen.name}"] = checks(chosen, USD_PER_GPU_HOUR if usd_per_gpu_hour is None else usd_per_gpu_hour)
    if not examine(console, load(campaign) if campaign else None, more):
        raise typer.Exit(1)


def _show() -> "Show":
    from aarlab.cli.show import Show

    return Show(console)


app.add_typer(lab.app, name="lab", help="Inside a sandbox: what a researcher has of the lab.")
app.add_typer(ledger.app, name="ledger", help="Verify a campaign's record, and find where a figure comes from.")
for _command in (redteam_.redteam, redteam_.simulate, detectors_.detectors, directions_.directions, families_.families):
    app.command()(_command)


def _walk(campaign: Campaign) -> None:
    from aarlab.cli.path import walk
    from aarlab.report.render import print_report

    try:
        made, path = walk(campaign, home(), _show())
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
        words = escape(printable(str(error)))  # it may quote what a researcher wrote
        Console(stderr=True, highlight=False).print(f"[bold]{error.whose_move}[/bold]: {words}", soft_wrap=True)
        sys.exit(2)
