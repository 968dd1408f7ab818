"""The Metered Ladder's two theorems, proven again: the code's sums by enumeration, the theorems on
every labelling there is.

Legend: n items, K labellings.
"""

import copy
import math
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.default_policy import NEVER, RISE, TAIL, MeteredLadder
from aarlab.evaluation.scoring.policies import (
    POLICIES,
    grid_bits,
    reported_once,
    set_up_bits,
    start,
)

DEFAULT = POLICIES["default"]
N = 1_263
NAMES = [f"agent-{number}" for number in range(60)]
questions = st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), max_size=60)
policies = st.builds(
    MeteredLadder,
    cap=st.sampled_from([12.0, 40.0, 140.0, math.inf]),
    cap_share=st.sampled_from([1 / 8, math.inf]),
    identity_share=st.sampled_from([0.25, 0.5, 1.0]),
    identities=st.sampled_from([1, 3, 9]),
    never=st.sampled_from([1 / 2, NEVER]),
    tail=st.sampled_from([1, TAIL, 7]),
    rise=st.sampled_from([1 / 2, RISE]),
)


def after(policy, asked, n=N):
    """The channel after these questions."""
    channel = start(0.5, n)
    for who, accuracy in asked:
        channel.record(who, policy.answer(channel, who, accuracy))
    return channel


def accuracy_for(policy, channel, rise):
    """An accuracy that lies so many steps above the level."""
    return channel.level + (rise + 0.5) * policy.step(channel)


# --- the code -------------------------------------------------------------------------------------


def leaves(policy, channel, names, depth, rises):
    """(leaf weight, weights of the yes-nodes on the way) for every transcript of so many
    questions."""
    if depth == 0:
        yield 2.0**-channel.released, ()
        return
    for rise in range(rises + 1):
        branch = copy.deepcopy(channel)
        answer = policy.answer(
            branch, names[0], accuracy_for(policy, branch, rise) if rise else 0.0
        )
        if rise and (
            not answer.improved or answer.level < branch.level + (rise - 0.5) * policy.step(branch)
        ):
            continue  # sealed, or held down to a lower rise, which is another branch
        branch.record(names[0], answer)
        here = (2.0**-branch.bits,) if rise else ()
        # who asks next depends on what was reported
        order = names[1:] if rise else [*names[2:], names[1]]
        for leaf, yeses in leaves(policy, branch, order, depth - 1, rises):
            yield leaf, here + yeses


@pytest.mark.parametrize("early", [NAMES[:9], ["agent-0"] * 9, NAMES[9:18]])
def test_the_code_is_complete_and_no_more_than_that(early):
    """Without a cap the leaves' weights sum to one, but for the rises beyond the third, which weigh
    z^3 of every yes."""
    policy = replace(DEFAULT, cap=math.inf, cap_share=math.inf)
    total = sum(leaf for leaf, _ in leaves(policy, start(0.5, N), early, 5, 3))
    assert 1 - 5 * RISE**3 <= total <= 1 + 1e-12
    assert total < 1 - 1e-6


@pytest.mark.parametrize("cap", [6, 9, 14, 20])
def test_kraft_sums_under_small_caps(cap):
    policy = replace(DEFAULT, cap=cap, identity_share=1.0)
    found = list(leaves(policy, start(0.5, N), [*NAMES[:3], *NAMES[:4]], 6, 2))
    assert sum(leaf for leaf, _ in found) <= 1 + 1e-12
    assert all(weight >= 2.0**-cap for _, yeses in found for weight in yeses)


def test_the_yes_nodes_of_the_whole_tree_weigh_less_than_the_slack():
    """Sum over the tree of 2^-bits at every yes, depth 7: below (1 - r) / r, level by level below
    (1 - r)^B."""
    policy = replace(DEFAULT, cap=math.inf, cap_share=math.inf, never=1 / 2, identities=1)
    by_depth = Counter()

    def walk(channel, names, depth):
        for rise in range(3 if depth else 0):
            branch = copy.deepcopy(channel)
            branch.record(
                names[0],
                policy.answer(
                    branch, names[0], accuracy_for(policy, branch, rise) if rise else 0.0
                ),
            )
            if rise:
                by_depth[branch.yes.total()] += 2.0**-branch.bits
            walk(branch, names[1:], depth - 1)

    walk(start(0.5, N), [*NAMES[:1] * 5, *NAMES[1:3]], 7)
    assert all(weight <= 0.5**count for count, weight in by_depth.items())
    assert 0.2 < sum(by_depth.values()) <= 1


@given(
    asked=st.lists(st.sampled_from(NAMES), max_size=300),
    yeses=st.lists(st.sampled_from(NAMES), max_size=12),
    policy=policies,
)
def test_negative_answers_never_disclose_more_than_their_share(asked, yeses, policy):
    channel = after(policy, [(who, 1.0) for who in yeses])
    for who in asked:
        channel.record(who, policy.answer(channel, who, 0.0))
    assert channel.passed <= 1 - policy.never + 1e-12
    assert channel.released - channel.bits <= -math.log2(policy.never) + 1e-9


