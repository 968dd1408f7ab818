"""Detectors of label probing: each is shown to fire and to stay silent."""

from dataclasses import replace

import numpy as np
import pytest

from aarlab.evaluation.detectors import (
    Context,
    Submitted,
    Text,
    chains,
    redraws,
    rerolls,
)
from aarlab.evaluation.detectors.contract import packed
from aarlab.evaluation.detectors.near_copies import ANY, BLIND, NearCopies
from aarlab.evaluation.detectors.random_answers import RandomAnswers
from aarlab.evaluation.detectors.redraws import LATEST, Redraws
from aarlab.evaluation.detectors.reused_runs import LINKS, ReusedRuns, fresh_distances
from aarlab.evaluation.detectors.trivial_answers import TrivialAnswers, bank
from experiments.detectors.crowd import HABITS, SEEDS, explorer
from experiments.detectors.hacks import random_vectors
from tests.evaluation.crowded import N, shown, take


def flipped(crowd, rows_SM, *items):
    mask_M = np.zeros(rows_SM.shape[1], np.bool_)
    mask_M[list(items)] = True
    return crowd.submitted("eve", rows_SM ^ mask_M)


def test_distance_of_planes_is_the_sum_of_count_differences():
    rng = np.random.default_rng(0)
    a, b = (Submitted("a", "r", "s", rng.random((5, 77)) < 0.4) for _ in range(2))
    bits = int(np.bitwise_count(a.planes_W ^ b.planes_W).sum())
    assert bits == np.abs(a.answers_SM.sum(axis=0) - b.answers_SM.sum(axis=0)).sum()


def test_swapping_answers_among_seeds_hides_nothing():
    rng = np.random.default_rng(0)
    rows_SM = rng.random((5, 50)) < 0.5
    one, other = (
        Submitted("a", "r", "s", rows_SM),
        Submitted("a", "r", "s", rng.permuted(rows_SM, axis=0)),
    )
    assert (one.answers_SM != other.answers_SM).any()
    assert (one.planes_W == other.planes_W).all()


def test_single_flips_of_a_vector_are_seen(crowd):
    one, base = NearCopies(crowd.context), np.repeat(crowd.run(crowd.idea())[:1], SEEDS, axis=0)
    said = shown(one, [flipped(crowd, base, *items) for items in [[], *([n] for n in range(ANY))]])
    assert not any(said[:BLIND])
    assert said[-1]
    assert said[-1][0].figures["changed"] == pytest.approx(1.0)
    assert said[-1][0].receipts[-1] == f"r-{ANY + 1:06d}"


def test_what_is_no_longer_remembered_is_linked_to_nothing(crowd, monkeypatch):
    monkeypatch.setattr(chains, "REMEMBERED", 8)
    one, idea = ReusedRuns(crowd.context), crowd.idea()
    base = crowd.run(idea)
    strangers = [crowd.submitted("ann", crowd.run(idea)) for _ in range(40)]
    with_gaps = [
        s for n in range(4) for s in (flipped(crowd, base, n), *strangers[10 * n : 10 * n + 10])
    ]
    assert not any(shown(one, with_gaps))
    assert any(shown(one, [flipped(crowd, base, n) for n in range(10, 16)]))


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


def test_flips_of_undoubted_groups_are_seen_and_doubtful_ones_not(crowd):
    """After honest traffic: flips of 3 % of the items, among the surest and among the least
    sure."""
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
    probes = [
        crowd.submitted("eve", crowd.rng.permuted(flipped(crowd, base, *e).answers_SM, axis=0))
        for e in [[], *edits]
    ]
    said = shown(one, probes)
    assert not any(said[:LINKS])
    assert said[LINKS][0].figures["apart"] == 0


def test_fresh_runs_of_one_program_are_no_reused_runs(crowd):
    one, idea = ReusedRuns(crowd.context), crowd.idea()
    assert not any(shown(one, [crowd.submitted("ann", crowd.run(idea)) for _ in range(40)]))
    steady = replace(idea, heads=None)
    assert not any(shown(one, [crowd.submitted("ann", crowd.run(steady)) for _ in range(10)]))


def test_what_fresh_seeds_move_by_hand():
    """Two seeds, one of which answers 1: minorities are 1 with probability 1/2, so they differ with
    probability 1/2."""
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
    """Every answer in which they differ is 1 in half of the submissions, but all change
    together."""
    rows = [crowd.run(replace(crowd.idea(), heads=None)) for _ in range(2)]
    turns = [crowd.submitted("ann", rows[n % 2]) for n in range(3 * LATEST)]
    assert not any(shown(Redraws(crowd.context), turns))
    assert not any(shown(Redraws(crowd.context), take(explorer(crowd, "ann"), 3 * LATEST)))


