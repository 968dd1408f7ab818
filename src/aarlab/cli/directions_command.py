"""`aar directions`: draft starting directions for a problem."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aarlab.cli.out import write
from aarlab.cli.path_type import path
from aarlab.core.errors import Misconfigured
from aarlab.core.settings import expanded
from aarlab.core.strict_json import read_json


def directions(
    problem: Annotated[
        str, typer.Argument(help="a problem's name, or the problem.json of a published one")
    ],
    out: Annotated[
        Path | None, typer.Option(parser=path, help="YAML file to write [standard output]")
    ] = None,
) -> None:
    """Let a language model draft nine starting directions from a problem's public card (needs
    ANTHROPIC_API_KEY).

    Read and edit them, then run a campaign with `directions: FILE`.
    """
    from aarlab.diversity.language_model import MODEL, configured
    from aarlab.fleet.directions import SHIPPED
    from aarlab.fleet.drafting import as_yaml, draft

    card = card_of(problem)
    model = configured()
    if model is None:
        raise Misconfigured(
            f"A language model ({MODEL}) drafts the directions: set ANTHROPIC_API_KEY. Without a "
            f"key, copy {SHIPPED} and write your own directions; a campaign reads them with "
            "`directions: FILE`."
        )
    text = as_yaml(draft(card, model), model.name)
    if out is None:
        print(text, end="")
    else:
        write(out, text)
        print(f"directions: {out}")


def card_of(problem: str) -> dict[str, Any]:
    """The public card of a registered problem, or the card in a file.

    Raises:
        Misconfigured: there is no such problem or file, or the file holds no card.
    """
    from aarlab.problems import PROBLEMS

    if not problem.endswith(".json"):
        chosen = PROBLEMS[problem]
        shown = {"name": chosen.name, "card": chosen.card}
        return shown | {
            "in_distribution": chosen.id_source,
            "out_of_distribution": chosen.ood_source,
        }
    path = expanded(problem, "the problem's card")
    card = read_json(path, "Name a problem, or its public/problem.json.")
    if not isinstance(card, dict) or not {"name", "card"} <= card.keys():
        raise Misconfigured(
            f"{problem} is not a problem's card: it needs at least the fields name and card."
        )
    return card
