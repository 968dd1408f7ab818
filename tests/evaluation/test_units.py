"""How many independent labels items in groups are worth, and that Theorem 1 of `MeteredLadder`
holds with that number."""

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.scoring.bounds import binary_kl, certified_at_least, inflation_bound
from aarlab.evaluation.scoring.default_policy import NEVER, MeteredLadder
from aarlab.evaluation.scoring.hidden_labels import load_units
from aarlab.evaluation.scoring.policies import POLICIES, set_up_bits, start
from aarlab.evaluation.scoring.tries import FEEDBACK_BITS
from aarlab.evaluation.scoring.units import Units, units_of

DEFAULT = POLICIES["default"]
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def made(*groups):
    return Units(groups, (sum(m * m for m in groups),))


def test_by_hand():
    """Two groups of 3 and 2 beside one item: 36 / (9 + 4 + 1) = 2.57; of the stratum with the 3 and
    the 1, 9 + 1."""
    group = {"a": "x", "b": "x", "c": "x", "d": "y", "e": "y"}
    stratum = dict.fromkeys("abcf", 1) | dict.fromkeys("de", 2)
    units = Units.of("abcdef", group, stratum)
    assert sorted(units.groups) == [1, 2, 3]
    assert (units.items, units.independent, units.least) == (6, 2, 2)
    assert sorted(units.strata) == [4, 10]
    assert units.deal_bits == pytest.approx(math.log2(2**4 / 6) + math.log2(2**10 / 252))


def test_an_id_is_no_group():
    assert sorted(Units.of(["a", "b", "c"], {"b": "a"}, {}).groups) == [1, 1, 1]


@given(n=st.integers(1, 3_000), each=st.integers(1, 9))
def test_equal_groups_count_as_so_many_labels(n, each):
    assert units_of(n).independent == n
    assert made(*[each] * n).independent == n


@given(groups=sizes)
def test_labels_never_exceed_groups(groups):
    units = made(*groups)
    assert math.floor(units.least) <= units.independent <= len(groups)


@given(
    groups=sizes, chances=st.lists(st.floats(0, 1), min_size=8, max_size=8), level=st.floats(0, 1)
)
def test_both_tails_on_every_outcome_of_the_groups(groups, chances, level):
    """Each group is right as a whole with a probability of its own: its widest law. Exactly, over
    all outcomes."""
    units, law = made(*groups), np.ones(1)
    for m, p in zip(groups, chances, strict=False):
        wider = np.zeros(len(law) + m)
        wider[: len(law)] += (1 - p) * law
        wider[m:] += p * law
        law = wider
    true = sum(m * p for m, p in zip(groups, chances, strict=False)) / units.items
    tail = law[math.ceil(level * units.items - 1e-9) :].sum()
    if level > true + 1e-6:  # below it the tail is counted from the same outcome
        assert tail <= math.exp(-2 * units.independent * (level - true) ** 2) + 1e-9
        assert tail <= math.exp(-units.least * binary_kl(level, true)) + 1e-9


def test_the_sharper_form_is_false_with_the_larger_number():
    """One group of 30 that is right with 0.9 beside 70 items that are right for sure: all are right
    with 0.9."""
    units, true = made(30, *[1] * 70), 0.97
    assert math.exp(-units.independent * binary_kl(1, true)) < 0.9
    assert math.exp(-units.least * binary_kl(1, true)) >= 0.9


@given(level=st.floats(0.5, 1), bits=st.floats(0, 150), groups=sizes)
def test_what_is_certified_in_groups_is_the_better_of_both_forms(level, bits, groups):
    units = made(*groups * 20)
    one = certified_at_least(level, bits, units.independent, least=units.least)
    assert one >= level - inflation_bound(bits, units.independent) - 1e-9
    assert one >= certified_at_least(level, bits, int(units.least) or 1) - 1e-9
    assert one <= level


