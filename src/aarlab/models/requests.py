"""What may be asked of a worker: the fields of each request, and how a sandbox's is confined to the two splits of its door.

The worker examines with these functions what it is sent, and the operator's side what it is about to send.
Legend: N items of a split, n items asked about.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.models.decks import Deck
from aarlab.models.head import Array
from aarlab.models.preset import Preset
from aarlab.models.results import key
from aarlab.models.strong import Question
from aarlab.models.tuned.prompts import TEMPLATE_VERSION
from aarlab.models.wire import VERSION, Message, unpacked

TRAINING_VERSION = 1  # raise it when a change makes a worker compute something else of the same request
Which = Literal["weak", "strong"]
Rows = NDArray[np.intp]
TICKET = re.compile(r"[0-9a-f]{32}")
MOST_SEED, MOST_WEIGHT = 2**31 - 1, 1e30
MOST_DEMONSTRATIONS = 256  # of one item; those that do not fit into the context are left out anyway
DOOR = "door"
"""What a door's deck is called: it has the splits student and test, whatever the operator calls them."""
DOOR_FIELDS = {
    "fine_tune": {"targets", "weights", "rows", "seed", "loss", "ticket", "answer"},
    "judge": {"split", "rows", "demonstrations"},
}


@dataclass(frozen=True)
class Tune:
    """A fine-tuning: on these rows of a split, and then the logits of these rows of these splits."""

    model: Which
    deck: Deck
    split: str
    rows_n: Rows
    targets_n: Array
    weights_n: Array | None
    seed: int
    answer: Mapping[str, Rows]
    ticket: str
    """Who asks with a loss of their own, which is known by no name; empty: cross-entropy."""

    def key(self, preset: Preset, fingerprint: str) -> str:
        """Of the result, and of the checkpoints on the way."""
        return key(
            op="fine_tune",
            prompts=TEMPLATE_VERSION,
            training=TRAINING_VERSION,
            model=fingerprint,
            recipe=recipe_of(preset, self.model).model_dump(mode="json"),
            dtype=preset.hardware.dtype,
            texts=self.deck.digests[self.split][self.rows_n],
            targets=self.targets_n,
            weights=self.weights_n,
            seed=self.seed,
            answer={split: self.deck.digests[split][rows] for split, rows in self.answer.items()},
            loss=self.ticket,
        )


@dataclass(frozen=True)
class Judge:
    """A zero-shot judgement of these questions, each after its demonstrations, which may be none."""

    model: Which
    questions: tuple[Question, ...]
    demonstrations: tuple[tuple[tuple[Question, int], ...], ...]
    """One list for all, or one a question."""


@dataclass(frozen=True)
class States:
    """The last prompt token's states of a whole split, at these shares of the model's depth."""

    model: Which
    deck: Deck
    split: str
    shares: tuple[float, ...]

    def key(self, preset: Preset, fingerprint: str) -> str:
        """Of the result."""
        texts, longest = self.deck.digests[self.split], recipe_of(preset, self.model).max_tokens
        facts = {"model": fingerprint, "texts": texts, "shares": list(self.shares), "max_tokens": longest}
        return key(op="states", prompts=TEMPLATE_VERSION, training=TRAINING_VERSION, dtype=preset.hardware.dtype, **facts)


def recipe_of(preset: Preset, model: Which):
    """How this one of the two models is fine-tuned."""
    return preset.recipe if model == "strong" else preset.teacher_recipe


def through(message: Message) -> Message:
    """The operator's request that a request from a sandbox amounts to: of the strong model, on the door's own deck.

    Raises:
        InvalidSubmission: it is more than that.
    """
    op = message.get("op")
    if not isinstance(op, str) or op not in DOOR_FIELDS:
        raise InvalidSubmission(f"op must be one of {', '.join(DOOR_FIELDS)}.", field="op")
    if extra := message.keys() - DOOR_FIELDS[op] - {"v", "op"}:
        name, there = min(extra)[:100], ", ".join(sorted(DOOR_FIELDS[op]))
        raise InvalidSubmission(f"{name} is not a field of {op}: it has {there}.", field=name)
    return message | {"model": "strong", "deck": DOOR} | ({"split": "student"} if op == "fine_tune" else {"shown": "student"})


class Fields:
    """The fields of a message, taken one after another; one that nobody takes is refused."""

    def __init__(self, message: Message) -> None:
        if type(message.get("v")) is not int or message["v"] != VERSION:
            raise InvalidSubmission(
                f"v must be {VERSION}, the version of this protocol. Install the worker's version.", field="v"
            )
        self.op = message["op"]
        self._left = {name: value for name, value in message.items() if name not in {"v", "op"}}

    def take(self, name: str) -> object:
        """A field, or None where it is missing."""
        return self._left.pop(name, None)

    def done(self) -> None:
        """Refuse what is left."""
        if self._left:
            name = min(self._left)[:100]
            raise InvalidSubmission(f"{name} is not a field of {self.op}.", field=name)