def test_an_endless_run_of_noes_by_a_crowd_costs_four_bits():
    channel = start(0.5, N)
    for _ in range(150):
        for number in range(100):
            channel.record(str(number), DEFAULT.answer(channel, str(number), 0.0))
    assert 3.5 < channel.released <= -math.log2(NEVER)


def test_a_code_that_gives_latecomers_a_full_share_is_caught():
    """The sums above can fail."""

    class Generous(MeteredLadder):
        def _share(self, channel, who):
            return 1 / self.identities

    channel = start(0.5, N)
    for who in NAMES:
        channel.record(who, Generous(math.inf).answer(channel, who, 0.0))
    assert channel.passed > 1


# --- the policy -----------------------------------------------------------------------------------


@given(asked=questions, policy=policies)
def test_the_ledger_is_the_length_of_the_transcripts_code(asked, policy):
    """By the formula of the docstring, kept here on the side."""
    channel, bits, passed = start(0.5, N), 0.0, 0.0
    yes, times, order = Counter(), Counter(), {}
    for who, accuracy in asked:
        order.setdefault(who, len(order) + 1)
        late = order[who] - policy.identities
        prior = 0.9 / policy.identities if late <= 0 else 0.1 / (late * (late + 1))
        c = policy.identities / 2
        share = (yes[who] + c * prior) / (yes.total() + c)
        t = times[who] + 1
        weight = (
            (1 - policy.never) * share * policy.tail / ((t + policy.tail - 1) * (t + policy.tail))
        )
        sealed = policy.outlook(channel, who).price_bits is None
        answer, level = policy.answer(channel, who, accuracy), channel.level
        channel.record(who, answer)
        if answer.improved:
            rise = round((answer.level - level) / policy.step(start(0.5, N)))
            bits -= math.log2(weight * (1 - policy.rise) * policy.rise ** (rise - 1))
            passed, times = 0.0, Counter()
            yes[who] += 1
        else:
            passed += 0.0 if sealed else weight
            times[who] += 1
    assert channel.bits == pytest.approx(bits)
    assert channel.released == pytest.approx(bits - math.log2(1 - passed))


@given(asked=questions, policy=policies)
def test_cap_and_share_of_an_identity_are_never_exceeded(asked, policy):
    channel, cap = after(policy, asked), policy.cap_bits(N)
    if cap is not None:
        assert channel.bits <= cap + 1e-9
        assert channel.released <= cap - math.log2(policy.never) + 1e-9
        assert all(spent <= policy.identity_share * cap + 1e-9 for spent in channel.spent.values())


@given(
    asked=questions,
    policy=policies,
    who=st.sampled_from(NAMES),
    accuracies=st.lists(st.floats(0, 1), min_size=2),
)
def test_an_answer_rises_with_accuracy_and_depends_on_nothing_else(asked, policy, who, accuracies):
    channel = after(policy, asked)
    before = copy.deepcopy(channel)
    reported = [policy.answer(channel, who, accuracy) for accuracy in sorted(accuracies)]
    assert [a.level for a in reported] == sorted(a.level for a in reported)
    assert [a.improved for a in reported] == sorted(a.improved for a in reported)
    assert channel == before
    assert reported == [policy.answer(before, who, accuracy) for accuracy in sorted(accuracies)]
    for accuracy, answer in zip(sorted(accuracies), reported, strict=True):
        assert not answer.improved or answer.level <= accuracy + 1e-9
    price = policy.outlook(channel, who).price_bits
    if price is None:
        assert len({(a.improved, a.level, a.bits, a.mass) for a in reported}) == 1
        assert not reported[0].improved
        assert reported[0].mass == 0
    elif (first := next((a for a in reported if a.improved), None)) is not None:
        assert first.bits >= price - 1e-9


@given(asked=questions, policy=policies)
def test_a_level_is_never_above_every_accuracy_that_was_sent(asked, policy):
    assert after(policy, asked).level <= max([start(0.5, N).level, *(a for _, a in asked)]) + 1e-9


def test_seal_for_one_leaves_others_open_and_seal_for_all_is_final():
    channel, policy = start(0.3, N), replace(DEFAULT, cap=20)
    for who in ("eve", "ann"):
        while policy.outlook(channel, who).price_bits is not None:
            channel.record(who, policy.answer(channel, who, accuracy_for(policy, channel, 1)))
    assert policy.outlook(channel, "eve").tier == "sealed"
    assert channel.yes["ann"] > 0
    late = [f"late-{number}" for number in range(50)]
    for who in late:
        assert policy.answer(channel, who, 1.0) == policy.answer(channel, who, 0.0)
        channel.record(who, policy.answer(channel, who, 1.0))