@pytest.mark.parametrize(
    "groups", [(1,) * 40, (2,) * 40, (6,) * 40, (1, 2, 3, 4) * 20, (5, 3) * 30]
)
def test_split_is_charged_at_least_its_gain_for_single_label_groups(groups):
    law = np.ones(1)
    for m in groups:
        law = (np.pad(law, (0, m)) + np.pad(law, (m, 0))) / 2
    assert made(*groups).deal_bits >= -math.log2(law[sum(groups) // 2]) - 0.02


def test_the_studys_bound_has_all_terms_of_the_theorem():
    """2,004 items, balanced in six cells of 334: 0.182 without the deal, and more with 40
    verdicts."""
    dealt = start(0.6, Units((1,) * 2_004, (334,) * 6))
    cap, slack = DEFAULT.cap_bits(2_004), DEFAULT.outlook(dealt, "ann").slack_bits
    assert inflation_bound(cap, 2_004, slack_bits=slack - dealt.beside) == pytest.approx(
        0.182, abs=5e-4
    )
    assert inflation_bound(cap, 2_004, slack_bits=slack) == pytest.approx(0.194, abs=5e-4)
    assert inflation_bound(cap, 2_004, slack_bits=slack + 40 * FEEDBACK_BITS) == pytest.approx(
        0.236, abs=5e-4
    )


GROUPS = (3, 2, 2, 1, 1, 1)
OF_N = np.repeat(np.arange(len(GROUPS)), GROUPS)


@pytest.mark.parametrize("seed", range(4))
def test_theorem_1_on_every_labelling_of_groups(seed):
    """All items of a group have one label. A climber that knows which flips whole groups; no level
    runs ahead of 1/2 by more than the bound on more than a share delta of the labellings."""
    units = made(*GROUPS)
    policy = MeteredLadder(12, step_se=0, step_least=0.1, identities=2, identity_share=1.0)
    beyond, labellings, improved = (
        dict.fromkeys((0.5, 0.9, 1.0), 0),
        list(product([False, True], repeat=len(GROUPS))),
        0,
    )
    for labels in labellings:
        rng, channel = np.random.default_rng(seed), start(0.5, units)
        base_g = rng.random(len(GROUPS)) < 0.5
        broken = dict.fromkeys(beyond, False)
        for number in range(25):
            sent_g = base_g ^ (rng.random(len(GROUPS)) < 0.3)
            answer = policy.answer(
                channel, "ab"[number % 2], float((sent_g == labels)[OF_N].mean())
            )
            channel.record("ab"[number % 2], answer)
            if answer.improved:
                base_g, improved = sent_g, improved + 1
                slack = math.log2((1 - NEVER) / NEVER) + set_up_bits(channel.n)
                for delta in beyond:
                    bound = inflation_bound(channel.bits, channel.n, slack_bits=slack, delta=delta)
                    broken[delta] |= answer.level - 0.5 > bound
        beyond = {delta: count + broken[delta] for delta, count in beyond.items()}
    assert all(count <= delta * len(labellings) for delta, count in beyond.items())
    assert improved


# --- from the files -------------------------------------------------------------------------------


def test_an_evaluator_alone_counts_in_the_groups_that_it_is_reported(tmp_path):
    (tmp_path / "private").mkdir()
    path = tmp_path / "private" / "groups.json"
    ids = [f"q{n:02}" for n in range(24)]
    assert load_units(tmp_path, "feedback", ids) == units_of(24)
    path.write_text(json.dumps({"feedback": {i: f"g{n // 6}" for n, i in enumerate(ids)}}))
    assert load_units(tmp_path, "feedback", ids).independent == 4
    assert load_units(tmp_path, "final", ids).independent == 24


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        '{"feedback": 3}',
        '{"feedback": {"q00": 1}}',
        '{"feedback": {"other": "g"}}',
        '{"feedbak": {"q00": "g", "q01": "g"}}',
        '{"q00": "g", "q01": "g"}',
    ],
)
def test_groups_that_cannot_be_meant_are_refused_with_the_file(tmp_path, text):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "groups.json").write_text(text)
    with pytest.raises(Misconfigured, match=r"groups\.json"):
        load_units(tmp_path, "feedback", ["q00", "q01"])


def test_set_ups_strata_are_the_cells_of_part_and_level(bed, answers):
    ids = sorted(answers["feedback"])
    assert sorted(load_units(bed.folder, "feedback", ids).strata) == [50] * 6
