"""What the comparisons of public data with secrets find, and what they leave alone."""

import json
import os
import random

import numpy as np
import pytest

from aarlab.bench.leak_checks import leaks, near_duplicates, order_words, runs_z
from aarlab.core.layout import PreparedFolder


def data(folder, *, size=lambda event: 1, late=lambda event: 0) -> PreparedFolder:
    """Forty items a split, each with a file of its own; the events have a random order."""
    made, rng = PreparedFolder(folder), random.Random(3)
    for split in ("feedback", "final"):
        made.secrets(split).mkdir(parents=True)
        made.inputs(split).parent.mkdir(exist_ok=True)
        events = {f"{split}{n:02d}": rng.randrange(2) for n in range(40)}
        rows = ({"id": i, "file": f"{i}.bin"} for i in events)
        made.inputs(split).write_text("".join(json.dumps(row) + "\n" for row in rows))
        made.units(split).write_text(json.dumps(list(events)))
        (made.secrets(split) / "events.json").write_text(json.dumps(events))
        for item, event in events.items():
            path = made.inputs(split).parent / f"{item}.bin"
            path.write_bytes(bytes(100 * size(event) + rng.randrange(50)))
            os.utime(path, (0, 1000 * late(event) + rng.randrange(900)))
    return made


def test_files_of_random_size_and_time_are_no_leak(tmp_path):
    assert {leak.found for leak in leaks(data(tmp_path))} == {""}


@pytest.mark.parametrize(("what", "word"), [("size", "size"), ("late", "time")])
def test_the_size_and_the_time_of_an_items_file_are_compared(tmp_path, what, word):
    found = leaks(data(tmp_path, **{what: lambda event: event + 1}))
    assert any(f"the {word} of the item's file decides events.json" in x.found for x in found)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (list(range(40)), "is sorted"),
        (["b"] * 20 + ["a"] * 20, "is sorted"),
        ([0, 1, 1] * 14, "repeats every 3 items"),
        ([0] * 30 + [1] * 30 + [0] * 30 + [1] * 30, "has runs that are no chance (z = -10.5)"),
        ([7] * 40, ""),
        ([0, 1] * 5, ""),
    ],
)
def test_order(secret, words):
    assert order_words(secret) == words


def test_random_orders_are_left_alone():
    rng = np.random.default_rng(0)
    for share in (0.5, 0.1):
        found = [order_words((rng.random(300) < share).astype(int).tolist()) for _ in range(300)]
        assert set(found) == {""}
    assert {order_words(rng.random(300).tolist()) for _ in range(300)} == {""}


def test_runs_have_the_mean_and_variance_of_random_orders():
    rng = np.random.default_rng(1)
    drawn = [runs_z(rng.permutation([0] * 30 + [1] * 50)) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0, abs=0.06)
    assert np.std(drawn) == pytest.approx(1, abs=0.04)


def test_near_duplicates_are_counted_and_few_are_left_alone():
    rng = random.Random(0)

    def row(name, words):
        return {"id": name, "text": " ".join(words)}

    texts = [[str(rng.randrange(10**6)) for _ in range(60)] for _ in range(400)]
    feedback = [row(f"a{n}", t) for n, t in enumerate(texts[:200])]
    final = [row(f"b{n}", t) for n, t in enumerate(texts[200:])]
    assert near_duplicates({"feedback": feedback, "final": final}) == ""
    one = [row("c", [*texts[0][:59], "new"]), *final]
    assert near_duplicates({"feedback": feedback, "final": one}) == ""
    ten = [row(f"c{n}", [*texts[n][:59], "new"]) for n in range(10)]
    found = near_duplicates({"feedback": feedback, "final": [*final, *ten]})
    assert found == "10 of 210 inputs of final, e.g. near 'c0'"
