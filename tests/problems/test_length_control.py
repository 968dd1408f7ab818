"""What length alone predicts, by split and part; the study's chat pairs are matched."""

import pytest

from aarlab.core.records import Choice, Pair
from aarlab.problems.length_control import length_control
from aarlab.problems.study.balance import UnorderedPreference
from aarlab.problems.study.chat import alternating


def pairs(short_right, n=200, part="ood"):
    """Pairs whose shorter answer is right in the first `short_right` of `n`."""
    for i in range(n):
        texts = (f"{i}", f"{i} and more") if i % 2 else (f"{i} and more", f"{i}")
        label = int((len(texts[1]) < len(texts[0])) == (i < short_right))
        yield Pair(
            id=f"{part}{i}",
            prompt=f"p{i}",
            first=texts[0],
            second=texts[1],
            label=label,
            split="final",
            part=part,
            level=1,
        )


def test_the_shorter_answer_is_right_as_often_as_it_is():
    one, other = length_control([*pairs(140), *pairs(60, part="id")])
    assert (other.split, other.part, other.shorter.estimate) == ("final", "ood", 0.7)
    assert (one.part, one.shorter.estimate, one.best) == ("id", 0.3, 0.7)
    assert one.is_shortcut
    assert other.is_shortcut
    assert "length alone is right on 0.700 of 200 items (the longer answer" in str(one)
    (even,) = length_control(list(pairs(100)))
    assert (even.best, even.is_shortcut) == (0.5, False)


def test_single_answers_are_compared_with_the_median():
    items = [
        Choice(
            id=f"{i}",
            question=f"q{i}",
            choice="x" * (10 + i),
            label=int(i >= 50),
            split="student",
            part="id",
            level=1,
        )
        for i in range(100)
    ]
    (row,) = length_control(items)
    assert (row.shorter.estimate, row.best) == (0.0, 1.0)


@pytest.mark.parametrize("shorter", [10, 30])
def test_groups_take_turns_from_the_end(shorter):
    groups = [
        [UnorderedPreference(f"p{i}", "b" * (5 if i < shorter else 15), "w" * 10, "id", 1, "s")]
        for i in range(40)
    ]
    last = alternating(groups)[-20:]
    assert sum(len(g[0].better) < len(g[0].worse) for g in last) == 10
    assert len(alternating(groups)) == 40
