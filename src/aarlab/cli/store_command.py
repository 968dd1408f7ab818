"""`aar store`: prepare a database for ledgers, and move a campaign's record between stores."""

from pathlib import Path
from typing import Annotated

import typer

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.layout import CampaignFolder
from aarlab.core.standard_output import only_showing

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
console = PlainConsole(soft_wrap=True)


@app.command(
    help=(
        "Prepare a PostgreSQL database for ledgers, or bring it to this version. Give a login that "
        "may create a schema and a role; the evaluator needs one that is a member of aar_append."
    )
)
@only_showing()
def init(
    url: Annotated[str, typer.Argument(help="postgresql://OWNER@HOST:PORT/DATABASE, no password")],
) -> None:
    from aarlab.evaluation.ledger.places import check_url, prepare_database, shown

    check_url(url)
    applied = prepare_database(url)
    console.print(f"{shown(url)}: {', '.join(applied) or 'nothing'} applied. Then, as its owner:")
    console.print("  CREATE ROLE aar LOGIN PASSWORD '...' IN ROLE aar_append;")


@app.command(
    help=(
        "Copy a campaign's ledger and snapshots to other stores, check the copies, and use them "
        "from then on. The old ones are left as they are. The campaign must not run."
    )
)
@only_showing()
def copy(
    name: Annotated[str, typer.Argument(help="a campaign's name, or its folder")],
    to: Annotated[
        list[str],
        typer.Argument(
            help="the ledger to postgresql://USER@HOST:PORT/DATABASE or `file`; the snapshots to "
            "s3://BUCKET/PREFIX or `folder`"
        ),
    ],
) -> None:
    from aarlab.cli.ledger_command import folder_of
    from aarlab.evaluation.ledger.places import by_part, shown
    from aarlab.evaluation.store_copy import move

    folder = folder_of(name)
    moved = move(folder, *by_part(to))
    _note(folder, moved.places.ledger, moved.places.snapshots)
    for part, count, where in (
        ("entries", moved.entries, moved.places.ledger),
        ("snapshots", moved.snapshots, moved.places.snapshots),
    ):
        if count is not None:
            place = shown(where) if where else f"{folder}"
            console.print(f"{count} {part} are in {place}, and were compared one by one.")
    console.print("What they were copied from is left as it was. Check: aar ledger verify " + name)


def _note(folder: Path, store: str | None, snapshots: str | None) -> None:
    """In campaign.yaml, too, so that the campaign goes on by its own settings."""
    from aarlab.fleet.campaign import load

    path = CampaignFolder(folder).settings
    if path.exists():
        load(path).model_copy(update={"store": store, "snapshots": snapshots}).save(folder)
