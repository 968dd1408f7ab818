"""A graded submission to a problem in a folder, as it is stored: a line that says what was graded,
then the unit scores.

Legend: K objectives, S seeds, T trials, M units of a split.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.files import OWNER_ONLY, write_whole

Array = NDArray[np.float64]
NUMBER = np.dtype("<f8")
SALT_BYTES = 32


@dataclass(frozen=True)
class GradedUnits:
    """By objective, unit scores in [0, 1] of every seed and trial, (S, T, M), units in the order of
    the split's. `submitted`: SHA-256 of what the code submitted on these seeds. `salt`: random
    digits among the bytes, so that their SHA-256, which stands in proofs and signed records, cannot
    be found by trying scores; "" of what versions before stored."""

    split: str
    seeds: tuple[int, ...]
    submitted: str
    scores: Mapping[str, Array]
    salt: str = field(default_factory=lambda: secrets.token_hex(SALT_BYTES))

    @cached_property
    def data(self) -> bytes:
        """The bytes; `graded_units` reads them."""
        names = sorted(self.scores)
        shape = list(self.scores[names[0]].shape)
        head = {"split": self.split, "seeds": list(self.seeds), "submitted": self.submitted}
        head |= {"objectives": names, "shape": shape} | ({"salt": self.salt} if self.salt else {})
        numbers = b"".join(self.scores[name].astype(NUMBER).tobytes() for name in names)
        return json.dumps(head).encode() + b"\n" + numbers

    @cached_property
    def name(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def question(self) -> str:
        """SHA-256 of what is asked of the secrets: the submission, not its scores, which may differ
        from one grading to the next where timing or a judge is noisy."""
        return hashlib.sha256(f"{self.split}|submitted|{self.submitted}".encode()).hexdigest()

    @cached_property
    def answers_SM(self) -> NDArray[np.bool_]:
        """No answers to items: detectors that compare these are not asked."""
        return np.zeros((len(self.seeds), 0), np.bool_)


def graded_units(data: bytes) -> GradedUnits:
    """What `GradedUnits.data` wrote.

    Raises:
        InvalidSubmission: these are no such bytes, or a score is not between 0 and 1.
    """
    try:
        line, _, numbers = data.partition(b"\n")
        head = json.loads(line)
        names, (s, t, m) = head["objectives"], head["shape"]
        table_KSTM = np.frombuffer(numbers, NUMBER).reshape(len(names), s, t, m)
        seeds, submitted = tuple(map(int, head["seeds"])), str(head["submitted"])
        if not (table_KSTM.size and ((table_KSTM >= 0) & (table_KSTM <= 1)).all()):
            raise ValueError("a score is not between 0 and 1")  # NaN is not
        if len(seeds) != s or len(set(names)) != len(names):
            raise ValueError("it does not have a row for each seed and one table an objective")
        scores = {str(name): table_KSTM[k] for k, name in enumerate(names)}
        salt = str(head.get("salt", ""))
        return GradedUnits(str(head["split"]), seeds, submitted, scores, salt)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSubmission(f"These are no unit scores ({error}). Grade it again.") from error


def write_grading(path: Path, graded: GradedUnits) -> str:
    """Put a grading where the evaluator alone reads it; its SHA-256, which names no score.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, graded.data, mode=OWNER_ONLY)
    return graded.name


def read_grading(path: Path, digest: str) -> GradedUnits:
    """What `write_grading` put there.

    Raises:
        InvalidSubmission: it is not there, or has another SHA-256.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSubmission(f"There is no grading {path.name}. Grade it again.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise InvalidSubmission(f"{path.name} is not what was graded. Grade it again.")
    return graded_units(data)
