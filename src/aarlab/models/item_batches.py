"""Batches of items that workers read. The operator's process writes each batch to a file that is
named by its content, and sends the file's path to every worker.

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
from aarlab.core.files import write_whole
from aarlab.models.results import digests
from aarlab.models.student_contract import Question


@dataclass(frozen=True)
class ItemBatch:
    """Named splits of questions, and the SHA-256 of each question, (N, 32)."""

    splits: Mapping[str, tuple[Question, ...]]
    digests: Mapping[str, NDArray[np.uint8]]


def item_batch_of(splits: Mapping[str, Sequence[Question]]) -> ItemBatch:
    """An item batch of these splits.

    Raises:
        Misconfigured: there is no split, or a split is empty.
    """
    if not splits or not all(splits.values()):
        raise Misconfigured(
            "An item batch needs at least one split, and each split at least one question."
        )
    return ItemBatch(
        {s: tuple(q) for s, q in splits.items()}, {s: digests(q) for s, q in splits.items()}
    )


def write_item_batch(item_batch: ItemBatch, folder: Path) -> Path:
    """Write an item batch to a file in `folder` that is named by the SHA-256 of its content;
    return the file's path."""
    text = json.dumps(
        {s: [asdict(q) for q in questions] for s, questions in item_batch.splits.items()}
    ).encode()
    path = folder / f"{hashlib.sha256(text).hexdigest()}.json"
    if not path.exists():
        write_whole(path, text)
    return path


def read_item_batch(path: Path) -> ItemBatch:
    """Read a file that `write_item_batch` wrote.

    Raises:
        Misconfigured: the file is missing or damaged.
    """
    try:
        said = json.loads(path.read_bytes())
        made = {
            s: [Question(**q | {"choices": tuple(q["choices"])}) for q in questions]
            for s, questions in said.items()
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Misconfigured(
            f"{path} is not a file of item batches ({error}). Delete it and start the command "
            "again."
        ) from error
    return item_batch_of(made)
