"""The requests to a worker: the fields of each, and how a sandbox's requests are limited to the two
splits of its socket.

The worker checks the requests that it receives with these functions, and the operator's side those
that it sends. Legend: N items of a split, n items asked about.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.own_code import CodeRecord, code_of, stamped
from aarlab.models.head_training import Array
from aarlab.models.item_batches import ItemBatch
from aarlab.models.preset import Preset
from aarlab.models.results import key
from aarlab.models.student_contract import Question
from aarlab.models.wire import VERSION, Message, unpacked

# by hand, in older versions: with them, what these made is found and named
COUNTED = {"prompts": 1, "training": 1}
Which = Literal["weak", "strong"]
Rows = NDArray[np.intp]
TICKET = re.compile(r"[0-9a-f]{32}")
MOST_SEED, MOST_WEIGHT = 2**31 - 1, 1e30
MOST_DEMONSTRATIONS = 256  # of one item; those that do not fit into the context are left out anyway
SOCKET_BATCH = "of the socket"
"""Name of the item batch of a sandbox's socket. Its splits are student and test, whatever the
operator's names are."""
SOCKET_FIELDS = {
    "fine_tune": {"targets", "weights", "rows", "seed", "loss", "ticket", "answer"},
    "judge": {"split", "rows", "demonstrations"},
}


@dataclass(frozen=True)
class TuneRequest:
    """A fine-tuning: on these rows of a split, and then the logits of these rows of these
    splits."""

    model: Which
    item_batch: ItemBatch
    split: str
    rows_n: Rows
    targets_n: Array
    weights_n: Array | None
    seed: int
    answer: Mapping[str, Rows]
    ticket: str
    """Who asks with a loss of their own, which is known by no name; empty: cross-entropy."""

    def key(self, preset: Preset, fingerprint: str) -> str:
        """Of what is asked, without the code that answers."""
        return key(
            **COUNTED,
            op="fine_tune",
            model=fingerprint,
            recipe=recipe_of(preset, self.model).model_dump(mode="json"),
            dtype=preset.hardware.dtype,
            texts=self.item_batch.digests[self.split][self.rows_n],
            targets=self.targets_n,
            weights=self.weights_n,
            seed=self.seed,
            answer={
                split: self.item_batch.digests[split][rows] for split, rows in self.answer.items()
            },
            loss=self.ticket,
        )


@dataclass(frozen=True)
class JudgeRequest:
    """A zero-shot judgement of these questions, each after its demonstrations, which may be
    none."""

    model: Which
    questions: tuple[Question, ...]
    demonstrations: tuple[tuple[tuple[Question, int], ...], ...]
    """One list for all, or one a question."""


@dataclass(frozen=True)
class StatesRequest:
    """The last prompt token's states of a whole split, at these shares of the model's depth."""

    model: Which
    item_batch: ItemBatch
    split: str
    shares: tuple[float, ...]

    def key(self, preset: Preset, fingerprint: str) -> str:
        """Of what is asked, without the code that answers."""
        texts, longest = (
            self.item_batch.digests[self.split],
            recipe_of(preset, self.model).max_tokens,
        )
        facts = {
            "model": fingerprint,
            "texts": texts,
            "shares": list(self.shares),
            "max_tokens": longest,
        }
        return key(**COUNTED, op="states", dtype=preset.hardware.dtype, **facts)


def worker_code() -> CodeRecord:
    """What decides the numbers of a worker's answers."""
    return code_of("aarlab.models.tuned.worker_operations")


def kept_as(asked: TuneRequest | StatesRequest, preset: Preset, fingerprint: str) -> str:
    """The name of a result, and of the checkpoints on the way: what is asked, and the code that
    answers."""
    return stamped(asked.key(preset, fingerprint), worker_code())


def recipe_of(preset: Preset, model: Which):
    """How this one of the two models is fine-tuned."""
    return preset.recipe if model == "strong" else preset.teacher_recipe


