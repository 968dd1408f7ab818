"""`aar families`: the families of a campaign's ideas, as declared and as classified."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aarlab.cli.plain_console import PlainConsole
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Family
from aarlab.core.settings import home

if TYPE_CHECKING:
    from aarlab.core.snapshot import Files
    from aarlab.diversity.judge import Judge

console = PlainConsole()


def families(
    name: Annotated[str, typer.Argument(help="the campaign's name")] = "demo",
    judge: Annotated[
        bool,
        typer.Option(
            "--judge", help="also ask a language model (ANTHROPIC_API_KEY); its answers are cached"
        ),
    ] = False,
) -> None:
    """Count a campaign's experiments by family: as declared, by their code, and as a pinned
    language model judges."""
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
    from aarlab.core.entries import SubmissionBody
    from aarlab.evaluation.ledger.ledger import Ledger
    from aarlab.evaluation.ledger.places import has_ledger, snapshots_at

    server = CampaignFolder(home().campaigns / name).server
    if not has_ledger(server.ledger):
        raise Misconfigured(
            f"There is no campaign '{name}' in {home().campaigns}. Name one that was begun."
        )
    ledger, blobs = Ledger(server.ledger, read_only=True), snapshots_at(server.blobs)
    try:
        submissions = [e.read(SubmissionBody) for e in ledger.entries("submission")]
    finally:
        ledger.close()
    code = {
        snapshot: json.loads(blobs.get(snapshot))
        for snapshot in {body.snapshot for body in submissions}
    }
    return [(body.receipt.id, body.family, code[body.snapshot]) for body in submissions]


def _judge(name: str) -> "Judge":
    from aarlab.diversity.judge import Judge
    from aarlab.diversity.language_model import configured

    model = configured()
    if model is None:
        raise Misconfigured(
            "A judge is a language model: set ANTHROPIC_API_KEY, or leave --judge out."
        )
    return Judge(model, CampaignFolder(home().campaigns / name).judgements)


def _shown(code: "Files") -> str:
    return "\n\n".join(f"{path}:\n{text}" for path, text in sorted(code.items()))
