"""The texts that workers read, on disk by their content: the operator writes a deck once and tells each worker where it is.

Legend: N items of a split.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.models.results import digests, write
from aarlab.models.strong import Question


@dataclass(frozen=True)
class Deck:
    """Named splits of questions, and the SHA-256 of each question, (N, 32)."""

    splits: Mapping[str, tuple[Question, ...]]
    digests: Mapping[str, NDArray[np.uint8]]


def deck_of(splits: Mapping[str, Sequence[Question]]) -> Deck:
    """A deck in memory.

    Raises:
        Misconfigured: it has no split, or an empty one.
    """
    if not splits or not all(splits.values()):
        raise Misconfigured("A deck needs at least one split, and each split at least one question.")
    return Deck({s: tuple(q) for s, q in splits.items()}, {s: digests(q) for s, q in splits.items()})


def write_deck(deck: Deck, folder: Path) -> Path:
    """The file of a deck, named after its content."""
    text = json.dumps({s: [asdict(q) for q in questions] for s, questions in deck.splits.items()}).encode()
    path = folder / f"{hashlib.sha256(text).hexdigest()}.json"
    if not path.exists():
        write(path, text)
    return path


def read_deck(path: Path) -> Deck:
    """The deck in a file that `write_deck` wrote.

    Raises:
        Misconfigured: the file is missing or damaged.
    """
    try:
        said = json.loads(path.read_bytes())
        made = {s: [Question(**q | {"choices": tuple(q["choices"])}) for q in questions] for s, questions in said.items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Misconfigured(f"{path} is no deck ({error}). Let the operator write it again.") from error
    return deck_of(made)
