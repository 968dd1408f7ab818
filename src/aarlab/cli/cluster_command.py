"""`aar cluster`: what is to be seen of the machines that run jobs."""

from typing import Annotated

import typer
from rich.table import Table

from aarlab.cli.plain_console import PlainConsole

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
console = PlainConsole(soft_wrap=True)  # nodes say their names


@app.callback()
def _group() -> None:
    """One command needs its name, too."""


@app.command(
    help=(
        "Show nodes, workers, jobs, versions, what is wrong and whose move it is: of this machine, "
        "of Slurm where it placed runs of this state folder, and of Ray where RAY_ADDRESS says "
        "where it is. Ends with status 1 if something is wrong."
    )
)
def status(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    from aarlab.core.printable import one_line
    from aarlab.core.settings import home
    from aarlab.runs.cluster_status import cluster_status

    found = cluster_status(home())
    if as_json:
        print(found.model_dump_json(indent=1))
        raise typer.Exit(1 if found.troubles else 0)
    table = Table(box=None, pad_edge=False)
    for name in ("engine", "node", "state", "cpus", "memory", "gpus", "workers", "aarlab"):
        table.add_column(name, overflow="fold")
    for n in found.nodes:
        cells = (n.engine, n.name, n.state, f"{n.cpus:g}", f"{n.memory_mib / 1024:.0f} GiB")
        versions = ", ".join([*n.aarlab, *(f"Python {p}" for p in n.python)])
        rest = (n.gpus or "none", str(n.workers), versions or "not asked: no worker runs")
        table.add_row(*(one_line(cell, 200) for cell in (*cells, *rest)))
    console.print(table)
    for note in found.notes:
        ended = ", ".join(f"{count} {kind}" for kind, count in sorted(note.ended.items()))
        console.print(
            f"{note.engine}: process {note.pid} on {note.host}: {note.open} jobs open; ended: "
            f"{ended or 'none'}; run twice: {sum(note.twice.values())}, unlike: {note.unlike}"
        )
    for q in found.queues:
        words = f"{q.waiting} wait, {q.leased} run, {q.done} done, {q.again} run again"
        console.print(f"slurm: {q.folder}: {words}, {q.lost} lost")
    if not found.notes and not found.queues:
        console.print("No process of this state folder places runs on a cluster now.")
    for trouble in found.troubles:
        console.print(one_line(f"WRONG  {trouble.words} ({trouble.whose})", 1000))
    raise typer.Exit(1 if found.troubles else 0)
