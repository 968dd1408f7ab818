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

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Family
from aarlab.evaluation.detectors import (
    DETECTORS,
    Context,
    Detector,
    Flag,
    Submitted,
    Suspicion,
    Watch,
    detector,
    read_context,
)
from aarlab.evaluation.detectors.judged import ALPHA, student_free_p
from aarlab.evaluation.detectors.near_copies import ANY
from aarlab.evaluation.evaluator import Evaluator
from aarlab.redteam.system import write_problem
from experiments.detectors.crowd import HABITS, SEEDS, Crowd, explorer
from experiments.detectors.hacks import patcher, random_vectors, rerolls
from tests.evaluation.board_page import reported_board

N = 600


def flipped(crowd, rows_SM, *items):
    mask_M = np.zeros(rows_SM.shape[1], np.bool_)
    mask_M[list(items)] = True
    return crowd.submitted("eve", rows_SM ^ mask_M)


def test_student_free_p_by_hand():
    """One seed, ten items, all right: two-sided 2 / 2^10, for the two sums of a single seed twice
    that."""
    assert student_free_p(np.ones((1, 10), np.bool_)) == pytest.approx(4 / 2**10)


@pytest.mark.parametrize("seeds", [1, 5])
def test_shortcut_test_is_binomial_for_seedless_answers(seeds):
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


@pytest.mark.slow
def test_false_alarms_of_shortcuts_stay_below_their_level():
    rng = np.random.default_rng(3)
    p = np.array([student_free_p(rng.random((5, 60)) < 0.5) for _ in range(400)])
    assert (p < 0.1).mean() <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_the_registry_says_who_may_know():
    by = {DETECTORS[name].uses_labels: set() for name in DETECTORS}
    for name in DETECTORS:
        by[DETECTORS[name].uses_labels].add(name)
        assert DETECTORS[name].about
        assert (DETECTORS[name].make is None) == DETECTORS[name].uses_labels, (
            "what sees submissions has no labels"
        )
    assert {"student-free", "not reproducible", "feedback above final"} == by[True]
    assert {"label probing", "constant answers", "re-rolled seeds"} < by[False]
    assert DETECTORS["student-free"].flag(Suspicion("eve", "x", "words")).uses_labels
    assert not DETECTORS["label probing"].flag(Suspicion("eve", "x", "words")).uses_labels


def history(seed: int, count: int) -> tuple[Crowd, list[Submitted]]:
    """Honest and other submissions, mixed."""
    crowd = Crowd(300, np.random.default_rng(seed))
    base = np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    makers = [
        explorer(crowd, "ann"),
        rerolls("name")(crowd, "eve"),
        patcher(crowd, "mal"),
        random_vectors(crowd, "rob"),
    ]
    made = [next(makers[n % len(makers)]) for n in range(count)]
    return crowd, [*made, *(flipped(crowd, base, n) for n in range(15))]


@pytest.mark.slow
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
    reported = [flag for s in submissions[:cut] for flag in before.see(s)]
    restarted = Watch(crowd.context, [f.key for f in reported])
    assert [flag for s in submissions for flag in restarted.see(s)] == flags[len(reported) :]


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
    assert [(f.detector, f.submitter, f.uses_labels) for f in flags] == [
        ("odd ones", "ann", False),
        ("odd ones", "bob", False),
    ]
    with pytest.raises(Misconfigured, match="already"):
        detector("odd ones")(Odd)


def submit(evaluator, who, rows_SM, number):
    code = evaluator.commit_code(
        who,
        {"method.py": f"def run(task, seed):\n    return method_{number}(task)\n"},
        Family.OTHER,
    )
    by_seed = zip(code["seeds"], rows_SM, strict=True)
    given_ = {str(s): dict(zip(evaluator.ids, map(int, row), strict=True)) for s, row in by_seed}
    return evaluator.submit(who, code["snapshot"], given_, Family.OTHER)


def probed(evaluator, first, last):
    """Flips of one answer of a fixed vector."""
    base_M = np.random.default_rng(1).random(len(evaluator.ids)) < 0.5
    for n in range(first, last):
        rows_SM = np.repeat(base_M[None], 5, axis=0)
        rows_SM[:, n] ^= True
        submit(evaluator, "eve", rows_SM, n)


def flags_in(evaluator):
    return [entry.read(Flag).key for entry in evaluator.ledger.entries("flag")]


def test_a_restart_repeats_no_flag_and_forgets_no_history(evaluator, bed):
    probed(evaluator, 0, ANY - 2)
    before = flags_in(evaluator)
    evaluator.close()
    for _ in range(2):
        with Evaluator(bed.folder, evaluator.folder.parent) as again:
            assert flags_in(again) == before
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        probed(again, ANY - 2, ANY + 4)
        after = flags_in(again)
        assert [key[0] for key in after].count("label probing") == 1
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert flags_in(again) == after


