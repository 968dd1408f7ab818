"""Paths on the command line: `~` is the home folder, also where the shell leaves it
(`--campaign=~/x.yaml`), and an empty path is refused."""

from pathlib import Path

import typer

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import expanded


def path(value: str | Path) -> Path:
    """The parser of a path that is an argument or an option.

    Raises:
        typer.BadParameter: it is empty, or in a home folder that is not there.
    """
    try:
        return expanded(value, "the path")
    except Misconfigured as error:
        raise typer.BadParameter(str(error)) from error
