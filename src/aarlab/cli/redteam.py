"""`aar redteam` and `aar simulate`: what attackers gain and honest researchers lose under the
evaluator's policies."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aarlab.cli.out import write
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.standard_output import only_showing

if TYPE_CHECKING:
    from aarlab.redteam.attack_table import RedTeam
    from aarlab.redteam.system import AttackRow

console = PlainConsole()
SHOWN = ["default", "exact", "strict", "roomy", "rounded", "ladder"]
OFFERED = ["exact", "rounded", "ladder", "strict", "default", "roomy"]


@only_showing()
def redteam(  # noqa: PLR0913 - options
    *,
    policy: Annotated[
        list[str] | None, typer.Option(help=f"a policy; repeatable [{', '.join(SHOWN)}]")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=10, help="hidden labels")] = 1_263,
    start: Annotated[
        float, typer.Option(min=0.5, max=1, help="accuracy that attackers start from")
    ] = 0.57,
    gap: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="ceiling - weak accuracy, as the step follows it [none]"),
    ] = None,
    queries: Annotated[
        list[int] | None, typer.Option(help="report after this many queries; repeatable")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="independent sets of labels")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    system: Annotated[
        bool, typer.Option("--system", help="attack the whole system instead: server, names, races")
    ] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="attack from inside a researcher's sandbox instead")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(parser=path, help="folder for redteam.json and .md (system., sandbox.)"),
    ] = None,
) -> None:
    """Attack the evaluator's policies with every known attack. Exits with 1 if a proven bound is
    exceeded."""
    if system or sandbox:
        (_attack_system if system else _attack_sandbox)(out)
        return
    from aarlab.redteam.attack_table import QUERIES, attack_all, summary

    asked, policies, scale = queries or list(QUERIES), policy or SHOWN, {"start": start, "gap": gap}
    with _progress() as progress:
        result = attack_all(
            policies, n=n, seeds=seeds, queries=asked, workers=workers, progress=progress, **scale
        )
    console.print(summary(result))
    if out is not None:
        _write_attacks(result, out)
    broken = sorted({f"{c.policy}: {c.attack}" for c in result.cells if not c.held})
    if broken:
        console.print(f"The proven bound was exceeded: {'; '.join(broken)}")
        raise typer.Exit(1)


def _write_attacks(result: "RedTeam", out: Path) -> None:
    """Write the grid as JSON and as a page that says which command makes it."""
    from aarlab.redteam.attack_table import markdown

    given = [("n", result.n), ("seeds", result.seeds), ("start", result.start), ("gap", result.gap)]
    given += [("policy", p) for p in dict.fromkeys(c.policy for c in result.cells)]
    given += [("queries", q) for q in result.queries]
    options = "".join(f" --{name} {value}" for name, value in given if value is not None)
    write(out / "redteam.json", result.model_dump_json(indent=1))
    write(out / "redteam.md", markdown(result, f"aar redteam{options} --out {out}"))


def _attack_system(out: Path | None) -> None:
    from aarlab.redteam.on_system import attack_system
    from aarlab.redteam.system import AttackScale, markdown, summary

    with _progress() as progress, HeldFolder() as held:
        rows = attack_system(held.path, AttackScale(), progress=progress)
    _show(rows, summary(rows), partial(markdown, rows), "system", out)


def _attack_sandbox(out: Path | None) -> None:
    from aarlab.redteam.on_sandbox import attack_sandbox
    from aarlab.redteam.sandbox_page import markdown, summary
    from aarlab.sandbox.bubblewrap import Bubblewrap
    from aarlab.sandbox.disk_usage import scratch

    Bubblewrap.require()
    with _progress() as progress, scratch() as folder:
        rows = attack_sandbox(folder, progress=progress)
    limits = Bubblewrap.limits_held()
    _show(rows, summary(rows, limits), partial(markdown, rows, limits), "sandbox", out)


def _show(
    rows: "list[AttackRow]", table: Table, page: Callable[[str], str], name: str, out: Path | None
) -> None:
    """Print a table of attacks, and write it as JSON and as a page. Exits with 1 if one
    succeeded."""
    console.print(table)
    if out is not None:
        write(out / f"{name}.json", json.dumps([row.model_dump() for row in rows], indent=1))
        write(out / f"{name}.md", page(f"aar redteam --{name} --out {out}"))
    if broken := [row.attack for row in rows if not row.held]:
        console.print(f"Attacks that succeeded: {'; '.join(broken)}")
        raise typer.Exit(1)


@only_showing()
def simulate(
    *,
    n: Annotated[
        list[int] | None,
        typer.Option("--n", min=10, help="independent hidden labels; repeatable [1263]"),
    ] = None,
    agents: Annotated[int, typer.Option(min=1, help="honest researchers")] = 9,
    bundles: Annotated[int, typer.Option(min=1, help="submissions of each agent")] = 60,
    repetitions: Annotated[int, typer.Option(min=10, help="simulated fleets")] = 300,
    policy: Annotated[
        list[str] | None, typer.Option(help=f"a policy; repeatable [{', '.join(OFFERED)}]")
    ] = None,
    start: Annotated[float, typer.Option(min=0, max=1, help="accuracy of the first method")] = 0.57,
    ceiling: Annotated[
        float, typer.Option(min=0, max=1, help="that of the best possible method")
    ] = 0.90,
) -> None:
    """Simulate honest researchers on n hidden labels under each policy: what is reported, its
    bound, their loss. With advice on the policy to take."""
    from aarlab.evaluation.scoring.hidden_labels import PgrScale
    from aarlab.fleet.start_outlook import advice, start_outlook

    if start >= ceiling:
        raise typer.BadParameter(f"--start {start:g} must be below --ceiling {ceiling:g}.")
    fleet = {"agents": agents, "bundles": bundles, "fleets": repetitions}
    for items in n or [1_263]:
        with _progress() as progress:
            for name in policy or OFFERED:
                progress(f"{items:,} labels, {name}")
                # no gap: PGR would need the weak teacher's accuracy
                pgr_scale = PgrScale(start, ceiling, start, gap=False)
                console.print(start_outlook(name, items, pgr_scale, **fleet).outlook)
            progress(f"{items:,} labels, advice")
            console.print(advice(items, start, ceiling, **fleet))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    with console.status("") as status:
        yield status.update
