"""`aar bench` and `aar controls`. What takes long to import is imported by the command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aarlab.cli.detail import shows_progress
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.core.settings import home, set_data_from
from aarlab.core.standard_output import only_showing
from aarlab.core.strict_yaml import parse_yaml

console = PlainConsole()
From = Annotated[
    Path | None,
    typer.Option("--from", parser=path, help="read DIR/<owner>/<name>/... instead of the hub"),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="a problem, or ITEMS.jsonl; repeatable [the student's three]"),
]
DataSeeds = Annotated[
    list[int] | None,
    typer.Option("--data-seed", help="seed that draws the items; repeatable, pooled [1]"),
]
BenchName = Annotated[str, typer.Option(help="name of the folder under AAR_HOME/benches")]
StudentName = Annotated[
    str, typer.Option(help="smollm2; qwen or PRESET.yaml (fine-tuned); double (a test double)")
]
Workers = Annotated[int, typer.Option(help="number of processes, each with one thread")]


@only_showing()
@shows_progress
def bench(  # noqa: PLR0913 - long: each parameter is an option with its help
    *,
    task: Tasks = None,
    method: Annotated[
        list[str] | None, typer.Option(help="a method's name or FILE.py; repeatable [all]")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="the four classic baselines and zero-shot")
    ] = False,
    seeds: Annotated[int, typer.Option(help="runs of each method")] = 5,
    data_seed: DataSeeds = None,
    name: BenchName = "bench",
    student: StudentName = "smollm2",
    workers: Workers = 2,
    selection: Annotated[
        bool, typer.Option("--selection", help="look at data seed 0, to choose hyper-parameters")
    ] = False,
    sandbox: Annotated[
        str,
        typer.Option(help="where methods run: bubblewrap, docker, or directory (isolates nothing)"),
    ] = ("bubblewrap"),
    run_timeout_s: Annotated[
        float | None,
        typer.Option(help="seconds for one method on all seeds [120; fine-tuned 43200]"),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="what places the runs: local, ray (of RAY_ADDRESS), or slurm")
    ] = "local",
    slurm: Annotated[
        str | None, typer.Option(help="of --engine slurm, as in a campaign: '{partition: main}'")
    ] = None,
    from_: From = None,
) -> None:
    """Measure methods on problems: table, forest plot, transfer heat map, JSON. Run it again to
    resume. Exits with 1 if a method failed; the others' results are kept."""
    from aarlab.bench.render import print_bench
    from aarlab.bench.run import run as run_bench
    from aarlab.bench.spec import SELECTION_SEED, Bench
    from aarlab.cli.show import Show
    from aarlab.methods.baselines import BASELINES
    from aarlab.testbeds.students import tasks_of

    if from_ is not None:
        set_data_from(from_)
    task = task or list(tasks_of(student))
    method = [*(method or []), *(BASELINES if baselines else [])]
    given = {
        "name": name,
        "seeds": seeds,
        "student": student,
        "workers": workers,
        "selection": selection,
    }
    given |= {"sandbox": sandbox, "run_timeout_s": run_timeout_s, "engine": engine}
    given |= {} if slurm is None else {"slurm": _options(slurm)}
    given |= {"data_seeds": tuple(data_seed or ([SELECTION_SEED] if selection else [1]))}
    given |= ({"tasks": tuple(task)} if task else {}) | (
        {"methods": tuple(method)} if method else {}
    )
    made, folder = run_bench(validated(Bench, given, "aar bench"), home(), Show(console))
    print_bench(made, console)
    print(f"bench: {folder}")
    if made.failures:
        raise typer.Exit(1)


def _options(text: str) -> dict[str, Any]:
    found = parse_yaml(text, "--slurm")
    if not isinstance(found, dict):
        words = f"--slurm is {text!r:.80}, which names no field. Write '{{partition: main}}', say."
        raise Misconfigured(words)
    return found


@only_showing()
@shows_progress
def controls(
    *,
    task: Tasks = None,
    seeds: Annotated[int, typer.Option(help="runs of each control")] = 5,
    data_seed: DataSeeds = None,
    name: BenchName = "bench",
    student: StudentName = "smollm2",
    workers: Workers = 2,
) -> None:
    """Sanity checks of a testbed: with shuffled labels, or a random student, scores must fall to
    chance. Exits with 1 if a check fails."""
    from aarlab.bench.render import print_controls
    from aarlab.bench.run import run_controls
    from aarlab.bench.spec import Bench
    from aarlab.cli.show import Show

    given = {
        "name": name,
        "seeds": seeds,
        "student": student,
        "workers": workers,
        "data_seeds": tuple(data_seed or [1]),
    }
    spec = validated(Bench, given | ({"tasks": tuple(task)} if task else {}), "aar controls")
    rows, path = run_controls(spec, home(), Show(console))
    print_controls(rows, console)
    print(f"controls: {path}")
    if not all(row.as_expected for row in rows):
        raise typer.Exit(1)
