"""`aar redteam` and `aar simulate`: what the evaluator's answers are worth to attackers and to honest researchers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from aarlab.cli.out import write

console = Console(highlight=False)
SHOWN = ["default", "exact", "strict", "roomy", "rounded", "ladder"]
OFFERED = ["exact", "rounded", "ladder", "strict", "default", "roomy", "none"]
Items = Annotated[int, typer.Option("--n", min=10, help="hidden labels")]
Workers = Annotated[int, typer.Option(min=1, help="processes")]


def redteam(
    *,
    policy: Annotated[list[str] | None, typer.Option(help=f"repeatable; if none is given: {', '.join(SHOWN)}")] = None,
    n: Items = 1_263,
    queries: Annotated[list[int] | None, typer.Option(help="report after so many questions; repeatable")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="independent sets of labels")] = 4,
    workers: Workers = 2,
    system: Annotated[bool, typer.Option("--system", help="attack the whole system instead: server, names, races")] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="attack from inside a researcher's sandbox instead")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for redteam.json and .md (system., sandbox.)")] = None,
) -> None:
    """Attack the evaluator's policies with every known attack; exits with 1 where a proven bound was exceeded."""
    if system or sandbox:
        (_attack_system if system else _attack_sandbox)(out)
        return
    from aarlab.redteam.table import QUERIES, attack_all, markdown, summary

    asked, policies = queries or list(QUERIES), policy or SHOWN
    with _progress() as say:
        result = attack_all(policies, n=n, seeds=seeds, queries=asked, workers=workers, say=say)
    console.print(summary(result))
    if out is not None:
        options = "".join(f" --policy {p}" for p in policy or ()) + "".join(f" --queries {q}" for q in queries or ())
        write(out / "redteam.json", result.model_dump_json(indent=1))
        write(out / "redteam.md", markdown(result, f"aar redteam --n {n} --seeds {seeds}{options} --out {out}"))
    broken = sorted({f"{c.policy}: {c.attack}" for c in result.cells if not c.held})
    if broken:
        console.print(f"Beyond the proven bound: {'; '.join(broken)}")
        raise typer.Exit(1)


def _attack_system(out: Path | None) -> None:
    from aarlab.redteam.system import Scale, attack_system, markdown, summary

    with _progress() as say, TemporaryDirectory(prefix="aar-redteam-") as folder:
        rows = attack_system(Path(folder), Scale(), say=say)
    console.print(summary(rows))
    if out is not None:
        write(out / "system.json", json.dumps([row.model_dump() for row in rows], indent=1))
        write(out / "system.md", markdown(rows, f"aar redteam --system --out {out}"))
    if broken := [row.attack for row in rows if not row.held]:
        console.print(f"Not held: {'; '.join(broken)}")
        raise typer.Exit(1)


def _attack_sandbox(out: Path | None) -> None:
    from aarlab.redteam.on_sandbox import attack_sandbox
    from aarlab.redteam.sandbox_page import markdown, summary
    from aarlab.sandbox.bubblewrap import Bubblewrap
    from aarlab.sandbox.disk import scratch

    Bubblewrap.require()
    with _progress() as say, scratch("aar-redteam-") as folder:
        rows = attack_sandbox(folder, say=say)
    console.print(summary(rows, Bubblewrap.limits_held()))
    if out is not None:
        write(out / "sandbox.json", json.dumps([row.model_dump() for row in rows], indent=1))
        write(out / "sandbox.md", markdown(rows, Bubblewrap.limits_held(), f"aar redteam --sandbox --out {out}"))
    if broken := [row.attack for row in rows if not row.held]:
        console.print(f"Not held: {'; '.join(broken)}")
        raise typer.Exit(1)


def simulate(
    *,
    n: Annotated[list[int] | None, typer.Option("--n", min=10, help="hidden labels; repeatable [1263]")] = None,
    agents: Annotated[int, typer.Option(min=1, help="honest researchers")] = 9,
    bundles: Annotated[int, typer.Option(min=1, help="submissions of each")] = 60,
    repetitions: Annotated[int, typer.Option(min=10, help="simulated fleets")] = 300,
    policy: Annotated[list[str] | None, typer.Option(help=f"repeatable; if none is given: {', '.join(OFFERED)}")] = None,
    workers: Workers = 2,
    scan: Annotated[bool, typer.Option("--scan", help="how the default was chosen; many minutes")] = False,
    out: Annotated[Path | None, typer.Option(help="folder for simulate.json and .md (scan.json and .md)")] = None,
) -> None:
    """What each policy costs honest researchers and gives attackers, for n hidden labels, and which to take."""
    if scan:
        _scan(workers, out)
        return
    from aarlab.redteam.honest import Plan
    from aarlab.redteam.laboratory import compare
    from aarlab.redteam.laboratory_page import markdown, tables

    plans = [Plan(items, agents, bundles, repetitions) for items in n or [1_263]]
    with _progress() as say:
        made = [compare(policy or OFFERED, plan, workers=workers, say=say) for plan in plans]
    for lab in made:
        for table in tables(lab):
            console.print(table)
        console.print(lab.advice)
    if out is not None:
        options = "".join(f"--n {plan.n} " for plan in plans)
        options += f"--agents {agents} --bundles {bundles} --repetitions {repetitions}"
        options += "".join(f" --policy {p}" for p in policy or ())
        write(out / "simulate.json", json.dumps([lab.model_dump(mode="json") for lab in made], indent=1))
        write(out / "simulate.md", markdown(made, f"aar simulate {options} --out {out}"))


def _scan(workers: int, out: Path | None) -> None:
    from aarlab.redteam.scan import markdown, scan

    with _progress() as say:
        made = scan(workers=workers, say=say)
    text = markdown(made, f"aar simulate --scan --out {out}")
    console.print(text)
    if out is not None:
        write(out / "scan.json", made.model_dump_json(indent=1))
        write(out / "scan.md", text)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    with console.status("") as status:
        yield status.update
