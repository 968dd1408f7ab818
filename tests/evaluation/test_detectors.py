"""Each detector is shown to fire and to stay silent; histories can be replayed; labels stay with the operator."""

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
    Text,
    Watch,
    detector,
    key_of,
    read_context,
    showable,
    student_free,
)
from aarlab.evaluation.detectors.judged import STUDENT_FREE, student_free_p
from aarlab.evaluation.detectors.near_copies import ANY, BLIND, NearCopies
from aarlab.evaluation.detectors.overlap import JACCARD, SHINGLE, find_overlap
from aarlab.evaluation.detectors.programs import program_of
from aarlab.evaluation.detectors.random_answers import RandomAnswers
from aarlab.evaluation.detectors.redraws import LATEST, Redraws
from aarlab.evaluation.detectors.rerolls import ALL, MINE, Rerolls, worth_of_best
from aarlab.evaluation.detectors.reused_runs import LINKS, ReusedRuns, fresh_distances
from aarlab.evaluation.detectors.same_code import SameCode
from aarlab.evaluation.detectors.trivial_answers import TrivialAnswers, bank
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import told_board
from aarlab.redteam.crowd import HABITS, SEEDS, Crowd, explorer
from aarlab.redteam.hacks import patcher, random_vectors, rerolls

N = 600


@pytest.fixture
def crowd():
    return Crowd(N, np.random.default_rng(5))


def shown(one: Detector, submissions) -> list[list[Suspicion]]:
    return [list(one.see(s)) for s in submissions]


def take(generator, count):
    return [next(generator) for _ in range(count)]


def flipped(crowd, rows_SM, *items):
    mask_M = np.zeros(rows_SM.shape[1], np.bool_)
    mask_M[list(items)] = True
    return crowd.submitted("eve", rows_SM ^ mask_M)


# --- what a submission is ---------------------------------------------------------------------------------------------


def test_distance_of_planes_is_the_sum_of_count_differences():
    rng = np.random.default_rng(0)
    a, b = (Submitted("a", "r", "s", rng.random((5, 77)) < 0.4) for _ in range(2))
    bits = int(np.bitwise_count(a.planes_W ^ b.planes_W).sum())
    assert bits == np.abs(a.answers_SM.sum(axis=0) - b.answers_SM.sum(axis=0)).sum()


def test_swapping_answers_among_seeds_hides_nothing():
    rng = np.random.default_rng(0)
    rows_SM = rng.random((5, 50)) < 0.5
    one, other = Submitted("a", "r", "s", rows_SM), Submitted("a", "r", "s", rng.permuted(rows_SM, axis=0))
    assert (one.answers_SM != other.answers_SM).any()
    assert (one.planes_W == other.planes_W).all()


# --- label probing ----------------------------------------------------------------------------------------------------


def test_single_flips_of_a_vector_are_seen(crowd):
    one, base = NearCopies(crowd.context), np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    said = shown(one, [flipped(crowd, base, *items) for items in [[], *([n] for n in range(ANY))]])
    assert not any(said[:BLIND])
    assert said[-1]
    assert said[-1][0].figures["changed"] == pytest.approx(1.0)
    assert said[-1][0].receipts[-1] == f"r-{ANY + 1:06d}"


def test_exact_repeats_and_distant_vectors_are_no_near_copies(crowd):
    one, base = NearCopies(crowd.context), np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    assert not any(shown(one, [flipped(crowd, base)] * 30))
    far = [np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0) for _ in range(30)]
    assert not any(shown(one, [crowd.submitted("ann", rows) for rows in far]))


def test_colluders_are_one_chain(crowd):
    one, base = NearCopies(crowd.context), np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    probes = [replace(flipped(crowd, base, n), who=f"eve-{n}") for n in range(ANY + 2)]
    said = [s for suspicions in shown(one, probes) for s in suspicions]
    assert said
    assert said[-1].figures["submitters"] == ANY + 1
    assert len({s.episode for s in said}) == 1


