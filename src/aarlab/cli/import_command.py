"""`aar import`: problems in the formats of others."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from aarlab.cli.path_type import path
from aarlab.core.printable import printable
from aarlab.core.standard_output import only_showing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _formats() -> None:
    """Make a problem in a folder of a task in another format."""


@app.command()
@only_showing()
def harbor(
    task: Annotated[Path, typer.Argument(parser=path, help="the folder with task.toml")],
    folder: Annotated[
        Path | None, typer.Argument(parser=path, help="the new folder [./ and the task's name]")
    ] = None,
) -> None:
    """Make a problem in a folder of a Harbor task: its tests grade, its validation is public."""
    from aarlab.problems.harbor.import_harbor import import_harbor

    made = import_harbor(task, folder or Path(task.resolve().name))
    for note in made.notes:
        print(f"note: {printable(note)}.")  # it names what is in the package
    print(f"units: {made.units}")
    print(f"{made.folder}\nnext: aar problem check {quote(str(made.folder))}")
    print(f"then: aar demo --problem {quote(str(made.folder))} -s policy=ladder")