def through(message: Message) -> Message:
    """The operator's request for a request from a sandbox: to the strong model, on the socket's own
    item batch.

    Raises:
        InvalidSubmission: a sandbox may not send the operation or the field.
    """
    op = message.get("op")
    if not isinstance(op, str) or op not in SOCKET_FIELDS:
        raise InvalidSubmission(f"op must be one of {', '.join(SOCKET_FIELDS)}.", field="op")
    if extra := message.keys() - SOCKET_FIELDS[op] - {"v", "op"}:
        name, there = min(extra)[:100], ", ".join(sorted(SOCKET_FIELDS[op]))
        raise InvalidSubmission(f"{name} is not a field of {op}: it has {there}.", field=name)
    return (
        message
        | {"model": "strong", "deck": SOCKET_BATCH}
        | ({"split": "student"} if op == "fine_tune" else {"shown": "student"})
    )


class Fields:
    """The fields of a message, taken one after another; one that nobody takes is refused."""

    def __init__(self, message: Message) -> None:
        if type(message.get("v")) is not int or message["v"] != VERSION:
            raise InvalidSubmission(
                f"v must be {VERSION}, the version of this protocol. Install the worker's version.",
                field="v",
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


def tune_of(message: Message, item_batches: Mapping[str, ItemBatch]) -> TuneRequest:
    """A fine-tuning as it was asked for.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    item_batch = item_batches[_one_of(fields.take("deck"), item_batches, "deck")]
    split = _one_of(fields.take("split"), item_batch.splits, "split")
    rows_n = _rows(fields.take("rows"), len(item_batch.splits[split]), "rows")
    targets_n = _numbers(fields.take("targets"), len(rows_n), "targets")
    if targets_n.max() > 1:
        raise InvalidSubmission(
            f"targets must lie in 0..1, got {targets_n.max():.3g}.", field="targets"
        )
    weights = fields.take("weights")
    weights_n = None if weights is None else _numbers(weights, len(rows_n), "weights")
    if weights_n is not None and not 1 / MOST_WEIGHT < weights_n.max() < MOST_WEIGHT:
        words = (
            f"The largest of weights must lie in {1 / MOST_WEIGHT:g}..{MOST_WEIGHT:g}, got "
            f"{weights_n.max():.3g}."
        )
        raise InvalidSubmission(words, field="weights")
    tune = TuneRequest(
        model=_model(fields),
        item_batch=item_batch,
        split=split,
        rows_n=rows_n,
        targets_n=targets_n,
        weights_n=weights_n,
        seed=_whole(fields.take("seed"), MOST_SEED, "seed"),
        answer=_answer(fields.take("answer"), item_batch),
        ticket=_ticket(fields.take("loss"), fields.take("ticket")),
    )
    fields.done()
    return tune


def judge_of(message: Message, item_batches: Mapping[str, ItemBatch]) -> JudgeRequest:
    """A judgement as it was asked for. Demonstrations are rows of the split `shown`, which is the
    one asked about if missing.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    item_batch = item_batches[_one_of(fields.take("deck"), item_batches, "deck")]
    split = _one_of(fields.take("split"), item_batch.splits, "split")
    shown = fields.take("shown")
    shown = item_batch.splits[
        split if shown is None else _one_of(shown, item_batch.splits, "shown")
    ]
    rows_n = _rows(fields.take("rows"), len(item_batch.splits[split]), "rows")
    lists = _demonstrations(fields.take("demonstrations"), len(rows_n), len(shown))
    judge = JudgeRequest(
        model=_model(fields),
        questions=tuple(item_batch.splits[split][i] for i in rows_n),
        demonstrations=tuple(tuple((shown[row], label) for row, label in one) for one in lists),
    )
    fields.done()
    return judge


def states_of(message: Message, item_batches: Mapping[str, ItemBatch]) -> StatesRequest:
    """States as they were asked for.

    Raises:
        InvalidSubmission: a field is missing, unknown or out of range; it is named.
    """
    fields = Fields(message)
    item_batch = item_batches[_one_of(fields.take("deck"), item_batches, "deck")]
    shares = fields.take("shares")
    if (
        not isinstance(shares, list)
        or not shares
        or not all(isinstance(s, float) and 0 < s <= 1 for s in shares)
    ):
        raise InvalidSubmission(
            "shares must be a list of numbers above 0 and at most 1.", field="shares"
        )
    states = StatesRequest(
        _model(fields),
        item_batch,
        _one_of(fields.take("split"), item_batch.splits, "split"),
        tuple(shares),
    )
    fields.done()
    return states


def _one_of(name: object, known: Mapping[str, object], field: str) -> str:
    if not isinstance(name, str) or name not in known:
        raise InvalidSubmission(
            f"{field} must name one of {', '.join(sorted(known)) or 'none'}, got "
            f"{str(name)[:100]!r}.",
            field=field,
        )
    return name


def _model(fields: Fields) -> Which:
    return cast(Which, _one_of(fields.take("model"), {"weak": 0, "strong": 0}, "model"))


def _whole(value: object, most: int, field: str) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidSubmission(
            f"{field} must be a whole number in 0..{most}, got {str(value)[:100]}.", field=field
        )
    return value


def _rows(value: object, of: int, field: str) -> Rows:
    """Rows of a split of `of` items; all of them where none are given."""
    if value is None:
        return np.arange(of)
    rows_n = unpacked(value, field)
    if rows_n.ndim != 1 or rows_n.dtype.kind != "i" or not 0 < len(rows_n) <= of:
        raise InvalidSubmission(
            f"{field} must be 1 to {of} whole numbers, got shape {rows_n.shape}, {rows_n.dtype}.",
            field=field,
        )
    if rows_n.min() < 0 or rows_n.max() >= of:
        raise InvalidSubmission(
            f"{field} must lie in 0..{of - 1}, got {rows_n.min()}..{rows_n.max()}.", field=field
        )
    return rows_n.astype(np.intp)


def _numbers(value: object, n: int, field: str) -> Array:
    """n finite numbers that are not negative."""
    numbers_n = unpacked(value, field).astype(np.float64)
    if numbers_n.shape != (n,) or not np.isfinite(numbers_n).all():
        raise InvalidSubmission(
            f"{field} must be {n} finite numbers, got shape {numbers_n.shape}.", field=field
        )
    if numbers_n.min() < 0:
        raise InvalidSubmission(
            f"{field} must not be negative, got {numbers_n.min():.3g}.", field=field
        )
    return numbers_n


def _answer(value: object, item_batch: ItemBatch) -> dict[str, Rows]:
    if not isinstance(value, dict) or not value:
        raise InvalidSubmission(
            "answer must be an object: at least one split to rows, or to null for all of them.",
            field="answer",
        )
    sizes = {
        split: len(item_batch.splits[_one_of(split, item_batch.splits, "answer")])
        for split in value
    }
    return {split: _rows(value[split], sizes[split], f"answer.{split}") for split in sorted(value)}


def _ticket(loss: object, ticket: object) -> str:
    """Whose own loss it is; empty for the one that has a name."""
    if loss == "cross_entropy" and ticket is None:
        return ""
    if loss != "own":
        raise InvalidSubmission(
            "loss must be cross_entropy (without a ticket) or own (with a ticket).", field="loss"
        )
    if not isinstance(ticket, str) or not TICKET.fullmatch(ticket):
        raise InvalidSubmission(
            "ticket must be 32 hexadecimal digits, different for each request.", field="ticket"
        )
    return ticket


def _demonstrations(value: object, n: int, of: int) -> list[list[tuple[int, int]]]:
    """Lists of (row, label): none, one for all items, or one an item."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) not in {0, 1, n}:
        raise InvalidSubmission(
            f"demonstrations must hold no list, one list, or {n} lists (one for each item).",
            field="demonstrations",
        )
    for one in value:
        if not isinstance(one, list) or len(one) > MOST_DEMONSTRATIONS:
            raise InvalidSubmission(
                f"Each list of demonstrations may hold at most {MOST_DEMONSTRATIONS}.",
                field="demonstrations",
            )
        for pair in one:
            if not isinstance(pair, list) or len(pair) != 2:
                raise InvalidSubmission(
                    "A demonstration must be [row, label].", field="demonstrations"
                )
            _whole(pair[0], of - 1, "demonstrations")
            _whole(pair[1], 1, "demonstrations")
    return [[(row, label) for row, label in one] for one in value]
