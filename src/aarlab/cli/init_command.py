"""`aar init`: a folder in which a campaign on one's own items begins."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from aarlab.cli.path_type import path
from aarlab.core.standard_output import only_showing


@only_showing()
def init(
    folder: Annotated[Path, typer.Argument(parser=path, help="a new folder, or an empty one")],
) -> None:
    """Write a folder with example items, a campaign's settings and a README, from which a
    weak-to-strong campaign on items of your own starts."""
    from aarlab.problems.example.new_example import write_example

    for written in write_example(folder):
        print(written)
    print(f"next: cd {quote(str(folder))}, and the commands of README.md")