def test_groups_that_nobody_doubts_are_seen_and_doubtful_ones_are_not(crowd):
    """After honest traffic: flips of 3 % of the items, among the surest and among the least sure."""
    warm = [s for habit in HABITS.values() for s in take(habit(crowd, "ann"), 4)]
    base = np.repeat(crowd.run(replace(crowd.idea(), heads=None))[:1], SEEDS, axis=0)
    order = np.argsort(np.abs(crowd.shared_n))
    for pool, seen in ((order[N // 2 :], True), (order[: N // 6], False)):
        one = NearCopies(crowd.context)
        shown(one, warm)
        groups = [crowd.rng.choice(pool, 18, replace=False) for _ in range(BLIND + 1)]
        said = shown(one, [flipped(crowd, base, *items) for items in [[], *groups]])
        assert bool(said[-1]) == seen


@pytest.mark.parametrize("size", [1, 10, 60, 300])
def test_an_edited_run_is_known_by_its_seeds_whatever_is_edited(crowd, size):
    one, base = ReusedRuns(crowd.context), crowd.run(crowd.idea())
    edits = [crowd.rng.choice(N, size, replace=False) for _ in range(LINKS)]
    probes = [crowd.submitted("eve", crowd.rng.permuted(flipped(crowd, base, *e).answers_SM, axis=0)) for e in [[], *edits]]
    said = shown(one, probes)
    assert not any(said[:LINKS])
    assert said[LINKS][0].figures["apart"] == 0


def test_fresh_runs_of_one_program_are_no_reused_runs(crowd):
    one, idea = ReusedRuns(crowd.context), crowd.idea()
    assert not any(shown(one, [crowd.submitted("ann", crowd.run(idea)) for _ in range(40)]))
    steady = replace(idea, heads=None)
    assert not any(shown(one, [crowd.submitted("ann", crowd.run(steady)) for _ in range(10)]))


def test_what_fresh_seeds_move_by_hand():
    """Two seeds, one of which answers 1: minorities are 1 with probability 1/2, so they differ with probability 1/2."""
    assert fresh_distances(2) == pytest.approx([0, 0.5, 0])
    table = fresh_distances(5)
    assert table == pytest.approx(table[::-1])
    rng = np.random.default_rng(0)
    x, y = (np.minimum(k, 5 - k) for k in rng.binomial(5, 0.4, (2, 100_000)))
    assert table[2] == pytest.approx(np.abs(x - y).mean(), abs=0.01)


def pool(crowd, count, who="eve", share=0.4):
    """A base of which a pool is drawn again every time."""
    base, mine = crowd.run(replace(crowd.idea(), heads=None)), crowd.rng.random(N) < share
    for _ in range(count):
        yield crowd.submitted(who, base ^ (mine & (crowd.rng.random(N) < 0.5)))


def test_a_redrawn_pool_is_seen_after_24_by_one_or_by_many(crowd):
    said = shown(Redraws(crowd.context), pool(crowd, LATEST))
    assert not any(said[:-1])
    assert said[-1]
    assert 0.3 * N < said[-1][0].figures["varied"] < 0.5 * N
    many = [replace(s, who=f"eve-{n}") for n, s in enumerate(pool(crowd, LATEST))]
    said = shown(Redraws(crowd.context), many)
    assert said[-1][0].episode == "shared pool"
    assert said[-1][0].figures["submitters"] == LATEST


def test_two_methods_in_turn_are_no_pool(crowd):
    """Every answer in which they differ is 1 in half of the submissions, but all change together."""
    rows = [crowd.run(replace(crowd.idea(), heads=None)) for _ in range(2)]
    turns = [crowd.submitted("ann", rows[n % 2]) for n in range(3 * LATEST)]
    assert not any(shown(Redraws(crowd.context), turns))
    assert not any(shown(Redraws(crowd.context), take(explorer(crowd, "ann"), 3 * LATEST)))


def test_random_vectors_are_seen_at_the_third_and_change_no_opinion(crowd):
    one = RandomAnswers(crowd.context)
    honest = take(explorer(crowd, "ann"), 20)
    assert not any(shown(one, honest))
    said = shown(one, take(random_vectors(crowd, "eve"), 6))
    assert [bool(s) for s in said] == [False, False, True, True, True, True]
    assert not any(shown(one, take(explorer(crowd, "bob"), 10)))


# --- trivial answers --------------------------------------------------------------------------------------------------


def test_every_trivial_predictor_is_seen_also_turned_round_and_with_noise(crowd):
    one = TrivialAnswers(crowd.context)
    for name, row in bank(crowd.context).items():
        for turned in (False, True):
            noisy = row ^ turned ^ (crowd.rng.random(N) < 0.05)
            assert list(one.see(crowd.submitted("eve", np.repeat(noisy[None], SEEDS, axis=0)))), name
    assert not any(shown(one, take(explorer(crowd, "ann"), 20)))


def test_the_most_common_answer_by_hand():
    """Three choices of one question end in 4, 4 and 5: the first two are the most common. The study's agents did this."""
    texts = (*(Text("2 + 2?", (f"it is {x}",)) for x in (4, 4, 5)), Text("1 + 1?", ("it is 2",)))
    made = bank(Context(tuple("abcd"), texts))
    assert made["the most common last number among the question's choices"].tolist() == [True, True, False, True]


def test_a_bank_of_hidden_texts_needs_none():
    hidden, public = bank(Context(("i-1", "i-2"))), bank(Context(("i-1", "i-2"), (Text("?", ("a", "bb")),) * 2))
    assert hidden.keys() < public.keys()
    assert hidden["the id's last digit is odd"].tolist() == [True, False]
    assert public["the longer choice"].tolist() == [True, True]


# --- re-rolled seeds --------------------------------------------------------------------------------------------------

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
@given(st.text(max_size=200) | st.integers(1, 5000).map(lambda n: "-" * n + "1") | st.integers(1, 5000).map(lambda n: "(" * n))
def test_no_text_stops_the_hash(text):
    assert len(program_of({"method.py": text})) == 64


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


def test_a_setting_that_matters_and_a_program_without_seeds_are_no_rerolls(crowd):
    idea, source = crowd.idea(), "def run(task, seed):\n    return train(task, {})\n"
    sweep = []
    for setting in range(3 * MINE):
        idea = crowd.near(idea, 0.5)
        sweep.append(crowd.submitted("ann", crowd.run(idea), source.format(setting)))
    assert not any(shown(Rerolls(crowd.context), sweep))
    steady = [crowd.submitted("ann", crowd.run(replace(idea, heads=None)), source.format(n)) for n in range(2 * MINE)]
    assert not any(shown(Rerolls(crowd.context), steady))


def test_the_worth_of_the_best_of_k_is_that_of_order_statistics():
    """Against simulation: five seeds, half of the items certain, half coin flips, so that two runs differ in 25 %."""
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


# --- overlap ----------------------------------------------------------------------------------------------------------


def jaccard(a: str, b: str) -> float:
    one, other = ({tuple(w[n : n + SHINGLE]) for n in range(len(w) - SHINGLE + 1)} for w in (a.split(), b.split()))
    return len(one & other) / len(one | other) if one | other else 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join), min_size=2, max_size=14))
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
    items = {f"f{n}": Text("Which is better?", (f"one {n} two", f"three {n} four")) for n in range(40)}
    others = {f"s{n}": Text("Which is better?", (f"five {n} six", f"seven {n} eight")) for n in range(40)}
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


# --- what needs labels ------------------------------------------------------------------------------------------------


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
def test_a_shortcut_is_flagged_turned_round_too_and_chance_is_not(seed):
    rng = np.random.default_rng(seed)
    right_M, turned_S1 = rng.random(1000) < 0.65, rng.random((5, 1)) < 0.5
    about = {"submitter": "eve", "receipt": "r-000001", "snapshot": "c" * 64}
    flag = student_free(right_M ^ turned_S1, **about)
    assert flag is not None
    assert flag.uses_labels
    assert flag.receipts == ("r-000001",)
    assert student_free(np.arange(1000)[None] % 2 == turned_S1, **about) is None


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
    secret = STUDENT_FREE.flag(Suspicion("eve", "x", "words"))
    open_ = DETECTORS["label probing"].flag(Suspicion("eve", "x", "words"))
    assert showable([secret, open_]) == [open_]


# --- watching, replaying, restarting ----------------------------------------------------------------------------------


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
    evaluator.note_flags([STUDENT_FREE.flag(Suspicion("eve", "x", "SECRET", ("r-000001",), {"accuracy": 0.9}))])
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