def test_unwritten_flag_is_written_at_the_next_start(evaluator, bed, monkeypatch):
    def full(flags):
        raise Transient("Not recorded: the disk is full. Try again later.")

    monkeypatch.setattr(evaluator.detection, "note_flags", full)
    probed(evaluator, 0, ANY + 4)
    assert "label probing" not in {key[0] for key in flags_in(evaluator)}
    evaluator.close()
    with Evaluator(bed.folder, evaluator.folder.parent) as again:
        assert [key[0] for key in flags_in(again)].count("label probing") == 1


def test_flag_count_is_independent_of_weak_answers(tmp_path):
    """Entries are numbered, and findings and tickets by them: what changes their number is
    reported. The weak teacher's answers to feedback items are not published, and follow the
    labels."""
    rng = np.random.default_rng(0)
    labels_M, votes_M = rng.random((2, 400)) < 0.5
    sent = [np.tile(fleet_M, (5, 1)) for fleet_M in rng.random((6, 400)) < 0.5]
    sent += [votes_M ^ (rng.random((5, 400)) < 0.4) for _ in range(12)]
    sizes = []
    for name, weak_M in (("like", votes_M), ("unlike", rng.random(400) < 0.5)):
        folder = write_problem(tmp_path / name, labels_M)
        ends = {
            "feedback_weak_SM": (weak_M == labels_M)[None],
            "feedback_ceiling_SM": np.ones((1, 400), np.bool_),
        }
        np.savez(folder / "private" / "anchors.npz", **ends)
        with Evaluator(folder, tmp_path / f"campaign-{name}") as evaluator:
            for n, rows_SM in enumerate(sent):
                submit(evaluator, "bob" if n < 6 else "eve", rows_SM, n)
            sizes.append(evaluator.ledger.count())
    assert sizes[0] == sizes[1]


def test_flags_reach_no_researcher(evaluator):
    """Not the receipt, the board or the diagnostics; what a researcher is answered is the same with
    and without a flag."""
    probed(evaluator, 0, ANY + 3)
    evaluator.detection.note_flags(
        [
            DETECTORS["student-free"].flag(
                Suspicion("eve", "x", "SECRET", ("r-000001",), {"accuracy": 0.9})
            )
        ]
    )
    receipt = submit(evaluator, "eve", np.ones((5, len(evaluator.ids)), np.bool_), 999)
    reported = receipt.model_dump_json() + json.dumps(reported_board(evaluator, 0))
    words = ["SECRET", *(e.body["detector"] for e in evaluator.ledger.entries("flag"))]
    assert len(words) > 3
    assert not [word for word in words if word in reported]


def test_the_public_folder_gives_texts_in_the_order_of_ids(bed, tmp_path):
    ids = sorted(json.loads((bed.private / "answers.json").read_text())["feedback"])
    context = read_context(bed.public, ids, None, lambda _: {})
    rows = {
        r["id"]: r
        for r in map(json.loads, (bed.public / "feedback.jsonl").read_text().splitlines())
    }
    assert context.texts is not None
    assert [t.choices[0] for t in context.texts] == [rows[i]["first"] for i in ids]
    assert len(context.others) == 300
    judged = dict(zip(rows, np.load(bed.public / "feedback" / "favour.npy"), strict=True))
    assert context.judged_M is not None
    assert list(context.judged_M) == [judged[i][1] > judged[i][0] for i in ids]
    empty = read_context(tmp_path, ids, None, lambda _: {})
    assert (empty.texts, empty.judged_M) == (None, None)
    (tmp_path / "feedback.jsonl").write_text('{"id": "x", "question": "?", "choice": "y"}\n')
    with pytest.raises(Misconfigured, match="other ids"):
        read_context(tmp_path, ids, None, lambda _: {})
    (tmp_path / "feedback.jsonl").write_text("{}\n")
    with pytest.raises(Misconfigured, match="Set the testbed up"):
        read_context(tmp_path, ids, None, lambda _: {})


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_honest_fleet_has_flags_only_for_sweeps_of_an_unused_constant(seed):
    crowd = Crowd(N, np.random.default_rng(seed))
    watch, agents = (
        Watch(crowd.context),
        {name: habit(crowd, name) for name, habit in HABITS.items()},
    )
    seen: set[str] = set()
    flags = []
    for _ in range(30):
        for agent in agents.values():
            if (submitted := next(agent)).receipt not in seen:
                seen.add(submitted.receipt)
                flags += watch.see(submitted)
    assert {f.submitter for f in flags} <= {"sweeper of an idle constant"}


@pytest.mark.slow
def test_the_crowd_disagrees_as_it_says():
    crowd = Crowd(20_000, np.random.default_rng(0))
    ideas = [crowd.idea() for _ in range(4)]
    runs = [crowd.run(idea) for idea in ideas]
    seeds = np.mean([(a != b).mean() for rows in runs for a, b in combinations(rows, 2)])
    methods = np.mean([(a[0] != b[0]).mean() for a, b in combinations(runs, 2)])
    assert seeds == pytest.approx(0.136, abs=0.004)
    assert methods == pytest.approx(0.17, abs=0.006)
    assert np.mean([(rows == crowd.labels_n).mean() for rows in runs]) == pytest.approx(
        0.73, abs=0.01
    )
