"""Which entry of the ledger has the answer to a submission that comes again.

A submission is one of a submitter, of a snapshot and of answers. Others may hand in the same
answers: theirs are entries of their own, which the meter answers from memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class RepeatedSubmissions:
    """By question (the digest of answers): the number of the first entry that asked it, and whose
    it is; and of the others."""

    _first: dict[str, int] = field(default_factory=dict)
    _others: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)

    def __contains__(self, question: object) -> bool:
        return question in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def first(self, question: str) -> int | None:
        """The number of the first entry that asked it."""
        return self._first.get(question)

    def again(self, question: str, who: str, snapshot: str) -> int | None:
        """The number of a later entry that asked it, by that submitter with that snapshot."""
        return self._others.get(question, {}).get((who, snapshot))

    def add(self, question: str, who: str, snapshot: str, seq: int) -> bool:
        """An entry asked it; returns whether it was the first."""
        if self._first.setdefault(question, seq) == seq:
            return True
        self._others.setdefault(question, {})[who, snapshot] = seq
        return False
