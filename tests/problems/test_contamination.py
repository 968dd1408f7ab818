"""Contamination, filling and balance: by hand, against a slow count in plain Python, and as
properties."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.problems.problem import check_problem
from aarlab.problems.study.balance import UnorderedPreference, ordered
from aarlab.problems.study.contamination import GRAM, LEAST_SHARED, THRESHOLD, Screen, words
from aarlab.problems.study.fill import WantedItems, fill

RNG = random.Random(0)
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfghkl" for b in "aeiou" for c in ("n", "rt", "sk", "mp")]


def draw(rng, n=60):
    return rng.choices(VOCABULARY, k=n)


def changed(rng, text, share):
    """A copy with so many words, drawn at random, replaced by words that it does not have."""
    places = set(rng.sample(range(len(text)), round(share * len(text))))
    return [f"new{i}" if i in places else word for i, word in enumerate(text)]


def found(protected, text, kind="answer"):
    screen = Screen()
    screen.add({kind: [" ".join(protected)]})
    return screen.finds({kind: [" ".join(text)]})


def slowly(protected, text):
    """The definition, over sets of tuples."""
    one, two = (
        {tuple(t[i : i + GRAM]) for i in range(len(t) - GRAM + 1)} for t in (protected, text)
    )
    if protected == text:
        return "exact"
    shared = len(one & two)
    near = shared >= LEAST_SHARED and shared >= THRESHOLD * min(len(one), len(two))
    return "near" if near else None


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 20), st.integers(0, 20))
def test_it_finds_what_the_definition_says(seed, common, before, after):
    rng = random.Random(seed)
    core = draw(rng, common)
    one, two = draw(rng, before) + core, core + draw(rng, after)
    assert found(one, two) == slowly(one, two)
    assert found(two, one) == slowly(two, one)


@given(st.integers(0, 10**6))
def test_the_most_alike_of_many_texts_counts(seed):
    rng = random.Random(seed)
    texts = [draw(rng, 30) for _ in range(6)]
    asked = changed(rng, texts[3], rng.choice((0.0, 0.05, 0.1, 0.2)))
    screen = Screen()
    for text in texts:
        screen.add({"answer": [" ".join(text)]})
    expected = {slowly(text, asked) for text in texts}
    assert screen.finds({"answer": [" ".join(asked)]}) == next(
        (f for f in ("exact", "near") if f in expected), None
    )


def test_the_threshold_separates_copies_from_texts_of_a_topic():
    """Copies with one word in twelve changed are found, 199 in 200 of them, and so are copies
    inside a longer text; texts with a quarter in common (a template, an instruction) are not, nor
    are copies with a quarter of the words changed."""
    rng = random.Random(1)
    copies = [(text := draw(rng), changed(rng, text, 1 / 12)) for _ in range(400)]
    assert sum(found(*pair) == "near" for pair in copies) >= 398
    inside = [
        (text := draw(rng), draw(rng) + changed(rng, text, 1 / 20) + draw(rng)) for _ in range(200)
    ]
    assert all(found(*pair) == "near" for pair in inside)
    template = draw(rng, 20)
    assert not any(found(template + draw(rng), template + draw(rng)) for _ in range(400))
    rewritten = [(text := draw(rng), changed(rng, text, 1 / 4)) for _ in range(400)]
    assert sum(found(*pair) == "near" for pair in rewritten) <= 4


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("What is IT?", "what is  it"),
        ("Na\u00efve caf\u00e9", "nai\u0308ve cafe\u0301"),
        ("\uff34\uff25\uff38\uff34 here", "text here"),
        ("\u5206\u304b\u308a\u307e\u3059\u304b\uff1f", "\u5206\u304b\u308a\u307e\u3059\u304b"),
        ("+ - *", "+  -  *"),
    ],
)
def test_the_same_words_are_the_same_text(one, two):
    assert words(one) == words(two) != []
    screen = Screen()
    screen.add({"question": [one]})
    assert screen.finds({"question": [two]}) == "exact"


def test_like_is_compared_with_like_and_short_texts_whole():
    text = draw(RNG)
    assert found(text, text[:GRAM]) is None  # seven words in a row are no copy
    assert found(text, text[: GRAM + LEAST_SHARED - 1]) == "near"
    screen = Screen()
    screen.add({"question": [" ".join(text)]})
    assert screen.finds({"answer": [" ".join(text)]}) is None
    assert Screen().finds({"answer": ["anything"]}) is None
    assert found(["too", "short"], text) is None
    assert found(text, ["too", "short"]) is None


def wanted(rng, known):
    """Candidates of three splits, some of them near copies of others."""
    made = []
    for split in ("final", "feedback", "teacher"):
        texts = [draw(rng) for _ in range(8)] + [
            changed(rng, rng.choice(known), 0.05) for _ in range(4) if known
        ]
        rng.shuffle(texts)
        known += texts
        made.append(WantedItems(split, "source", 6, [" ".join(t) for t in texts]))
    return made


@pytest.mark.slow
@given(st.integers(0, 10**6))
def test_splits_do_not_resemble_each_other_and_removals_are_counted(seed):
    asked = wanted(random.Random(seed), [])
    filled = fill(asked, lambda t: {"answer": [t]}, lambda t: [t])
    for want in asked:
        kept = filled.items[want.split]
        assert len(kept) + filled.missing.get((want.split, "source"), 0) == want.n
        assert kept == [c for c in want.candidates if c in kept]  # in order
        last = want.candidates.index(kept[-1])
        looked_at = last + 1 if len(kept) == want.n else len(want.candidates)
        assert looked_at - len(kept) == sum(
            n for (split, _, _), n in filled.findings.items() if split == want.split
        )
    flat = [(s, t.split()) for s, kept in filled.items.items() for t in kept]
    assert not any(slowly(a, b) for n, (s, a) in enumerate(flat) for r, b in flat[:n] if s != r)


def test_the_first_split_loses_nothing_to_the_others():
    text = " ".join(draw(RNG))
    filled = fill(
        [
            WantedItems("final", "a", 1, [text]),
            WantedItems("student", "b", 2, [text, text + " more", "else"]),
        ],
        lambda t: {"answer": [t]},
        lambda t: [t],
    )
    assert filled.items == {"final": [text], "student": ["else"]}
    assert filled.findings == {("student", "final", "exact"): 1, ("student", "final", "near"): 1}
    assert filled.missing == {("student", "b"): 1}


CELLS = st.tuples(
    st.sampled_from(["teacher", "student", "final"]),
    st.sampled_from(["id", "ood"]),
    st.integers(1, 3),
)


@given(st.lists(CELLS, max_size=60), st.integers(0, 10**6))
def test_ordered_pairs_are_balanced_and_right_and_lose_at_most_one_a_cell(cells, seed):
    drafts = [
        (s, UnorderedPreference("p", f"good {i}", f"bad {i}", part, lv, "x"))
        for i, (s, part, lv) in enumerate(cells)
    ]
    items = ordered(drafts, random.Random(seed), "t")
    check_problem(items)
    kept = Counter((i.split, i.part, i.level) for i in items)
    assert all(kept[cell] == n - n % 2 for cell, n in Counter(cells).items())
    assert all(i.choices[i.label].startswith("good") for i in items)
    assert items == ordered(drafts, random.Random(seed), "t")


def test_an_id_tells_nothing_but_the_texts():
    draft = [
        ("final", UnorderedPreference("p", f"good {i}", f"bad {i}", "id", 1, "x"))
        for i in range(200)
    ]
    items = ordered(draft, random.Random(3), "t")
    by_id = [i.label for i in sorted(items, key=lambda i: i.id)]
    assert abs(sum(by_id[:100]) - 50) < 20
    assert abs(sum(i.label for i in items[:100]) - 50) < 20