def test_a_yes_by_hand():
    """The first question of the first of nine: w = (0 + 4.5 x 0.1) / 4.5 = 0.1; 2 / (2 x 3) = 1/3;
    15/16 x 7/8 x 0.1 / 3."""
    begun = start(0.5, N)
    answer = DEFAULT.answer(begun, "ann", begun.level + 1.5 * DEFAULT.step(begun))
    assert answer.bits == pytest.approx(-math.log2(15 / 16 * 7 / 8 * 0.1 / 3))
    two = DEFAULT.answer(begun, "ann", begun.level + 2.5 * DEFAULT.step(begun))
    assert two.bits - answer.bits == pytest.approx(3)


@pytest.mark.parametrize(
    ("gap", "step"),
    [
        (None, 0.0175),  # no scale of PGR
        (0.4, 0.025),  # a sixteenth of the gap
        (0.1, 0.5 / math.sqrt(N)),  # less would be noise: one standard error
    ],
)
def test_a_step_follows_the_gap_and_the_noise(gap, step):
    begun = start(0.5, N)
    begun.gap = gap
    assert DEFAULT.step(begun) == pytest.approx(step)
    assert DEFAULT.outlook(begun, "ann").next_step == pytest.approx(begun.level + step)


# --- the theorems, on all labellings of ten items -------------------------------------------------

SMALL_N = 10
LABELS_KN = np.array(list(product([False, True], repeat=SMALL_N)))
SMALL = MeteredLadder(12, step_se=0, step_least=1 / SMALL_N, identities=2, identity_share=1.0)


def play(labels_n, seed):
    """A climber of 25 questions: all that it is told (first by set-up: both ends of the PGR scale,
    measured on these labels, and the level), the deltas at which a level ran ahead of 1/2 by more
    than the bound, what it answers in the end, and the channel."""
    rng = np.random.default_rng(seed)
    base_n = rng.random(SMALL_N) < 0.5
    ends = [
        reported_once(float((rows_SM == labels_n).mean()), SMALL_N)
        for rows_SM in rng.random((2, 5, SMALL_N)) < 0.5
    ]
    channel = start(float((base_n == labels_n).mean()), SMALL_N)
    reported, beyond = [*ends, round(channel.level, 9)], Counter()
    for number in range(25):
        sent_n = base_n ^ (rng.random(SMALL_N) < 0.3)
        who = "ab"[number % 2]
        answer = SMALL.answer(channel, who, float((sent_n == labels_n).mean()))
        channel.record(who, answer)
        reported.append((answer.improved, round(answer.level, 9)))
        if answer.improved:
            base_n = sent_n
            for delta in (0.5, 0.9, 1.0):
                slack = math.log2((1 - NEVER) / NEVER) + set_up_bits(SMALL_N)
                beyond[delta] |= answer.level - 0.5 > inflation_bound(
                    channel.bits, SMALL_N, slack_bits=slack, delta=delta
                )
    return tuple(reported), beyond, base_n, channel


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_both_theorems_on_every_labelling(seed):
    """Theorem 1: the share of labellings on which any level runs ahead is at most delta. Theorem 2:
    the entropy of all that is reported, and how often every label is named, are within 2^B."""
    limit = 12 - math.log2(NEVER) + set_up_bits(SMALL_N)
    transcripts, violations, named, lengths = defaultdict(int), Counter(), 0, []
    for labels_n in LABELS_KN:
        reported, beyond, final_n, channel = play(labels_n, seed)
        transcripts[reported] += 1
        violations.update(delta for delta, broken in beyond.items() if broken)
        named += bool((final_n == labels_n).all())
        lengths.append(channel.released + set_up_bits(SMALL_N))
    shares = np.array(list(transcripts.values())) / len(LABELS_KN)
    information = float(-(shares * np.log2(shares)).sum())
    assert all(count <= delta * len(LABELS_KN) for delta, count in violations.items())
    assert 1 < information <= np.mean(lengths) <= limit
    assert len(transcripts) <= 2**limit
    assert 1 < named <= 2**limit


def test_dealing_labels_out_in_equal_numbers_costs_little():
    """P(exactly half of n fair coins) against 1 / (1.25 sqrt(n)), the docstring's figure."""
    for n in (100, 1_262, 10_000):
        log_g = math.lgamma(n + 1) - 2 * math.lgamma(n / 2 + 1) - n * math.log(2)
        assert math.exp(-log_g) == pytest.approx(1.2533 * math.sqrt(n), rel=0.01)


@settings(max_examples=10, deadline=None)
@given(n=st.integers(10, 3_000))
def test_set_up_tells_no_more_values_than_it_is_charged_for(n):
    """Every mean over up to twelve seeds is reported as one of 2^grid_bits values; with 1, 2, 5 or
    10 seeds, as it is."""
    for seeds in range(1, 13):
        means = np.arange(seeds * n + 1) / (seeds * n)
        reported = {reported_once(float(mean), n) for mean in means}
        assert len(reported) <= round(2 ** grid_bits(n))
        if seeds in (1, 2, 5, 10):
            assert reported == set(means)
