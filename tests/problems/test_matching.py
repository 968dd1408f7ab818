"""Pairs by least cost, and groups dealt whole."""

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.problems.problem import check_problem
from aarlab.problems.study.pairing import (
    Match,
    Sizes,
    SourceAnswer,
    assemble,
    deal,
    fewest_each,
    items,
    nearest,
)

ANSWERS = st.lists(
    st.builds(SourceAnswer, st.sampled_from("ab"), st.integers(1, 40).map(lambda n: "x" * n)),
    max_size=5,
)


def words(n):
    """Questions without five words in common."""
    return " ".join(f"w{n}x{i}" for i in range(12))


def group(n, pairs):
    return [
        Match(
            SourceAnswer(words(n), f"right {n} {i}"),
            SourceAnswer(words(n), f"wrong {n} {i}"),
            1 + n % 3,
        )
        for i in range(pairs)
    ]


@given(ANSWERS, ANSWERS, st.sampled_from([1.1, 1.5, 3.0]))
def test_pairs_are_as_many_as_can_be_and_of_least_cost(rights, wrongs, ratio):
    """Against all assignments, one by one."""

    def cost(r, w):
        apart = abs(math.log(1 + len(r.text)) - math.log(1 + len(w.text)))
        return None if apart > math.log(ratio) else (r.question != w.question, apart)

    found = nearest(rights, wrongs, ratio)
    costs = [cost(r, w) for r, w in found]
    assert None not in costs
    few, many = sorted((rights, wrongs), key=len)
    best = (0, 0, 0.0)
    for order in itertools.permutations(many, len(few)):
        each = [
            c
            for a, b in zip(few, order, strict=True)
            if (c := cost(*((a, b) if few is rights else (b, a))))
        ]
        best = min(best, (-len(each), sum(c[0] for c in each), sum(c[1] for c in each)))
    assert (-len(found), sum(c[0] for c in costs)) == best[:2]
    assert sum(c[1] for c in costs) == pytest.approx(best[2])
    assert costs == sorted(costs)
    assert not Counter(r for r, _ in found) - Counter(rights)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(1, 60),
    st.integers(1, 4),
)
def test_no_more_of_a_question_than_are_needed(sizes, final, student, most):
    """With k - 1 of each, the questions beyond the final split's would not have had enough pairs
    for the student split."""
    found = fewest_each(
        [group(n, size) for n, size in enumerate(sizes)], {"final": final, "student": student}, most
    )
    k = max(map(len, found), default=0)
    assert k <= most
    assert len(found) == sum(size > 0 for size in sizes)
    if k > 1:
        less = sum(min(size, k - 1) for size in sizes)
        assert less * (1 - 1.1 * final / len(found)) < 1.1 * student + 1e-9


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3), min_size=12, max_size=30), st.integers(0, 9))
def test_groups_are_dealt_whole_and_the_items_pass(sizes, seed):
    wanted = Sizes({"final": 8, "teacher": 5, "student": 20}, 4, most_each=3)
    inside = [group(n, size) for n, size in enumerate(sizes)]
    outside = [group(100 + n, 1) for n in range(6)]
    drawn, found = assemble("x", inside, outside, wanted, seed)
    check_problem(drawn)
    assert not found
    assert all(
        len({i.split for i in drawn if i.question == words(n)}) <= 1 for n in range(len(sizes))
    )
    counts = Counter((i.split, i.part) for i in drawn)
    assert counts["final", "ood"] == 8
    assert all(counts[split, "id"] <= 2 * n for split, n in wanted.inside.items())
    assert set(Counter((i.question, i.label) for i in drawn if i.split == "final").values()) == {1}
    assert drawn == assemble("x", inside, outside, wanted, seed)[0]


def test_what_resembles_an_earlier_split_is_left_out_and_counted():
    """The same question thrice: it is protected, so all three are left out of the final split,
    where they came first."""
    again = [group(0, 1) for _ in range(3)]
    others = [group(n, 1) for n in range(1, 9)]
    dealt, found = deal([*again, *others], {"final": 4, "student": 4}, random.Random(0), [words(0)])
    assert sum(found.values()) == 3
    assert {key[1:] for key in found} == {("final", "exact")}
    assert {split: len(matches) for split, matches in dealt.items()} == {"final": 4, "student": 4}


def test_a_split_without_a_pair_is_refused():
    with pytest.raises(Misconfigured, match="1 pairs of answers are too few") as caught:
        deal([group(0, 1)], {"final": 4, "student": 40}, random.Random(0), ())
    assert caught.value.facts == {"pairs": 1}


def test_both_halves_become_items_named_after_their_content():
    (right, wrong) = items(group(0, 1), "math", "student", "id")
    assert (right.label, right.choice, wrong.label, wrong.choice) == (
        1,
        "right 0 0",
        0,
        "wrong 0 0",
    )
    assert right.id != wrong.id
    assert right == items(group(0, 1), "math", "student", "id")[0]
