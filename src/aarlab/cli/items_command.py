"""`aar items FILE --out ITEMS.jsonl`: one's own data made into items."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aarlab.cli.out import write
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole


def items(
    file: Annotated[
        str, typer.Argument(help="rows as .jsonl, .json or .csv, or these as .gz, or .parquet")
    ],
    out: Annotated[
        Path | None, typer.Option(parser=path, help="the file of items to write [none: only look]")
    ] = None,
) -> None:
    """Make items of your own data: deal rows into splits, balance the labels, and say what was
    left out. `aar run -s problem=ITEMS.jsonl` takes the file that it writes."""
    from aarlab.problems.own_items import own_items, size_words

    found, console = own_items(file), PlainConsole()
    table = Table(title=f"{len(found.items):,} items of {file}", box=None, pad_edge=False)
    for column in ("split", "part", "level", "labels 0", "labels 1", "kept"):
        table.add_column(column, justify="right" if "label" in column else "left")
    for (split, part, level), labels in found.cells.items():
        kept = sum((i.split, i.part, i.level) == (split, part, level) for i in found.items)
        table.add_row(split, part, str(level), *map(str, labels), str(kept))
    console.print(table)
    if found.dealt:
        console.print(f"{found.dealt:,} rows had no split and were dealt, by group or question.")
    if found.turned:
        console.print(
            f"{found.turned:,} pairs were turned round, so that half of the labels are 1."
        )
    if found.implicit:
        console.print(f"{found.implicit:,} prompts are what both answers of a row begin with.")
    if found.empty:
        console.print(f"{found.empty:,} rows with a blank text or two equal answers were left out.")
    if found.repeated:
        console.print(f"{found.repeated:,} rows with a text of another row were left out.")
    console.print(f"{found.dropped:,} rows were left out to balance the labels.")
    if found.left_out:
        console.print(f"Fields that no item has were left out: {', '.join(found.left_out)}.")
    console.print(size_words(found.items))
    if out is not None:
        write(out, found.lines())
