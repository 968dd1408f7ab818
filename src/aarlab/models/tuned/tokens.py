"""Items as token ids. An item that is too long is cut in the middle of its longest parts; none is
dropped. Without torch.

Legend: N items, V parts of an item that may be cut, T tokens.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.files import open_whole
from aarlab.core.own_code import code_of
from aarlab.models.student_contract import Question
from aarlab.models.tuned.prompts import Part, demonstration, label_words, parts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = NDArray[np.int32]
Demonstrations = Sequence[Sequence[tuple[Question, int]]]
"""Solved items to precede: none, one list for all items, or one list an item."""


@dataclass(frozen=True)
class Tokenised:
    """N prompts as ids, whether each was cut, the ids of the two label words (0, 1), and of the end
    of a text."""

    ids: list[Ids]
    cut_N: NDArray[np.bool_]
    label_ids: tuple[int, int]
    eos_id: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths_N(self) -> NDArray[np.intp]:
        return np.array([len(ids) for ids in self.ids], dtype=np.intp)

    def take(self, rows: Iterable[int]) -> "Tokenised":
        """The given items, in the given order."""
        rows = list(rows)
        return Tokenised([self.ids[i] for i in rows], self.cut_N[rows], self.label_ids, self.eos_id)


def tokenise(
    questions: Sequence[Question],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_tokens: int,
    demonstrations: Demonstrations = (),
    cache: Path | None = None,
) -> Tokenised:
    """Prompts of at most `max_tokens` - 1 ids each, so that a label word still fits after them.

    Where the tokenizer has a chat template whose turns end with its own end of text, the prompt is
    the user's turn and the label word begins the answer. Demonstrations come first, whole and in
    order, as long as they fit. What was tokenised is kept in the folder `cache`, under a hash of
    all that it depends on.

    Raises:
        Misconfigured: a label word is not one token, the tokenizer has no end of text, or
            `max_tokens` leaves no room.
    """
    if len(demonstrations) not in (0, 1, len(questions)):
        raise Misconfigured(
            f"{len(demonstrations)} lists of demonstrations for {len(questions)} items: give one, "
            "or one each."
        )
    framed = PromptFrame(tokenizer)
    if cache is None:
        return _tokenise(questions, framed, max_tokens, demonstrations)
    path = cache / f"{_fingerprint(questions, framed, max_tokens, demonstrations)}.npz"
    if not path.exists():
        _write(path, _tokenise(questions, framed, max_tokens, demonstrations))
    return _read(path)


class PromptFrame:
    """The tokenizer, and the ids around a prompt: of its chat template, or of the beginning of a
    text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        if tokenizer.eos_token_id is None or tokenizer.eos_token is None:
            raise Misconfigured(
                "The model's tokenizer has no end-of-text token, and the fine-tuning trains one."
            )
        self.tokenizer, self.eos_id = tokenizer, int(cast(int, tokenizer.eos_token_id))
        around = self._template()
        self.chat = around is not None
        if around is None:
            # the beginning of a text, for tokenizers that mark it
            start = tokenizer("")["input_ids"]
            self.before, self.after = [i for i in start if i == tokenizer.bos_token_id][:1], []
        else:
            self.before, self.after = (
                tokenizer(t, add_special_tokens=False)["input_ids"] for t in around
            )

    def _template(self) -> tuple[str, str] | None:
        if not self.tokenizer.chat_template:
            return None
        mark = "\x00item\x00"
        turn = [{"role": "user", "content": mark}]
        whole = cast(
            str,
            self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True),
        )
        before, found, after = whole.partition(mark)
        return (before, after) if found and str(self.tokenizer.eos_token) in after else None

    def word(self, word: str) -> int:
        """The id of a label word where it answers a prompt.

        Raises:
            Misconfigured: it is more than one token.
        """
        text = word.strip() if self.chat else word
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise Misconfigured(
                f"'{text}' is {len(ids)} tokens to this model's tokenizer; a label word must be "
                "one.",
                ids=ids,
            )
        return ids[0]

    def encode(self, texts: Sequence[str]) -> dict[str, Ids]:
        """Every distinct text's ids, in one call. Marks of special tokens inside a text are read as
        plain text."""
        distinct = list(dict.fromkeys(texts))
        rows = (
            self.tokenizer(distinct, add_special_tokens=False, split_special_tokens=True)[
                "input_ids"
            ]
            if distinct
            else []
        )
        return {
            text: np.array(row, dtype=np.int32) for text, row in zip(distinct, rows, strict=True)
        }


