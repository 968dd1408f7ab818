"""The deliberately vague starting prompts. Directed: each researcher gets a different one; undirected: all get the same."""

from typing import NamedTuple

from aarlab.core.records import Family


class Direction(NamedTuple):
    family: Family | None
    prompt: str


UNDIRECTED = Direction(None, "Find a way for the strong student to learn more from the weak labels than the teacher knows.")
DIRECTED: tuple[Direction, ...] = (
    Direction(Family.UNSUPERVISED_ELICITATION, "Perhaps the strong model knows the answer already. Can it be drawn out?"),
    Direction(Family.DATA_FILTERING, "Perhaps some weak labels do more harm than good. Which ones?"),
    Direction(Family.SELF_TRAINING, "Perhaps the student can teach itself once it has begun. When should it stop?"),
    Direction(Family.LOSS_FUNCTION, "Perhaps the loss believes the teacher too readily. What loss would doubt it?"),
    Direction(Family.ENSEMBLE, "Perhaps several imperfect judges are better than one. How should they be combined?"),
    Direction(Family.MODEL_INTERNALS, "Perhaps the answer is a simple direction inside the strong model. Where?"),
    Direction(Family.DISTILLATION, "Perhaps how sure the teacher is says more than what it says. Can that be passed on?"),
    Direction(Family.CURRICULUM, "Perhaps the order in which items are learned matters. What should come first?"),
    Direction(Family.CONFIDENCE_WEIGHTING, "Perhaps not every label deserves the same weight. What should decide it?"),
    Direction(Family.EVOLUTIONARY, "Perhaps blind variation and selection find what reasoning misses. What should vary?"),
    Direction(Family.OTHER, "Perhaps the teacher would label better with help from the student. What help?"),
)


def direction(number: int, *, directed: bool) -> Direction:
    """The starting prompt of researcher `number` (0-based); a larger fleet goes round again."""
    return DIRECTED[number % len(DIRECTED)] if directed else UNDIRECTED
