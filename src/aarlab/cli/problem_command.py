"""`aar problem`: problems in folders are written, examined, listed and shown."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from aarlab.cli.detail import shows_progress
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.standard_output import only_showing

if TYPE_CHECKING:
    from aarlab.bench.problem_card import AdmissionCard
    from aarlab.problems.folder.folder_problem import FolderProblem

console = PlainConsole()
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Sandbox = Annotated[
    str,
    typer.Option(
        help="where the problem's code runs: bubblewrap, docker, or directory (isolates nothing)"
    ),
]
ProblemArgument = Annotated[str, typer.Argument(help="a shipped problem's name, or a folder")]


@app.command()
@only_showing()
def new(
    name: Annotated[str, typer.Argument(help="lower-case letters, digits, hyphens")],
    *,
    kind: Annotated[
        Literal["predictions", "program", "artifact"],
        typer.Option(help="what researchers submit: predictions, a program, or an artifact"),
    ] = "predictions",
    dir_: Annotated[
        Path | None, typer.Option("--dir", parser=path, help="the new folder [./NAME]")
    ] = None,
) -> None:
    """Write a small problem that runs at once, as a folder to be changed."""
    from aarlab.problems.folder.new_folder import write_new

    folder = dir_ or Path(name)
    for written in write_new(name, kind, folder):
        print(written)
    print(f"next: aar problem check {quote(str(folder))}")


@app.command()
@only_showing()
@shows_progress
def check(
    problem: ProblemArgument,
    *,
    data_seed: Annotated[int, typer.Option(help="seed that draws the data")] = 1,
    sandbox: Sandbox = "bubblewrap",
) -> None:
    """Examine a problem in a folder: data, leaks, baselines, noise, hostile submissions. Writes
    its card.json. Exits with 1 if the problem is refused, with all reasons."""
    from aarlab.bench.problem_admission import admit
    from aarlab.bench.problem_card import print_card
    from aarlab.cli.show import Show
    from aarlab.problems.folder.shipped_folders import problem_of
    from aarlab.sandbox import SANDBOXES

    found, chosen, show = problem_of(problem), SANDBOXES[sandbox], Show(console)
    chosen.require()
    with show.steps():
        card = admit(found, chosen, show.say, data_seed=data_seed)
    print_card(card, console)
    _keep(card, found)
    if not card.admitted:
        raise typer.Exit(1)


def _keep(card: "AdmissionCard", problem: "FolderProblem") -> None:
    from aarlab.core.files import write_whole

    try:
        write_whole(problem.folder.card, card.model_dump_json(indent=1) + "\n")
    except OSError as error:
        where = problem.folder.card
        print(f"Note: {where} could not be written ({error.strerror}): the card is not kept.")
        return
    print(f"card: {problem.folder.card}")


@app.command("list")
def list_() -> None:
    """List the problems that ship, one line each: kind, and objectives with direction and role."""
    from aarlab.problems import PROBLEMS
    from aarlab.problems.folder.folder_problem import read_problem
    from aarlab.problems.folder.shipped_folders import shipped_folders

    table = Table("problem", "kind", "objectives", box=None)
    for name in sorted(PROBLEMS):
        table.add_row(name, "weak-to-strong", "accuracy, as PGR (higher, climb)")
    for name, folder in shipped_folders().items():
        contract = read_problem(folder).contract
        words = ", ".join(f"{o.name} ({o.direction}, {o.role})" for o in contract.objectives)
        table.add_row(Text(name), contract.submission.kind, Text(words))
    console.print(table)


@app.command("card")
def card_(
    problem: Annotated[str, typer.Argument(help="a problem's name, or a folder")],
) -> None:
    """Show a problem's task, objectives, floors and ceilings, and what its check found."""
    from aarlab.bench.problem_card import print_card, print_contract, read_card
    from aarlab.problems import PROBLEMS
    from aarlab.problems.folder.shipped_folders import problem_of

    if "/" not in problem and problem in PROBLEMS:
        known = PROBLEMS[problem]
        console.print(Text(f"{known.name}, version {known.version}: weak-to-strong", style="bold"))
        console.print(Text(known.card.strip()), soft_wrap=True)
        print(
            "floor: the weak teacher's accuracy; ceiling: the strong model trained on true labels"
        )
        return
    found = problem_of(problem)
    print_contract(found.contract, console)
    card = read_card(found)
    if card is not None:
        print_card(card, console)
    elif found.folder.card.exists():
        print(f"The folder has changed since its check: aar problem check {quote(problem)}")
    else:
        print(f"It was not checked here: aar problem check {quote(problem)}")
