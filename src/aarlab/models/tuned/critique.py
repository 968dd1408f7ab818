"""What the critic reads and what of its text the teacher may read. Without torch."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aarlab.core.errors import Misconfigured
from aarlab.models.student_contract import Question
from aarlab.models.tuned.prompts import Part, parts
from aarlab.models.tuned.tokens import PromptFrame, common_cap

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAIR = (
    "An expert reviewed both answers, step by step: what is good in each, which mistakes it makes, "
    "and which is better."
)
SINGLE = (
    "An expert checked the answer, step by step: what holds, which mistakes it makes, and whether "
    "it is correct."
)
ASKED = {2: f"\n\n{PAIR}\nReview:\n", 1: f"\n\n{SINGLE}\nReview:\n"}
FORMS = (
    r"(?:question|answer(?: [ab])?|critique|review)\s*:|which answer is better|is the answer "
    r"correct"
)
SCAFFOLD = re.compile(rf"^(?:{FORMS})|\bverdict\s*:", re.IGNORECASE)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
THINGS = (
    "answers?|responses?|options?|solutions?|first|second|former|latter|one|both|neither|overall"
    "|conclusion|it|this"
)
SUBJECT = re.compile(rf"\b(?:[AB]|(?i:{THINGS}))\b")
OF_TWO = (
    r"better|best|worse|worst|superior|inferior|stronger|weaker|prefer\w*|wins?|winner"
    r"|favou?r\w*|choose|chosen"
)
OF_ONE = "correct|incorrect|right|wrong"
MORE = {2: OF_TWO, 1: "true|false|valid|invalid|yes|no"}
OPINION = {n: re.compile(rf"\b(?:{OF_ONE}|{more})\b", re.IGNORECASE) for n, more in MORE.items()}


def critique_prompts(
    questions: Sequence[Question], tokenizer: "PreTrainedTokenizerFast", *, max_tokens: int
) -> list[str]:
    """The item without its critique, and the words after which a critique follows: texts of at most
    about `max_tokens` tokens. Items that are too long are cut as in `tokenise`.

    Raises:
        Misconfigured: `max_tokens` leaves no room for the fixed words.
    """
    frame = PromptFrame(tokenizer)
    pieces = [
        [*parts(replace(q, critique=""))[:-1], Part(ASKED[len(q.choices)])] for q in questions
    ]
    ids_of = frame.encode([p.text for piece in pieces for p in piece])
    texts = []
    for piece in pieces:
        own = [len(ids_of[p.text]) for p in piece if p.of_item]
        room = max_tokens - sum(len(ids_of[p.text]) for p in piece if not p.of_item)
        if room < len(own):
            raise Misconfigured(
                f"The critic's fixed words alone leave {room} of {max_tokens} tokens. Raise "
                "prompt_tokens."
            )
        cap = common_cap(own, room)
        texts.append(
            "".join(
                _ends(p, ids_of[p.text].tolist(), cap, tokenizer) if p.of_item else p.text
                for p in piece
            )
        )
    return texts


def _ends(part: Part, ids: list[int], cap: int, tokenizer: "PreTrainedTokenizerFast") -> str:
    """The text whole, or of its ids the first and the last half of `cap`."""
    if len(ids) <= cap:
        return part.text
    return tokenizer.decode(ids[: cap - cap // 2]) + tokenizer.decode(ids[len(ids) - cap // 2 :])


def without_verdict(text: str, choices: int) -> str:
    """A critique as the teacher reads it, a line a sentence: what is said of the answers, without
    the critic's verdict on them.

    The rule: the text ends where it goes on to another form (`Verdict:`, `Question:`, ...), and a
    sentence goes, whole, if it names a side or the answer and says that it is better or worse (of
    two), right or wrong. A teacher that only copied a verdict would label as the strong model does,
    and learn nothing from reasons. The rule goes by words: it drops some harmless sentences, and a
    verdict in other words gets through.
    """
    kept = []
    for sentence in filter(None, (s.strip() for s in SENTENCE.split(text))):
        if SCAFFOLD.search(sentence):
            break
        if not (SUBJECT.search(sentence) and OPINION[choices].search(sentence)):
            kept.append(sentence)
    return "\n".join(kept)
