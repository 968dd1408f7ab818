"""Starting directions for another problem, drafted by a language model from the problem's public
card."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.operation_records import families_of
from aarlab.diversity.language_model import LanguageModel, unfenced
from aarlab.fleet.directions import Directions, parse_directions, prompts_version, rendered

COUNT = 9
# of the card
SHOWN = ("name", "card", "in_distribution", "out_of_distribution", "student", "items")


def draft(card: Mapping[str, Any], model: LanguageModel) -> Directions:
    """COUNT directions of as many families, and an undirected one.

    Raises:
        Misconfigured, Transient: see `LanguageModel.ask`; Transient as well where the answer is no
            such set.
    """
    shown = json.dumps({field: card[field] for field in SHOWN if card.get(field)}, indent=1)
    values = {
        "card": shown,
        "count": COUNT,
        "families": families_of(card),
        "problem": card["name"],
    }
    asked = rendered("draft.md", **values)
    answer = unfenced(model.ask(asked))
    again = "Run it again, or write the file by hand."
    try:
        found = parse_directions(answer, f"What {model.name} drafted", families_of(card))
    except Misconfigured as error:
        raise Transient(f"{error} {again}") from error
    made, families = len(found.directed), len({d.family for d in found.directed})
    if made != COUNT or families != COUNT:
        words = (
            f"What {model.name} drafted are {made} directions of {families} families instead of "
            f"{COUNT} of {COUNT}"
        )
        raise Transient(f"{words}. {again}")
    return found


def as_yaml(found: Directions, model: str) -> str:
    """The set as the file that `load_directions` reads; its first lines say where it comes from."""
    head = (
        f"# Drafted by {model}, prompts {prompts_version()[:12]}.\n# Read it before you use it: a "
        "direction is no recipe.\n"
    )
    return head + yaml.safe_dump(
        found.model_dump(mode="json"), sort_keys=False, width=100, allow_unicode=True
    )
