"""`aar directions`: draft starting directions for a problem."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aarlab.cli.out import write
from aarlab.core.errors import Misconfigured


def directions(
    problem: Annotated[str, typer.Argument(help="a problem's name, or the problem.json of a published one")],
    out: Annotated[Path | None, typer.Option(help="the YAML file to write; printed if not given")] = None,
) -> None:
    """Draft nine vague starting directions from a problem's public card, by a language model (ANTHROPIC_API_KEY).

    Read and change them, then run a campaign with `directions: FILE`.
    """
    from aarlab.diversity.language_model import MODEL, configured
    from aarlab.fleet.directions import SHIPPED
    from aarlab.fleet.drafting import as_yaml, draft

    card = card_of(problem)
    model = configured()
    if model is None:
        raise Misconfigured(
            f"To draft directions a language model is asked: set ANTHROPIC_API_KEY (model {MODEL}). Without one, copy "
            f"{SHIPPED} and write your own; a campaign reads it with `directions: FILE`."
        )
    text = as_yaml(draft(card, model), model.name)
    if out is None:
        print(text, end="")
    else:
        write(out, text)
        print(f"directions: {out}")


def card_of(problem: str) -> dict[str, Any]:
    """The public card: of a registered problem, or of the file.

    Raises:
        Misconfigured: there is no such problem or file, or the file is no card.
    """
    from aarlab.problems import PROBLEMS

    if not problem.endswith(".json"):
        chosen = PROBLEMS[problem]
        told = {"name": chosen.name, "card": chosen.card}
        return told | {"in_distribution": chosen.id_source, "out_of_distribution": chosen.ood_source}
    try:
        card = json.loads(Path(problem).read_text())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"Cannot read the card {problem}: {error}. Name a problem, or its public/problem.json.") from error
    if not isinstance(card, dict) or not {"name", "card"} <= card.keys():
        raise Misconfigured(f"{problem} is no problem's card: it needs at least the fields name and card.")
    return card
