"""`aar items FILE --out ITEMS.jsonl`: one's own data made into items."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from aarlab.cli.out import write
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.standard_output import only_showing


@only_showing()
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
    from aarlab.core.errors import Misconfigured
    from aarlab.core.settings import expanded
    from aarlab.problems.own_items import own_items, size_words

    found, console = own_items(file), PlainConsole()
    if out is not None and out.exists() and out.samefile(expanded(file, "the file of items")):
        raise Misconfigured(f"--out is {file} itself, whose rows would be lost. Give another file.")
    table = Table(title=f"{len(found.items):,} items of {file}", box=None, pad_edge=False)
    for column in ("split", "part", "level", "labels 0", "labels 1", "kept"):
        table.add_column(column, justify="right" if "label" in column else "left")
    for (split, part, level), labels in found.cells.items():
        kept = sum((i.split, i.part, i.level) == (split, part, level) for i in found.items)
        table.add_row(split, part, str(level), *map(str, labels), str(kept))
    console.print(table)
    counted = {
        "rows had no split and were dealt, by group or question.": found.dealt,
        "pairs were turned round, so that half of the labels are 1.": found.turned,
        "prompts are what both answers of a row begin with.": found.implicit,
        "rows with a blank text or two equal answers were left out.": found.empty,
        "rows with a text of another row were left out.": found.repeated,
    }
    for words, count in counted.items():
        if count:
            console.print(f"{count:,} {words}")
    console.print(f"{found.dropped:,} rows were left out to balance the labels.")
    if found.left_out:
        console.print(f"Fields that no item has were left out: {', '.join(found.left_out)}.")
    console.print(size_words(found.items))
    if out is not None:
        write(out, found.lines())