def tune_of(message: Message, decks: Mapping[str, Deck]) -> Tune:
    """A fine-tuning as it was asked for.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    deck = decks[_one_of(fields.take("deck"), decks, "deck")]
    split = _one_of(fields.take("split"), deck.splits, "split")
    rows_n = _rows(fields.take("rows"), len(deck.splits[split]), "rows")
    targets_n = _numbers(fields.take("targets"), len(rows_n), "targets")
    if targets_n.max() > 1:
        raise InvalidSubmission(f"targets must lie in 0..1, got {targets_n.max():.3g}.", field="targets")
    weights = fields.take("weights")
    weights_n = None if weights is None else _numbers(weights, len(rows_n), "weights")
    if weights_n is not None and not 1 / MOST_WEIGHT < weights_n.max() < MOST_WEIGHT:
        words = f"The largest of weights must lie in {1 / MOST_WEIGHT:g}..{MOST_WEIGHT:g}, got {weights_n.max():.3g}."
        raise InvalidSubmission(words, field="weights")
    tune = Tune(
        model=_model(fields),
        deck=deck,
        split=split,
        rows_n=rows_n,
        targets_n=targets_n,
        weights_n=weights_n,
        seed=_whole(fields.take("seed"), MOST_SEED, "seed"),
        answer=_answer(fields.take("answer"), deck),
        ticket=_ticket(fields.take("loss"), fields.take("ticket")),
    )
    fields.done()
    return tune


def judge_of(message: Message, decks: Mapping[str, Deck]) -> Judge:
    """A judgement as it was asked for. Demonstrations are rows of the split `shown`, which is the one asked about if missing.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    deck = decks[_one_of(fields.take("deck"), decks, "deck")]
    split = _one_of(fields.take("split"), deck.splits, "split")
    shown = fields.take("shown")
    shown = deck.splits[split if shown is None else _one_of(shown, deck.splits, "shown")]
    rows_n = _rows(fields.take("rows"), len(deck.splits[split]), "rows")
    lists = _demonstrations(fields.take("demonstrations"), len(rows_n), len(shown))
    judge = Judge(
        model=_model(fields),
        questions=tuple(deck.splits[split][i] for i in rows_n),
        demonstrations=tuple(tuple((shown[row], label) for row, label in one) for one in lists),
    )
    fields.done()
    return judge


def states_of(message: Message, decks: Mapping[str, Deck]) -> States:
    """States as they were asked for.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    deck = decks[_one_of(fields.take("deck"), decks, "deck")]
    shares = fields.take("shares")
    if not isinstance(shares, list) or not shares or not all(isinstance(s, float) and 0 < s <= 1 for s in shares):
        raise InvalidSubmission("shares must be a list of numbers above 0 and up to 1.", field="shares")
    states = States(_model(fields), deck, _one_of(fields.take("split"), deck.splits, "split"), tuple(shares))
    fields.done()
    return states


def _one_of(name: object, known: Mapping[str, object], field: str) -> str:
    if not isinstance(name, str) or name not in known:
        raise InvalidSubmission(
            f"{field} must name one of {', '.join(sorted(known)) or 'none'}, got {str(name)[:100]!r}.", field=field
        )
    return name


def _model(fields: Fields) -> Which:
    return cast(Which, _one_of(fields.take("model"), {"weak": 0, "strong": 0}, "model"))


def _whole(value: object, most: int, field: str) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidSubmission(f"{field} must be a whole number in 0..{most}, got {str(value)[:100]}.", field=field)
    return value


def _rows(value: object, of: int, field: str) -> Rows:
    """Rows of a split of `of` items; all of them where none are given."""
    if value is None:
        return np.arange(of)
    rows_n = unpacked(value, field)
    if rows_n.ndim != 1 or rows_n.dtype.kind != "i" or not 0 < len(rows_n) <= of:
        raise InvalidSubmission(
            f"{field} must be 1 to {of} whole numbers, got shape {rows_n.shape}, {rows_n.dtype}.", field=field
        )
    if rows_n.min() < 0 or rows_n.max() >= of:
        raise InvalidSubmission(f"{field} must lie in 0..{of - 1}, got {rows_n.min()}..{rows_n.max()}.", field=field)
    return rows_n.astype(np.intp)


def _numbers(value: object, n: int, field: str) -> Array:
    """n finite numbers that are not negative."""
    numbers_n = unpacked(value, field).astype(np.float64)
    if numbers_n.shape != (n,) or not np.isfinite(numbers_n).all():
        raise InvalidSubmission(f"{field} must be {n} finite numbers, got shape {numbers_n.shape}.", field=field)
    if numbers_n.min() < 0:
        raise InvalidSubmission(f"{field} must not be negative, got {numbers_n.min():.3g}.", field=field)
    return numbers_n


def _answer(value: object, deck: Deck) -> dict[str, Rows]:
    if not isinstance(value, dict) or not value:
        raise InvalidSubmission(
            "answer must be an object: at least one split to rows, or to null for all of them.", field="answer"
        )
    sizes = {split: len(deck.splits[_one_of(split, deck.splits, "answer")]) for split in value}
    return {split: _rows(value[split], sizes[split], f"answer.{split}") for split in sorted(value)}


def _ticket(loss: object, ticket: object) -> str:
    """Whose own loss it is; empty for the one that has a name."""
    if loss == "cross_entropy" and ticket is None:
        return ""
    if loss != "own":
        raise InvalidSubmission("loss must be cross_entropy, without a ticket, or own, with one.", field="loss")
    if not isinstance(ticket, str) or not TICKET.fullmatch(ticket):
        raise InvalidSubmission("ticket must be 32 hexadecimal digits that no other request has.", field="ticket")
    return ticket


def _demonstrations(value: object, n: int, of: int) -> list[list[tuple[int, int]]]:
    """Lists of (row, label): none, one for all items, or one an item."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) not in {0, 1, n}:
        raise InvalidSubmission(f"demonstrations must be no list, one, or {n}: one an item.", field="demonstrations")
    for one in value:
        if not isinstance(one, list) or len(one) > MOST_DEMONSTRATIONS:
            raise InvalidSubmission(f"Each of demonstrations must list at most {MOST_DEMONSTRATIONS}.", field="demonstrations")
        for pair in one:
            if not isinstance(pair, list) or len(pair) != 2:
                raise InvalidSubmission("A demonstration must be [row, label].", field="demonstrations")
            _whole(pair[0], of - 1, "demonstrations")
            _whole(pair[1], 1, "demonstrations")
    return [[(row, label) for row, label in one] for one in value]
