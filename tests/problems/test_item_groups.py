"""Which items of a split are put into one group, and what is kept and published of that."""

import json
from collections import Counter

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, Pair
from aarlab.problems import PROBLEMS
from aarlab.problems.item_groups import groups_of
from aarlab.problems.problem import check_problem
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare

LONG = (
    "the quick brown fox jumps over the lazy dog while seven wizards watch from the old stone "
    "bridge near town"
)


def choice(number, question, answer, group=None, split="feedback"):
    return Choice(
        id=f"i{number:03}",
        question=question,
        choice=answer,
        label=number % 2,
        split=split,
        part="id",
        level=1,
        group=group,
    )


def pair(number, prompt, first, second, group=None):
    fields = {"label": number % 2, "split": "feedback", "part": "id", "level": 1, "group": group}
    return Pair(id=f"i{number:03}", prompt=prompt, first=first, second=second, **fields)


def sets(items):
    found = {}
    for item, group in groups_of(items).items():
        found.setdefault(group, set()).add(int(item[1:]))
    return sorted(map(sorted, found.values()))


def other(number):
    """A text of its own."""
    return " ".join(f"w{number}x{k}" for k in range(12))


def test_answers_to_one_question_are_one_group():
    items = [choice(n, other(n // 4), other(100 + n)) for n in range(12)]
    assert sets(items) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_an_instruction_that_stands_in_every_item_groups_nothing():
    assert sets([choice(n, "Is this review positive?", other(n)) for n in range(40)]) == []
    assert sets([pair(n, "Which is better?", other(n), other(100 + n)) for n in range(40)]) == []


def test_near_duplicates_are_one_group_however_a_pair_is_turned():
    near = LONG.replace("seven", "eight")
    singles = [
        choice(0, "Is it true?", LONG),
        choice(1, "is it TRUE", near),
        *(choice(n, other(n), other(n)) for n in (2, 3)),
    ]
    assert sets(singles) == [[0, 1]]
    pairs = [
        pair(0, other(0), LONG, other(9)),
        pair(1, other(0) + " now", other(9), near),
        pair(2, other(0), LONG, other(8)),
    ]
    # 2: the same prompt; 3: another one
    assert sets([*pairs, pair(3, other(3), near, other(9))]) == [[0, 1, 2]]


def test_groups_join_by_what_is_like_both():
    first, last = LONG + " " + other(1), LONG + " " + other(2)
    assert sets([choice(0, "q?", first), choice(1, "q?", LONG), choice(2, "q?", last)]) == [
        [0, 1, 2]
    ]


def test_a_group_that_is_stated_is_believed():
    same = [choice(n, other(0), other(n), group="one" if n < 3 else "two") for n in range(6)]
    assert sets(same) == [[0, 1, 2], [3, 4, 5]]
    own = [choice(n, other(0), other(n), group=f"own {n}") for n in range(6)]
    assert sets(own) == []
    # the last says nothing and is like all
    assert sets([*own[:5], choice(5, other(0), other(5))]) == [[0, 1, 2, 3, 4, 5]]


def test_short_texts_need_be_the_same():
    assert sets([choice(n, f"Is {n} prime?", "yes") for n in range(8)]) == []


def test_a_stated_group_lies_in_one_split():
    items = [
        choice(n, other(n), other(n), "doc 7", split="feedback" if n < 2 else "final")
        for n in range(4)
    ]
    with pytest.raises(Misconfigured, match=r"group .* 'doc 7'"):
        check_problem(items)


def test_the_names_of_groups_do_not_depend_on_the_order_of_items():
    items = [choice(n, other(n // 3), other(100 + n)) for n in range(700)]
    assert groups_of(items) == groups_of(items[::-1])
    assert Counter(Counter(groups_of(items).values()).values()) == {3: 233}


def test_own_items_carry_their_groups_to_the_private_side(home, tmp_path):
    rows = []
    for split, count in (("teacher", 40), ("student", 40), ("feedback", 48), ("final", 40)):
        for n in range(count):
            texts = {
                "prompt": "Which is better?",
                "first": f"{split} good {n} one",
                "second": f"{split} bad {n} two",
            }
            rows.append(
                texts
                | {"label": n % 2, "split": split}
                | ({"group": f"doc {n // 6}"} if split == "feedback" else {})
            )
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bed = prepare(str(path), 1, home=home, student=student.COUNTING, progress=lambda *_: None)
    groups = json.loads((bed.private / "groups.json").read_text())
    assert Counter(Counter(groups["feedback"].values()).values()) == {6: 8}
    card = json.loads((bed.public / "problem.json").read_text())
    assert card["groups"] == {
        "feedback": {"items": 48, "groups": 8, "largest": 6},
        "final": {"items": 0, "groups": 0, "largest": 0},
    }
    assert "doc" not in "".join(p.read_text() for p in bed.public.glob("*.json*"))
    (bed.private / "groups.json").unlink()  # set up by an older version
    assert prepare(
        str(path), 1, home=home, student=student.COUNTING, progress=lambda *_: None
    ).from_cache
    assert json.loads((bed.private / "groups.json").read_text()) == groups


@pytest.mark.slow
def test_generated_problems_say_which_items_are_of_one_question(tmp_path):
    items = [i for i in PROBLEMS["small-math"].build(tmp_path, 3) if i.split == "final"]
    assert len(groups_of(items)) < 0.01 * len(items)
