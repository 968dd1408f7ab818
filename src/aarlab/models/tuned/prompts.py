"""What a model reads of an item: fixed words around the item's own parts, and the two words that
answer it. Without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aarlab.core.errors import Misconfigured
from aarlab.models.student_contract import Question


class Part(NamedTuple):
    """A piece of a prompt. Only pieces `of_item` are cut when an item is too long."""

    text: str
    of_item: bool = False


@dataclass(frozen=True)
class LabelWords:
    """What is said for label 0 and for label 1; the leading space belongs to the word where text,
    not a turn, precedes it."""

    no: str
    yes: str


PAIR, SINGLE = LabelWords(" A", " B"), LabelWords(" No", " Yes")


def label_words(questions: Sequence[Question]) -> LabelWords:
    """The words of all the questions: of pairs (label 1: the second answer is the better one) or of
    single choices.

    Raises:
        Misconfigured: there is no question, they are of both kinds, or one has neither one nor two
            choices.
    """
    counts = sorted({len(q.choices) for q in questions})
    if counts not in ([1], [2]):
        raise Misconfigured(
            f"Items must all have two choices, or all have one; their counts are {counts}.",
            counts=counts,
        )
    return PAIR if counts == [2] else SINGLE


def parts(question: Question) -> list[Part]:
    """The item's prompt in pieces; the label word comes straight after the last one."""
    pieces = (
        [Part("Question:\n"), Part(question.question, True), Part("\n\n")]
        if question.question
        else []
    )
    if len(question.choices) == 2:
        first, second = question.choices
        pieces += [
            Part("Answer A:\n"),
            Part(first, True),
            Part("\n\nAnswer B:\n"),
            Part(second, True),
        ]
    else:
        pieces += [Part("Answer:\n"), Part(question.choices[0], True)]
    if question.critique:
        pieces += [Part("\n\nCritique:\n"), Part(question.critique, True)]
    asked = (
        "Which answer is better, A or B?"
        if len(question.choices) == 2
        else "Is the answer correct, Yes or No?"
    )
    return [*pieces, Part(f"\n\n{asked}\nVerdict:")]


def demonstration(question: Question, label: int) -> tuple[list[Part], str, str]:
    """A solved item that precedes another: its pieces, its label word and what separates it from
    the next."""
    words = label_words([question])
    return parts(question), words.yes if label else words.no, "\n\n\n"