def _tokenise(
    questions: Sequence[Question],
    frame: PromptFrame,
    max_tokens: int,
    demonstrations: Demonstrations,
) -> Tokenised:
    words = label_words(questions)
    label_ids = (frame.word(words.no), frame.word(words.yes))
    pieces = [parts(q) for q in questions]
    shown = [_shown(one) for one in demonstrations]
    texts = [p.text for piece in pieces for p in piece] + [
        t for one in shown for demo in one for t in demo
    ]
    ids_of = frame.encode(texts)
    room = max_tokens - 1 - len(frame.before) - len(frame.after)
    ids, cut = [], []
    for n, piece in enumerate(pieces):
        body, was_cut = _fitted(piece, ids_of, room)
        before = (
            _as_many_as_fit(shown[n if len(shown) > 1 else 0], ids_of, room - len(body))
            if shown
            else []
        )
        ids.append(np.concatenate([frame.before, *before, body, frame.after]).astype(np.int32))
        cut.append(was_cut)
    return Tokenised(ids, np.array(cut, dtype=bool), label_ids, frame.eos_id)


def _shown(demonstrations: Sequence[tuple[Question, int]]) -> list[list[str]]:
    """Each demonstration's texts."""
    solved = [demonstration(question, label) for question, label in demonstrations]
    return [[*(p.text for p in pieces), word, gap] for pieces, word, gap in solved]


def _as_many_as_fit(shown: list[list[str]], ids_of: dict[str, Ids], room: int) -> list[Ids]:
    taken: list[Ids] = []
    for texts in shown:
        ids = np.concatenate([ids_of[t] for t in texts])
        if len(ids) > room:
            break
        taken.append(ids)
        room -= len(ids)
    return taken


def _fitted(piece: list[Part], ids_of: dict[str, Ids], room: int) -> tuple[Ids, bool]:
    """The item's ids, at most `room` of them, and whether that took a cut."""
    ids = [ids_of[p.text] for p in piece]
    own = [len(i) for i, p in zip(ids, piece, strict=True) if p.of_item]
    fixed = sum(map(len, ids)) - sum(own)
    if fixed + len(own) > room:
        raise Misconfigured(
            f"The fixed part of the prompt needs {fixed} of {room} tokens. Raise max_tokens.",
            room=room,
        )
    cap = common_cap(own, room - fixed)
    kept = [_ends(i, cap) if p.of_item else i for i, p in zip(ids, piece, strict=True)]
    return np.concatenate(kept), cap < max(own, default=0)


def common_cap(lengths_V: Sequence[int], room: int) -> int:
    """The largest cap under which the lengths, each cut to it, fit into `room` together:
    water-filling."""
    left, parts_left = room, len(lengths_V)
    for length in sorted(lengths_V):
        if length * parts_left > left:
            return left // parts_left
        left, parts_left = left - length, parts_left - 1
    return max(lengths_V, default=0)


def _ends(ids: Ids, cap: int) -> Ids:
    """The first and the last half of `cap` ids; the first is the longer one."""
    return (
        ids
        if len(ids) <= cap
        else np.concatenate([ids[: cap - cap // 2], ids[len(ids) - cap // 2 :]])
    )


def _fingerprint(
    questions: Sequence[Question],
    frame: PromptFrame,
    max_tokens: int,
    demonstrations: Demonstrations,
) -> str:
    asked = [[q.question, q.choices, q.critique] for q in questions]
    shown = [
        [[q.question, q.choices, q.critique, label] for q, label in one] for one in demonstrations
    ]
    around = [list(map(int, frame.before)), list(map(int, frame.after)), frame.eos_id]
    vocabulary = hashlib.sha256(frame.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    identity = json.dumps([code_of(__name__).digest, vocabulary, around, max_tokens, asked, shown])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _write(path: Path, tokens: Tokenised) -> None:
    words = np.array([*tokens.label_ids, tokens.eos_id])
    with open_whole(path) as file:
        np.savez(
            file,
            flat_T=np.concatenate(tokens.ids),
            lengths_N=tokens.lengths_N,
            cut_N=tokens.cut_N,
            words=words,
        )


def _read(path: Path) -> Tokenised:
    with np.load(path) as stored:
        ids = np.split(stored["flat_T"], np.cumsum(stored["lengths_N"])[:-1])
        no, yes, eos_id = map(int, stored["words"])
        return Tokenised(ids, stored["cut_N"], (no, yes), eos_id)
