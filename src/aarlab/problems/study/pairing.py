"""Right and wrong answers, paired so that an answer's surface features do not reveal whether it is
right.

A pair is a right and a wrong answer of about one length, to one question where the source has both,
else by one author to questions of one source. Both halves of a pair go to one split, and all pairs
of a question to the same one.

Legend: R right answers, W wrong ones.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy  # its parts take half a second to import, and load when they are first used

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, PartName, SplitName
from aarlab.problems.study.balance import identified
from aarlab.problems.study.contamination import Found, Kinds, Removals, Screen

TOO_FAR = 1e6  # cost of a pair beyond the length ratio: more than all others together
DEALT = (
    "Where the sources hold too few pairs, all splits shrink by the same share. Contamination is "
    "looked for in questions, splits filled in the order final, teacher, student: answers go "
    "with their question."
)
RESERVE = 1.1  # some are lost to what is known from another split
OTHER_QUESTION = 100.0  # cost of a pair of two questions: more than any difference in length


class SourceAnswer(NamedTuple):
    question: str
    text: str


class Match(NamedTuple):
    """A right and a wrong answer of one level."""

    right: SourceAnswer
    wrong: SourceAnswer
    level: int

    @property
    def labelled(self) -> tuple[tuple[Literal[0, 1], SourceAnswer], ...]:
        return (1, self.right), (0, self.wrong)


@dataclass(frozen=True)
class Sizes:
    """Numbers of pairs, each two items: of the splits in distribution in the order in which they
    are filled, of the final one out of distribution, and at most of one question.

    A question with two right answers reveals which they are: those that agree. So the final split
    has one pair of a question.
    """

    inside: Mapping[SplitName, int]
    outside: int
    most_each: int


def questions_of(matches: Iterable[Match]) -> list[str]:
    """Each question once, in order of the alphabet."""
    return sorted({answer.question for match in matches for answer in (match.right, match.wrong)})


def nearest(
    rights: Sequence[SourceAnswer], wrongs: Sequence[SourceAnswer], most_ratio: float
) -> list[tuple[SourceAnswer, SourceAnswer]]:
    """As many pairs as there can be whose lengths differ by at most `most_ratio`, nearest in length
    first.

    Pairs to one question come before all others (an assignment of least cost).
    """
    if not rights or not wrongs:
        return []
    logs_R, logs_W = (np.log([1 + len(a.text) for a in answers]) for answers in (rights, wrongs))
    apart_RW = np.abs(logs_R[:, None] - logs_W[None, :])
    other_RW = np.array([[r.question != w.question for w in wrongs] for r in rights])
    cost_RW = np.where(
        apart_RW > math.log(most_ratio), TOO_FAR, apart_RW + OTHER_QUESTION * other_RW
    )
    found = sorted(
        (cost_RW[r, w], r, w)
        for r, w in zip(*scipy.optimize.linear_sum_assignment(cost_RW), strict=True)
    )
    return [(rights[r], wrongs[w]) for cost, r, w in found if cost < TOO_FAR]


def fewest_each(
    groups: Iterable[Sequence[Match]], sizes: Mapping[SplitName, int], most: int
) -> list[list[Match]]:
    """The first k pairs of every group, with the smallest k up to `most` that fills the splits and
    a reserve, or `most`."""
    full = [list(group) for group in groups if group]
    cuts = ([group[:k] for group in full] for k in range(1, most + 1))
    return next(
        cut for k, cut in enumerate(cuts, start=1) if k == most or _share(cut, sizes) >= RESERVE
    )


def _share(groups: Sequence[Sequence[Match]], sizes: Mapping[SplitName, int]) -> float:
    """How much of the splits the groups can fill (1: all); a pair of the final one costs a whole
    group."""
    pairs = sum(map(len, groups))
    each = pairs / len(groups) if groups else 0.0
    cost = sum(size * (each if split == "final" else 1.0) for split, size in sizes.items())
    return pairs / cost if pairs else 0.0


def deal(
    groups: Sequence[Sequence[Match]],
    sizes: Mapping[SplitName, int],
    rng: random.Random,
    protected: Iterable[str],
) -> tuple[dict[SplitName, list[Match]], Removals]:
    """Groups in random order to the splits one after another until each has its number of pairs: of
    every group all pairs (of the last of a split, those that it lacks), but to the final split its
    first alone.

    A group whose question is known from an earlier split, or from the `protected` questions of the
    final one, is left out and counted. Where there are too few pairs, every split gets the same
    share of its size.

    Raises:
        Misconfigured: there are so few that a split would be empty.
    """
    there, share = sum(map(len, groups)), min(1.0, _share(groups, sizes))
    waiting, found = iter(rng.sample(list(groups), len(groups))), Removals()
    earlier: list[tuple[SplitName, Screen]] = [("final", _screen(protected))]
    dealt: dict[SplitName, list[Match]] = {split: [] for split in sizes}
    for split, size in sizes.items():
        room, own = round(share * size), Screen()
        while len(dealt[split]) < room and (group := next(waiting, None)) is not None:
            questions = {"question": questions_of(group)}
            if (known := _known(questions, earlier)) is not None:
                found[split, *known] += 1
                continue
            dealt[split] += group[: 1 if split == "final" else room - len(dealt[split])]
            own.add(questions)
        if not dealt[split]:
            raise Misconfigured(
                f"{there} pairs of answers are too few for splits of {dict(sizes)}. Give all "
                "files.",
                pairs=there,
            )
        earlier.append((split, own))
    return dealt, found


def _known(
    questions: Kinds, earlier: Iterable[tuple[SplitName, Screen]]
) -> tuple[SplitName, Found] | None:
    """The split that has such a question, and how alike the two are."""
    return next(
        ((split, how) for split, screen in earlier if (how := screen.finds(questions))), None
    )


def _screen(questions: Iterable[str]) -> Screen:
    screen = Screen()
    for question in questions:
        screen.add({"question": [question]})
    return screen


def items(matches: Iterable[Match], prefix: str, split: SplitName, part: PartName) -> list[Choice]:
    """Both answers of every pair as items, named after their content."""
    return [
        Choice(
            id=identified(prefix, *answer),
            question=answer.question,
            choice=answer.text,
            label=label,
            split=split,
            part=part,
            level=match.level,
        )
        for match in matches
        for label, answer in match.labelled
    ]


def shortfall(drawn: Sequence[Choice], sizes: Sizes) -> tuple[str, ...]:
    """For the data card: of each part for which the sources did not suffice, the share of the
    wanted pairs that is there."""
    parts: dict[PartName, tuple[str, int]] = {
        "id": ("in distribution", sum(sizes.inside.values())),
        "ood": ("out of distribution", sizes.outside),
    }
    there = Counter(item.part for item in drawn if item.label == 1)  # one of every pair
    return tuple(
        f"The sources sufficed for {there[part]} of the {wanted} pairs that were wanted {words} "
        f"({there[part] / wanted:.1%}); every split has about that share of its size."
        for part, (words, wanted) in parts.items()
        if there[part] < wanted
    )


def assemble(
    prefix: str,
    inside: Iterable[Sequence[Match]],
    outside: Iterable[Sequence[Match]],
    sizes: Sizes,
    data_seed: int,
) -> tuple[list[Choice], Removals]:
    """All items of a problem in random order, and what was left out since its question is known
    from another split.

    Raises:
        Misconfigured: a split would be empty.
    """
    rng = random.Random(f"{prefix} {data_seed}")
    far, _ = deal([group for group in outside if group], {"final": sizes.outside}, rng, ())
    near, found = deal(
        fewest_each(inside, sizes.inside, sizes.most_each),
        sizes.inside,
        rng,
        questions_of(far["final"]),
    )
    drawn = items(far["final"], prefix, "final", "ood")
    for split, matches in near.items():
        drawn += items(matches, prefix, split, "id")
    rng.shuffle(drawn)
    return drawn, found
