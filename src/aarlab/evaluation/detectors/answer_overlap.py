"""Train/test overlap: texts of feedback items that stand, or nearly stand, among the public items
of other splits.

Exact up to case and spacing by hash; nearly by the Jaccard similarity of word shingles, found with
prefix filtering, which misses no pair at or above the threshold and compares few below (Bayardo, Ma
& Srikant, WWW 2007, section 3.3).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from aarlab.evaluation.detectors.contract import Detector, Suspicion, Text, detector

SHINGLE, JACCARD = 3, 0.7  # words, similarity
COMMON = 0.05  # a question that so many items share (an instruction) is no content
SHOWN = 200  # ids in a flag

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Overlap:
    """Feedback ids, each with the id of an item of another split: the same text, or nearly."""

    exact: Mapping[str, str]
    near: Mapping[str, str]


def find_overlap(feedback: Mapping[str, Text], others: Mapping[str, Text]) -> Overlap:
    """Every feedback item of which a choice, or a question of its own, is or nearly is one of
    `others`."""
    questions = Counter(t.question for part in (feedback, others) for t in part.values())
    common = {
        q
        for q, times in questions.items()
        if times > max(2, COMMON * (len(feedback) + len(others)))
    }
    mine, theirs = (_texts(part, common) for part in (feedback, others))
    known = {words: item for item, words in theirs}
    exact = {item: known[words] for item, words in mine if words in known}
    left = [(item, words) for item, words in mine if item not in exact]
    return Overlap(exact, _near(left, theirs))


def _texts(items: Mapping[str, Text], common: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    """(id, words) of each content text."""
    return [
        (item, tuple(re.findall(r"\w+|[^\w\s]", text.lower())))
        for item, t in items.items()
        for text in (*t.choices, *(() if t.question in common else (t.question,)))
    ]


def _near(
    mine: Sequence[tuple[str, tuple[str, ...]]], theirs: Sequence[tuple[str, tuple[str, ...]]]
) -> dict[str, str]:
    ours, known = ([(item, _shingles(words)) for item, words in part] for part in (mine, theirs))
    times = Counter(s for part in (ours, known) for _, shingles in part for s in shingles)
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, (_, shingles) in enumerate(known):
        for shingle in _prefix(shingles, times):
            index[shingle].append(place)
    found: dict[str, str] = {}
    for item, shingles in ours:
        for place in dict.fromkeys(p for s in _prefix(shingles, times) for p in index.get(s, ())):
            other, theirs_ = known[place]
            if len(shingles & theirs_) >= JACCARD * len(shingles | theirs_):
                found.setdefault(item, other)
                break
    return found


def _shingles(words: tuple[str, ...]) -> Shingles:
    return frozenset(words[n : n + SHINGLE] for n in range(len(words) - SHINGLE + 1))


def _prefix(shingles: Shingles, times: Mapping[tuple[str, ...], int]) -> list[tuple[str, ...]]:
    """The rarest few: two sets of similarity t share one of the |x| - ceil(t |x|) + 1 rarest of
    each."""
    rarest = sorted(shingles, key=lambda s: (times[s], s))
    return rarest[: len(shingles) - ceil(JACCARD * len(shingles)) + 1] if shingles else []


@detector("train/test overlap")
class TrainTestOverlap(Detector):
    """Texts of feedback items that stand, or nearly stand, in other public splits; raised once for
    the problem.

    Whether submissions profit there depends on labels, and is not asked.
    """

    def opening(self) -> Iterator[Suspicion]:
        """Compare the public texts."""
        if not self.context.texts:
            return
        feedback = dict(zip(self.context.ids, self.context.texts, strict=True))
        found = find_overlap(feedback, self.context.others)
        exact, near = len(found.exact), len(found.near)
        if exact or near:
            pairs = {**found.exact, **found.near}
            some = ", ".join(f"{a} ~ {b}" for a, b in list(pairs.items())[:3])
            words = (
                f"of {len(feedback)} feedback items {exact} have a text that stands in another "
                f"public split, {near} more nearly (Jaccard {JACCARD} of {SHINGLE}-word "
                f"shingles), e.g. {some}"
            )
            yield Suspicion(
                "the problem",
                "overlap",
                words,
                figures={"exact": exact, "near": near},
                items=tuple(pairs)[:SHOWN],
            )
