"""The control finds a shortcut that is there, and none where there is none."""

import random

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, Pair
from aarlab.problems.study.shortcuts import shortcut_accuracy
from tests.problems.study_files import sentence


def choices(mark, n=400):
    """Random texts; `mark` makes the text of a label."""
    rng = random.Random(0)
    for i in range(n):
        label, split = i % 2, ("teacher", "student", "final", "final")[i // 2 % 4]
        text = mark(sentence(rng, 12), label)
        part = "ood" if i % 16 > 11 and split == "final" else "id"
        yield Choice(
            id=f"{i}", question="same", choice=text, label=label, split=split, part=part, level=1
        )


def test_a_mark_of_the_author_is_found():
    found = shortcut_accuracy(
        list(choices(lambda text, label: text + (" I reckon." if label else " I assume.")))
    )
    assert found["characters"] > 0.95
    assert found["length"] == pytest.approx(0.5, abs=0.12)


def test_a_longer_answer_is_found():
    found = shortcut_accuracy(list(choices(lambda text, label: text + " and so on" * 20 * label)))
    assert found["length"] == 1.0
    assert set(found) == {
        f"{name}{part}" for name in ("characters", "length") for part in ("", "_id", "_ood")
    }


def test_there_is_nothing_in_random_texts():
    found = shortcut_accuracy(list(choices(lambda text, label: text)))
    accuracies = [accuracy for name, accuracy in found.items() if "_" not in name]
    assert accuracies
    assert all(0.35 < accuracy < 0.65 for accuracy in accuracies)


def test_a_pair_is_read_as_a_difference():
    """Which of two answers has the mark: no text by itself tells."""
    rng = random.Random(0)
    pairs = []
    for i in range(300):
        texts = [sentence(rng, 12), sentence(rng, 12) + " I reckon."]
        label = rng.randrange(2)
        first, second = texts if label else texts[::-1]
        split = "final" if i % 3 == 0 else "student"
        pairs.append(
            Pair(
                id=f"{i}",
                prompt=f"{i}",
                first=first,
                second=second,
                label=label,
                split=split,
                part="id",
                level=1,
            )
        )
    assert shortcut_accuracy(pairs)["characters"] > 0.95


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(Misconfigured, match="teacher or student split and in the final one"):
        shortcut_accuracy([i for i in choices(lambda text, label: text) if i.split == "final"])
