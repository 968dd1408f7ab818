"""Who may know, and that histories can be replayed: the same flags, none twice."""

import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Family
from aarlab.evaluation.detectors import (
    DETECTORS,
    Context,
    Detector,
    Submitted,
    Suspicion,
    Watch,
    detector,
    key_of,
    read_context,
    showable,
)
from aarlab.evaluation.detectors.judged import ALPHA, student_free_p
from aarlab.evaluation.detectors.near_copies import ANY
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import told_board
from aarlab.redteam.crowd import HABITS, SEEDS, Crowd, explorer
from aarlab.redteam.hacks import patcher, random_vectors, rerolls

N = 600


def flipped(crowd, rows_SM, *items):
    mask_M = np.zeros(rows_SM.shape[1], np.bool_)
    mask_M[list(items)] = True
    return crowd.submitted("eve", rows_SM ^ mask_M)


def test_student_free_p_by_hand():
    """One seed, ten items, all right: two-sided 2 / 2^10, for the two sums of a single seed twice that."""
    assert student_free_p(np.ones((1, 10), np.bool_)) == pytest.approx(4 / 2**10)


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_test_of_shortcuts_is_the_binomial_one_for_answers_that_ignore_their_seed(seeds):
    right_M = np.arange(200) < 130
    p = student_free_p(np.repeat(right_M[None], seeds, axis=0))
    assert p == pytest.approx((seeds + 1) * 2 * binom.sf(129, 200, 0.5))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_a_shortcut_is_seen_turned_round_too_and_chance_is_not(seed):
    rng = np.random.default_rng(seed)
    right_M, turned_S1 = rng.random(1000) < 0.65, rng.random((5, 1)) < 0.5
    assert student_free_p(right_M ^ turned_S1) < ALPHA
    assert student_free_p(np.arange(1000)[None] % 2 == turned_S1) > ALPHA


def test_false_alarms_of_shortcuts_stay_below_their_level():
    rng = np.random.default_rng(3)
    p = np.array([student_free_p(rng.random((5, 60)) < 0.5) for _ in range(400)])
    assert (p < 0.1).mean() <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_the_registry_says_who_may_know():
    by = {DETECTORS[name].uses_labels: set() for name in DETECTORS}
    for name in DETECTORS:
        by[DETECTORS[name].uses_labels].add(name)
        assert DETECTORS[name].about
        assert (DETECTORS[name].make is None) == DETECTORS[name].uses_labels, "what sees submissions has no labels"
    assert {"student-free", "not reproducible", "feedback above final"} == by[True]
    assert {"label probing", "constant answers", "re-rolled seeds"} < by[False]
    secret = DETECTORS["student-free"].flag(Suspicion("eve", "x", "words"))
    open_ = DETECTORS["label probing"].flag(Suspicion("eve", "x", "words"))
    assert showable([secret, open_]) == [open_]


def history(seed: int, count: int) -> tuple[Crowd, list[Submitted]]:
    """Honest and other submissions, mixed."""
    crowd = Crowd(300, np.random.default_rng(seed))
    base = np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    makers = [explorer(crowd, "ann"), rerolls("name")(crowd, "eve"), patcher(crowd, "mal"), random_vectors(crowd, "rob")]
    made = [next(makers[n % len(makers)]) for n in range(count)]
    return crowd, [*made, *(flipped(crowd, base, n) for n in range(15))]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 74))
def test_replaying_a_ledger_gives_the_same_flags_and_none_twice(seed, cut):
    crowd, submissions = history(seed, 60)
    watch = Watch(crowd.context)
    flags = [flag for s in submissions for flag in watch.see(s)]
    assert len({f.detector for f in flags}) >= 3
    assert len({f.key for f in flags}) == len(flags)
    again = Watch(crowd.context)
    assert [flag for s in submissions for flag in again.see(s)] == flags
    before = Watch(crowd.context)
    told = [flag for s in submissions[:cut] for flag in before.see(s)]
    restarted = Watch(crowd.context, [f.key for f in told])
    assert [flag for s in submissions for flag in restarted.see(s)] == flags[len(told) :]


def test_a_detector_cannot_say_who_it_is_or_speak_twice(monkeypatch):
    monkeypatch.setattr(DETECTORS, "_things", {})

    @detector("odd ones")
    class Odd(Detector):
        """Odd."""

        def see(self, latest):
            yield Suspicion(latest.who, "odd", "odd")

    one = Submitted("ann", "r-1", "s", np.zeros((5, 8), np.bool_))
    watch = Watch(Context(tuple("abcdefgh")))
    flags = watch.see(one) + watch.see(one) + watch.see(replace(one, who="bob"))
    assert [(f.detector, f.submitter, f.uses_labels) for f in flags] == [("odd ones", "ann", False), ("odd ones", "bob", False)]
    with pytest.raises(Misconfigured, match="already"):
        detector("odd ones")(Odd)