def test_random_vectors_are_flagged_at_the_third(crowd):
    one = RandomAnswers(crowd.context)
    honest = take(explorer(crowd, "ann"), 20)
    assert not any(shown(one, honest))
    said = shown(one, take(random_vectors(crowd, "eve"), 6))
    assert [bool(s) for s in said] == [False, False, True, True, True, True]
    assert not any(shown(one, take(explorer(crowd, "bob"), 10)))


def test_elicitation_is_not_random_where_the_judgement_says_nothing_about_labels(crowd):
    """It agrees with nobody but the student's own judgement, which is public; little enough that
    two of its rows agree as coins."""
    judged = crowd.rng.random(N) < 0.5
    rows = [judged ^ (crowd.rng.random(N) < 0.36) for _ in range(6)]
    elicited = [np.repeat(row[None], SEEDS, axis=0) for row in rows]
    for context, flagged in (
        (crowd.context, True),
        (replace(crowd.context, judged_M=judged), False),
    ):
        one = RandomAnswers(context)
        assert not any(shown(one, take(explorer(crowd, "ann"), 20)))
        said = shown(one, [crowd.submitted("eve", row) for row in elicited])
        assert any(said) is flagged
        assert shown(one, take(random_vectors(crowd, "mallory"), 6))[-1]


def test_variants_of_a_method_that_works_no_better_than_coins_are_no_random_vectors(crowd):
    """Real runs: features without the student's own judgement, on a student that has little else,
    agree with nobody but each other."""
    one = RandomAnswers(crowd.context)
    assert not any(shown(one, take(explorer(crowd, "ann"), 20)))
    base = crowd.rng.random(N) < 0.5
    variants = [base ^ (crowd.rng.random((SEEDS, N)) < 0.2) for _ in range(12)]
    assert not any(shown(one, [crowd.submitted("bob", row) for row in variants]))
    assert shown(one, take(random_vectors(crowd, "bob"), 6))[-1]


def test_trivial_predictors_are_seen_inverted_and_with_noise(crowd):
    one = TrivialAnswers(crowd.context)
    rows = bank(crowd.context)
    assert len(rows) > 3
    for name, row in rows.items():
        for turned in (False, True):
            noisy = row ^ turned ^ (crowd.rng.random(N) < 0.05)
            assert list(one.see(crowd.submitted("eve", np.repeat(noisy[None], SEEDS, axis=0)))), (
                name
            )
    assert not any(shown(one, take(explorer(crowd, "ann"), 20)))


def test_the_most_common_answer_by_hand():
    """Three choices of one question end in 4, 4 and 5: the first two are the most common. The
    study's agents did this."""
    texts = (*(Text("2 + 2?", (f"it is {x}",)) for x in (4, 4, 5)), Text("1 + 1?", ("it is 2",)))
    made = bank(Context(tuple("abcd"), texts))
    assert made["the most common last number among the question's choices"].tolist() == [
        True,
        True,
        False,
        True,
    ]


def test_a_bank_of_hidden_texts_needs_none():
    hidden, public = (
        bank(Context(("i-1", "i-2"))),
        bank(Context(("i-1", "i-2"), (Text("?", ("a", "bb")),) * 2)),
    )
    assert hidden.keys() < public.keys()
    assert hidden["the id's last digit is odd"].tolist() == [True, False]
    assert public["the longer choice"].tolist() == [True, True]


def test_pools_and_clusters_are_judged_as_by_the_plain_formulas():
    rng = np.random.default_rng(3)
    answers_KM = rng.random((redraws.LATEST, 200)) < rng.choice([0.02, 0.5, 0.98], 200)
    among = redraws._Latest(np.zeros(200, np.int8))
    for row_M in [*(rng.random((30, 200)) < 0.5), *answers_KM]:  # the first thirty are forgotten
        among.add(Submitted("ann", "r", "s", np.tile(row_M, (5, 1))))
    assert (among.ones_M == answers_KM.sum(axis=0)).all()
    for share in (0.0, 0.05, 0.2):  # of the answers that all submissions have in common
        common_M, varied_M = rng.random(200) < share, rng.random(200) < 0.7
        rows_KM = np.where(common_M, answers_KM[0], answers_KM)
        signs_KV = np.where(rows_KM[:, varied_M], 1.0, -1.0)
        agreement = (signs_KV @ signs_KV.T / varied_M.sum())[np.triu_indices(redraws.LATEST, 1)]
        plain = (np.abs(agreement) < 4 / varied_M.sum() ** 0.5).mean() >= redraws.PAIRS
        assert (
            redraws._independent(np.stack([packed(row) for row in rows_KM]), packed(varied_M))
            == plain
        )
    runs = rng.random((15, 200)) < rng.random(200)
    pools = [rerolls._pooled(Submitted("ann", "r", "s", part)) for part in np.split(runs, 3)]
    differ = [(a != b).mean() for n, a in enumerate(runs) for b in runs[:n]]
    assert sum(pools[1:], pools[0]).disagreement == pytest.approx(np.mean(differ))
