"""`aar redteam` and `aar simulate`: what the evaluator's answers are worth to attackers and to honest researchers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aarlab.core.errors import Misconfigured
from aarlab.redteam.table import QUERIES, attack_all, markdown, summary

console = Console(highlight=False)
SHOWN = ["default", "exact", "strict", "roomy", "rounded", "ladder"]
Policies = Annotated[list[str] | None, typer.Option("--policy", help=f"repeatable; if none is given: {', '.join(SHOWN)}")]
Items = Annotated[int, typer.Option("--n", min=10, help="hidden labels")]


def redteam(
    *,
    policy: Policies = None,
    n: Items = 1_263,
    queries: Annotated[list[int] | None, typer.Option(help="report after so many questions; repeatable")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="independent sets of labels")] = 4,
    out: Annotated[Path | None, typer.Option(help="folder for redteam.json and redteam.md")] = None,
) -> None:
    """Attack the evaluator's policies with every known attack; exits with 1 where a proven bound was exceeded."""
    policies = policy or SHOWN
    with console.status("") as status:
        result = attack_all(policies, n=n, seeds=seeds, queries=queries or QUERIES, say=status.update)
    console.print(summary(result))
    if out is not None:
        options = "".join(f" --policy {p}" for p in policy or ()) + "".join(f" --queries {q}" for q in queries or ())
        _write(out / "redteam.json", result.model_dump_json(indent=1))
        _write(out / "redteam.md", markdown(result, f"aar redteam --n {n} --seeds {seeds}{options} --out {out}"))
    broken = sorted({f"{c.policy}: {c.attack}" for c in result.cells if not c.held})
    if broken:
        console.print(f"Beyond the proven bound: {'; '.join(broken)}")
        raise typer.Exit(1)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written ({error.strerror}). Choose another --out.") from error
