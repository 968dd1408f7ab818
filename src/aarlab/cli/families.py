"""`aar families`: what a campaign's ideas were declared to be, and what they look like."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Family
from aarlab.core.settings import home

if TYPE_CHECKING:
    from aarlab.core.snapshot import Files
    from aarlab.diversity.judge import Judge

console = Console(highlight=False)


def families(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    judge: Annotated[bool, typer.Option("--judge", help="ask a language model as well (ANTHROPIC_API_KEY); kept")] = False,
) -> None:
    """Count a campaign's experiments by family: as declared, by their code, and as a pinned language model judges."""
    from aarlab.diversity.families import classified

    ideas = _ideas(name)
    counts = {
        "declared": Counter(family for _, family, _ in ideas),
        "by code": Counter(classified(code=code).family for _, _, code in ideas),
    }
    if judge:
        model = _judge(name)
        said = Counter(model.judge(_shown(code)).family for _, _, code in ideas)
        counts[f"by {model.name}, prompt {model.version[:12]}"] = said
    table = Table("family", *counts)
    for family in Family:
        table.add_row(family.value, *(str(by.get(family, 0)) for by in counts.values()))
    console.print(table)


def _ideas(name: str) -> list[tuple[str, Family, "Files"]]:
    """(receipt, declared family, code) of every submission."""
    from aarlab.evaluation.blobs import Blobs
    from aarlab.evaluation.ledger import Ledger

    server = home().campaigns / name / "server"
    if not (server / "ledger.sqlite").exists():
        raise Misconfigured(f"There is no campaign '{name}' in {home().campaigns}. Name one that was begun.")
    ledger, blobs = Ledger(server / "ledger.sqlite", read_only=True), Blobs(server / "blobs")
    try:
        told = ledger.entries("submission")
    finally:
        ledger.close()
    code = {snapshot: json.loads(blobs.get(snapshot)) for snapshot in {e.body["snapshot"] for e in told}}
    return [(e.body["receipt"]["id"], Family(e.body["family"]), code[e.body["snapshot"]]) for e in told]


def _judge(name: str) -> "Judge":
    from aarlab.diversity.judge import Judge
    from aarlab.diversity.language_model import configured

    model = configured()
    if model is None:
        raise Misconfigured("A judge is a language model: set ANTHROPIC_API_KEY, or leave --judge out.")
    return Judge(model, home().campaigns / name / "judgements")


def _shown(code: "Files") -> str:
    return "\n\n".join(f"{path}:\n{text}" for path, text in sorted(code.items()))
