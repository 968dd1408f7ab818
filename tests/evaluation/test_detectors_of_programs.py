"""Re-rolled seeds and overlapping texts: shown to be found, and honest ones not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.evaluation.detectors import (
    Context,
    Text,
    Watch,
    programs,
)
from aarlab.evaluation.detectors.answer_overlap import JACCARD, SHINGLE, find_overlap
from aarlab.evaluation.detectors.programs import program_of
from aarlab.evaluation.detectors.rerolls import ALL, MINE, Rerolls, worth_of_best
from aarlab.evaluation.detectors.same_code import SameCode
from experiments.detectors.crowd import SEEDS
from experiments.detectors.hacks import patcher, rerolls
from tests.evaluation.crowded import N, shown, take

PROGRAM = """from aarlab.methods import parts

L2 = 0.3


def run(task, seed):
    probs = parts.naive(task, l2=L2)
    return probs + 1e-9
"""
SAME = {
    "comment": PROGRAM.replace("L2 = 0.3", "L2 = 0.3  # try 7"),
    "number": PROGRAM.replace("0.3", "0.31").replace("1e-9", "-2e-9"),
    "name": PROGRAM.replace("probs", "p7").replace("L2", "PENALTY"),
    "docstring and an idle constant": '"""Seven."""\nJUNK = ("x", 7)\n' + PROGRAM,
    "alias": PROGRAM.replace("import parts", "import parts as q").replace("parts.naive", "q.naive"),
    "pass and space": PROGRAM.replace("    probs =", "\n    pass\n    probs  ="),
    "annotation": PROGRAM.replace("run(task, seed)", "run(task: object, seed: int) -> object"),
}
OTHER = {
    "another function": PROGRAM.replace("naive", "bagged"),
    "another keyword": PROGRAM.replace("l2=", "l1="),
    "another module": PROGRAM.replace("aarlab.methods", "aarlab.other"),
    "another string": PROGRAM.replace("(task, ", "(task, 'x', "),
    "another operator": PROGRAM.replace("probs + ", "probs * "),
    "no Python": "def run(:",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_same_program_under_another_text(text):
    assert program_of({"method.py": text}) == program_of({"other.py": PROGRAM})


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_another_program(text):
    assert program_of({"method.py": text}) != program_of({"method.py": PROGRAM})


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200)
    | st.integers(1, 5000).map(lambda n: "-" * n + "1")
    | st.integers(1, 5000).map(lambda n: "(" * n)
)
def test_no_text_stops_the_hash(text):
    assert len(program_of({"method.py": text})) == 64


def test_a_snapshot_of_very_much_code_is_not_parsed(monkeypatch):
    monkeypatch.setattr(programs.ast, "parse", lambda text: pytest.fail("it was parsed"))
    assert len(program_of({f"{n}.py": "1" + "<1" * 5_000 for n in range(14)})) == 64


def test_rerolls_are_seen_at_the_eighth_and_say_what_they_are_worth(crowd):
    said = shown(Rerolls(crowd.context), take(rerolls("comment")(crowd, "eve"), MINE))
    assert not any(said[:-1])
    figures = said[-1][0].figures
    assert figures["variants"] == MINE
    assert figures["disagreement"] == pytest.approx(0.136, abs=0.03)
    assert figures["worth"] == pytest.approx(worth_of_best(MINE, figures["disagreement"], N, SEEDS))


def test_nine_identities_reroll_together(crowd):
    said = shown(Rerolls(crowd.context), take(rerolls("constant", people=9)(crowd, "eve"), 9 + ALL))
    assert said[-1]
    assert said[-1][0].figures["mine"] < MINE
    first = shown(Rerolls(crowd.context), take(rerolls("constant", people=60)(crowd, "ann"), 60))
    assert not any(first), "one run each of the same baseline is no re-roll"


def test_effective_setting_and_seedless_program_are_no_rerolls(crowd):
    idea, source = crowd.idea(), "def run(task, seed):\n    return train(task, {})\n"
    sweep = []
    for setting in range(3 * MINE):
        idea = crowd.near(idea, 0.5)
        sweep.append(crowd.submitted("ann", crowd.run(idea), source.format(setting)))
    assert not any(shown(Rerolls(crowd.context), sweep))
    steady = [
        crowd.submitted("ann", crowd.run(replace(idea, heads=None)), source.format(n))
        for n in range(2 * MINE)
    ]
    assert not any(shown(Rerolls(crowd.context), steady))


def test_the_worth_of_the_best_of_k_is_that_of_order_statistics():
    """Against simulation: five seeds, half of the items certain, half coin flips, so that two runs
    differ in 25 %."""
    rng = np.random.default_rng(0)
    n, k = 400, 10
    means = (rng.binomial(5 * n // 2, 0.5, (4000, k)) + 5 * n / 4) / (5 * n)
    gained = means.max(axis=1).mean() - means.mean()
    assert worth_of_best(k, 0.25, n, 5) == pytest.approx(gained, rel=0.03)
    assert worth_of_best(1, 0.25, n, 5) == pytest.approx(0.0, abs=1e-12)


def test_three_bundles_of_one_snapshot_are_two_too_many(crowd):
    probes = take(patcher(crowd, "eve"), 4)
    assert [bool(s) for s in shown(SameCode(crowd.context), probes)] == [False, False, True, True]
    assert not any(shown(SameCode(crowd.context), [probes[0]] * 5))


def jaccard(a: str, b: str) -> float:
    one, other = (
        {tuple(w[n : n + SHINGLE]) for n in range(len(w) - SHINGLE + 1)}
        for w in (a.split(), b.split())
    )
    return len(one & other) / len(one | other) if one | other else 0.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join),
        min_size=2,
        max_size=14,
    )
)
def test_prefix_filtering_misses_no_pair_and_invents_none(texts):
    """Against all pairs."""
    half = len(texts) // 2
    mine = {f"f{n}": Text(f"f {n}", (t,)) for n, t in enumerate(texts[:half])}
    theirs = {f"s{n}": Text(f"s {n}", (t,)) for n, t in enumerate(texts[half:])}
    found = find_overlap(mine, theirs)
    for item, text in mine.items():
        same = [t.choices[0] == text.choices[0] for t in theirs.values()]
        near = [jaccard(text.choices[0], t.choices[0]) >= JACCARD for t in theirs.values()]
        assert (item in found.exact) == any(same)
        assert (item in found.near) == (any(near) and not any(same))


def test_a_common_instruction_is_no_overlap_and_a_question_of_its_own_is():
    items = {
        f"f{n}": Text("Which is better?", (f"one {n} two", f"three {n} four")) for n in range(40)
    }
    others = {
        f"s{n}": Text("Which is better?", (f"five {n} six", f"seven {n} eight")) for n in range(40)
    }
    assert not find_overlap(items, others).exact
    others["s0"] = Text("Which is BETTER   today then?", ("x", "y"))
    items["f0"] = Text("which is better today then?", ("z", "w"))
    assert dict(find_overlap(items, others).exact) == {"f0": "s0"}


def test_overlap_is_raised_once_with_the_ids():
    text = Text("?", ("a text of some seven words here", "b"))
    context = Context(("f1", "f2"), (text, Text("?", ("c", "d"))), {"s9": text})
    flags = Watch(context).opening()
    assert [(f.detector, f.submitter, f.items, f.uses_labels) for f in flags] == [
        ("train/test overlap", "the problem", ("f1",), False)
    ]
    assert Watch(context, [f.key for f in flags]).opening() == []
    assert Watch(Context(("f1", "f2"))).opening() == []
