"""`aar export NAME --csv`: a campaign's tables as files."""

from pathlib import Path
from typing import Annotated

import typer

from aarlab.cli.path_type import path
from aarlab.core.errors import Misconfigured


def export(
    name: Annotated[str, typer.Argument(help="a campaign's name, or its folder")] = "demo",
    *,
    csv: Annotated[bool, typer.Option("--csv", help="for spreadsheets")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="JSON lines, for programs")] = False,
    out: Annotated[
        Path | None, typer.Option(parser=path, help="the folder to make [NAME-csv, NAME-jsonl]")
    ] = None,
) -> None:
    """Write a campaign's tables into a new folder: submissions, receipts, experiments, findings,
    spends, confirmations. No exact score is in them."""
    if csv == jsonl:
        raise Misconfigured("Say in which form: --csv for spreadsheets, or --jsonl for programs.")

    from aarlab.programs.campaign_reader import open_campaign
    from aarlab.programs.table_export import export as export_

    reader = open_campaign(name)
    form = "csv" if csv else "jsonl"
    for file in export_(reader, out or Path(f"{reader.folder.name}-{form}"), form):
        print(file)
