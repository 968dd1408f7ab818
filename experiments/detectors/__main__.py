"""What do the detectors catch, and whom do they accuse wrongly? `python -m experiments.detectors
--help`, in the repository."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.cli.out import write
from aarlab.core.settings import home
from aarlab.evaluation.detectors import DETECTORS
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from experiments.detectors.page import markdown
from experiments.detectors.rates import Rates, Row, measure

console = Console(highlight=False)


def detectors(
    *,
    n: Annotated[int, typer.Option("--n", min=100, help="items of the simulated problem")] = 1_263,
    seeds: Annotated[int, typer.Option(min=1, help="attackers and honest fleets a row")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="folder for detectors.json and detectors.md")
    ] = None,
) -> None:
    """Measure every detector: hacks detected and honest researchers accused, simulated and really
    run. Minutes."""
    with console.status("") as status:
        bed = prepare(
            "generated-chat",
            1,
            home=home(),
            student=student.COUNTING,
            progress=lambda what, *_: status.update(what),
        )
        rates = measure(bed, n=n, seeds=seeds, say=status.update)
    _print(rates)
    if out is not None:
        command = f"python -m experiments.detectors --n {n} --seeds {seeds} --out {out}"
        write(out / "detectors.json", rates.model_dump_json(indent=1))
        write(
            out / "detectors.md",
            markdown(rates, command, {name: DETECTORS[name] for name in DETECTORS}),
        )


def _print(rates: Rates) -> None:
    for title, rows in (
        ("detected", rates.probes + rates.hacks + rates.judged),
        ("accused", rates.honest + rates.real),
    ):
        console.print(f"[bold]{title}[/bold]")
        for row in rows:
            console.print(_line(row))


def _line(row: Row) -> str:
    return f"{row.what} ({row.how}): {row.flagged} of {row.shown} {row.when} {row.by}"


if __name__ == "__main__":
    typer.run(detectors)
