"""Where researchers start: prompts that are files, and directions that are deliberately vague.

Directed: each researcher gets a direction of its own, a larger fleet goes round again; undirected:
all get the same. The full text that a researcher got, and the hash of all prompt files, are written
in the ledger.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field, model_validator

from aarlab.core import quotas
from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.operation_records import IN_FOLDER, families_of
from aarlab.core.plain_text import read_text
from aarlab.core.records import STUDY_FAMILIES, FamilyName, Record
from aarlab.core.strict_yaml import Document, record_of

PROMPTS = Path(__file__).parent / "prompts"
SHIPPED = PROMPTS / "directions" / "weak-to-strong.yaml"
ANY_PROBLEM = PROMPTS / "directions" / "any-problem.yaml"
FEWEST = 2  # of directions: with one, directed and undirected are the same thing
Text = Annotated[str, Field(min_length=20, max_length=2_000)]


class Direction(Record):
    """One starting prompt, and the family that it points at; None points nowhere."""

    family: FamilyName | None
    prompt: Text


class Directions(Record):
    """A set of directions for one kind of problem: the same record in the YAML file and in what a
    model drafts."""

    problem: Annotated[str, Field(min_length=1, max_length=200)]
    undirected: Text
    directed: Annotated[
        tuple[Direction, ...], Field(min_length=FEWEST, max_length=256, strict=False)
    ]

    @model_validator(mode="after")
    def _differ(self) -> "Directions":
        prompts = [d.prompt.casefold() for d in self.directed]
        if len(set(prompts)) < len(prompts):
            raise ValueError(
                "two directions have the same prompt; directed researchers must begin differently"
            )
        return self

    def of(self, number: int, *, directed: bool) -> Direction:
        """The direction of researcher `number` (0-based)."""
        return (
            self.directed[number % len(self.directed)]
            if directed
            else Direction(family=None, prompt=self.undirected)
        )


class Terms(Record):
    """What a campaign grants one researcher, as its prompt states it."""

    name: str
    researchers: int = 1
    mode: Literal["predictions", "code"] = "predictions"
    minutes: float | None = None  # wall clock of the whole campaign
    experiments: int | None = None
    budget: Budget = Budget()  # its own
    campaign_budget: Budget = Budget()
    sandbox: str = ""  # what its sandbox may use, as text
    model_api: bool = False  # is it a language model that is reached through the gateway?
    home: str = "/home/researcher"
    data: str = "/data"
    brief: str = "/brief"
    strong: str = ""  # the socket of the strong model, where it can be fine-tuned
    tuned: bool = False  # whether it can be fine-tuned where submitted code runs

    def limits(self) -> list[str]:
        """What may be spent, a sentence a line without its full stop."""
        lines = [f"You: {words}" for words in _amounts(self.budget)]
        lines += [f"All researchers together: {words}" for words in _amounts(self.campaign_budget)]
        if self.minutes is not None:
            lines.append(f"The campaign ends {self.minutes:g} minutes after its start")
        if self.experiments is not None:
            lines.append(f"You: {self.experiments} experiments")
        lines.append(quotas.WORDS)
        if self.sandbox:
            lines.append(f"Your sandbox: {self.sandbox}; a program that takes more memory is ended")
        return lines


def _amounts(budget: Budget) -> list[str]:
    units = {
        "hours": "{:g} hours",
        "tokens": "{:,} tokens",
        "usd": "${:.2f}",
        "cpu_hours": "{:g} hours of processor time",
        "device_hours": "{:g} device hours",
    }
    return [
        words.format(given)
        for name, words in units.items()
        if (given := getattr(budget, name)) is not None
    ]


def load_directions(path: Path, families: Sequence[str] = STUDY_FAMILIES) -> Directions:
    """A set of directions from its YAML file; `families`: those of the problem.

    Raises:
        Misconfigured: no such file, not YAML, a field that is unknown or missing, or a family that
            is none of the problem's.
    """
    text = read_text(path, f"Name a YAML file like {SHIPPED}.", "the directions")
    return parse_directions(text, str(path), families)


def parse_directions(text: str, where: str, families: Sequence[str] = STUDY_FAMILIES) -> Directions:
    """The same from its text; `where` stands in front of what is wrong with it."""
    try:
        document = Document(text, where)
    except Misconfigured as error:
        raise Misconfigured(f"{error} {SHIPPED.name} shows the form.") from error
    found = record_of(Directions, document, where)
    for number, one in enumerate(found.directed):
        if one.family is not None and one.family not in families:
            raise Misconfigured(
                f"{where}: directed.{number}.family: '{one.family}' is none of the problem's "
                f"families. Name one of: {', '.join(families)}; or null."
            )
    return found


@cache
def shipped(kind: object = None) -> Directions:
    """The nine that ship, for weak-to-strong supervision, or for any other problem."""
    return load_directions(ANY_PROBLEM if kind == IN_FOLDER else SHIPPED)


def direction(
    number: int, *, directed: bool, directions: Directions | None = None, kind: object = None
) -> Direction:
    """The direction of researcher `number` (0-based) in a set; in the one that ships for the
    problem's kind if none is given."""
    return (directions or shipped(kind)).of(number, directed=directed)


def starting_prompt(card: Mapping[str, Any], terms: Terms, start: Direction) -> str:
    """The whole of what a researcher reads at its start: problem, resources, limits, rules,
    direction; no workflow.

    Raises:
        Misconfigured: the problem's card lacks what the prompt states.
    """
    in_folder = card.get("kind") == IN_FOLDER
    fields = ("name", "card", "objectives", "submission", "baselines", "run", "combine")
    fields = fields if in_folder else ("name", "card", "in_distribution", "out_of_distribution")
    if missing := [field for field in fields if not card.get(field)]:
        raise Misconfigured(
            f"The problem's card has no {', '.join(missing)}, which the starting prompt states. "
            "Publish it again."
        )
    climbed = sum(o["role"] == "climb" for o in card.get("objectives", ()))
    optional = {"student": None, "items": None, "climbed": climbed}
    fields = {name: getattr(terms, name) for name in Terms.model_fields}
    return rendered(
        "start_folder.md" if in_folder else "start.md",
        **fields,
        card=optional | dict(card),
        limits=terms.limits(),
        families=families_of(card),
        direction=start.prompt,
    )


def go_on_prompt(home: str = "/home/researcher") -> str:
    """What a researcher reads when it is started again with more to do."""
    return rendered("go_on.md", home=home)


def rendered(file: str, **values: Any) -> str:
    """A prompt file with its values put in, ending in one newline."""
    # no HTML
    environment = Environment(
        loader=FileSystemLoader(PROMPTS), undefined=StrictUndefined, autoescape=False
    )
    return environment.get_template(file).render(**values).strip() + "\n"


def prompts_version() -> str:
    """SHA-256, in hexadecimal, over the names and bytes of all prompt files that ship."""
    digest = hashlib.sha256()
    for path in sorted(p for p in PROMPTS.rglob("*") if p.suffix in {".md", ".yaml"}):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(PROMPTS).as_posix()} {len(data)}\n".encode() + data)
    return digest.hexdigest()