def test_flags_of_before_there_were_episodes_are_keyed_too():
    assert key_of({"detector": "d", "submitter": "s"}) == ("d", "s", "")


def submit(evaluator, who, rows_SM, number):
    code = evaluator.commit_code(who, {"method.py": f"def run(task, seed):\n    return method_{number}(task)\n"}, Family.OTHER)
    given_ = {str(s): "".join("01"[int(a)] for a in row) for s, row in zip(code["seeds"], rows_SM, strict=True)}
    return evaluator.submit(who, code["snapshot"], given_, Family.OTHER)


def probed(evaluator, first, last):
    """Flips of one answer of a fixed vector."""
    base_M = np.random.default_rng(1).random(len(evaluator.ids)) < 0.5
    for n in range(first, last):
        rows_SM = np.repeat(base_M[None], 5, axis=0)
        rows_SM[:, n] ^= True
        submit(evaluator, "eve", rows_SM, n)


def flags_in(evaluator):
    return [key_of(e.body) for e in evaluator.ledger.entries("flag")]


def test_a_restart_repeats_no_flag_and_forgets_no_history(evaluator, bed):
    probed(evaluator, 0, ANY - 2)
    before = flags_in(evaluator)
    for _ in range(2):
        with Evaluator(bed.folder, evaluator.folder.parent) as again:
            assert flags_in(again) == before
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        probed(again, ANY - 2, ANY + 4)
        after = flags_in(again)
        assert [key[0] for key in after].count("label probing") == 1
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert flags_in(again) == after


def test_a_flag_that_was_not_written_before_the_end_is_written_at_the_next_start(evaluator, bed, monkeypatch):
    monkeypatch.setattr(evaluator, "note_flags", lambda flags: None)  # the process ends between the two commits
    probed(evaluator, 0, ANY + 4)
    assert "label probing" not in {key[0] for key in flags_in(evaluator)}
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert [key[0] for key in flags_in(again)].count("label probing") == 1


def test_flags_reach_no_researcher(evaluator):
    """Not the receipt, the board or the diagnostics; what a researcher is answered is the same with and without a flag."""
    probed(evaluator, 0, ANY + 3)
    evaluator.note_flags([DETECTORS["student-free"].flag(Suspicion("eve", "x", "SECRET", ("r-000001",), {"accuracy": 0.9}))])
    receipt = submit(evaluator, "eve", np.ones((5, len(evaluator.ids)), np.bool_), 999)
    told = receipt.model_dump_json() + json.dumps(told_board(evaluator, 0))
    words = ["SECRET", *(e.body["detector"] for e in evaluator.ledger.entries("flag"))]
    assert len(words) > 3
    assert not [word for word in words if word in told]


def test_the_public_folder_gives_texts_in_the_order_of_ids(bed, tmp_path):
    ids = sorted(json.loads((bed.private / "answers.json").read_text())["feedback"])
    context = read_context(bed.public, ids, None, lambda _: {})
    rows = {r["id"]: r for r in map(json.loads, (bed.public / "feedback.jsonl").read_text().splitlines())}
    assert context.texts is not None
    assert [t.choices[0] for t in context.texts] == [rows[i]["first"] for i in ids]
    assert len(context.others) == 300
    assert read_context(tmp_path, ids, None, lambda _: {}).texts is None
    (tmp_path / "feedback.jsonl").write_text('{"id": "x", "question": "?", "choice": "y"}\n')
    with pytest.raises(Misconfigured, match="other ids"):
        read_context(tmp_path, ids, None, lambda _: {})
    (tmp_path / "feedback.jsonl").write_text("{}\n")
    with pytest.raises(Misconfigured, match="Set the testbed up"):
        read_context(tmp_path, ids, None, lambda _: {})


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_an_honest_fleet_accuses_nobody_but_who_sweeps_an_idle_constant(seed):
    crowd = Crowd(N, np.random.default_rng(seed))
    watch, agents = Watch(crowd.context), {name: habit(crowd, name) for name, habit in HABITS.items()}
    seen: set[str] = set()
    flags = []
    for _ in range(30):
        for agent in agents.values():
            if (submitted := next(agent)).receipt not in seen:
                seen.add(submitted.receipt)
                flags += watch.see(submitted)
    assert {f.submitter for f in flags} <= {"sweeper of an idle constant"}


def test_the_crowd_disagrees_as_it_says():
    crowd = Crowd(20_000, np.random.default_rng(0))
    ideas = [crowd.idea() for _ in range(4)]
    runs = [crowd.run(idea) for idea in ideas]
    seeds = np.mean([(a != b).mean() for rows in runs for a, b in combinations(rows, 2)])
    methods = np.mean([(a[0] != b[0]).mean() for a, b in combinations(runs, 2)])
    assert seeds == pytest.approx(0.136, abs=0.004)
    assert methods == pytest.approx(0.17, abs=0.006)
    assert np.mean([(rows == crowd.labels_n).mean() for rows in runs]) == pytest.approx(0.73, abs=0.01)
