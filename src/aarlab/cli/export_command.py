"""`aar export NAME --csv`: a campaign as files, for spreadsheets, programs and other tools."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from aarlab.cli.path_type import path
from aarlab.core.errors import Misconfigured
from aarlab.core.standard_output import only_showing


@only_showing()
def export(
    name: Annotated[str, typer.Argument(help="a campaign's name, or its folder")] = "demo",
    *,
    csv: Annotated[bool, typer.Option("--csv", help="for spreadsheets")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="JSON lines, for programs")] = False,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="an offline run of Weights & Biases")
    ] = False,
    trackio: Annotated[bool, typer.Option("--trackio", help="a local project of Trackio")] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="transcripts as logs of Inspect")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(parser=path, help="the folder to make [NAME-csv, NAME-wandb, ...]"),
    ] = None,
) -> None:
    """Write a campaign into a new folder: its tables (submissions, receipts, experiments,
    findings, spends, confirmations), its figures over time, or its transcripts. No exact score is
    in them, and nothing is sent anywhere."""
    forms = {
        "csv": csv,
        "jsonl": jsonl,
        "wandb": wandb,
        "trackio": trackio,
        "inspect": inspect,
    }
    if sum(forms.values()) != 1:
        raise Misconfigured(
            "Give one form: --csv for spreadsheets, or --jsonl, --wandb, --trackio or --inspect."
        )
    form = next(name for name, chosen in forms.items() if chosen)

    from aarlab.programs.campaign_reader import open_campaign
    from aarlab.programs.table_export import export as export_

    reader = open_campaign(name)
    folder = out or Path(f"{reader.folder.name}-{form}")
    if form in ("wandb", "trackio"):
        from aarlab.programs.trackers import to_trackio, to_wandb

        said = (to_wandb if form == "wandb" else to_trackio)(reader, folder)
        print(f"{folder}: {said}")
        return
    if form == "inspect":
        from aarlab.programs.inspect_log import to_inspect

        files = to_inspect(reader, folder)
        print(f"{len(files)} logs; `inspect view --log-dir {quote(str(folder))}` shows them")
    else:
        files = export_(reader, folder, "csv" if form == "csv" else "jsonl")
    for file in files:
        print(file)
