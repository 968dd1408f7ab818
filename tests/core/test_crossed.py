"""The crossed design of items and seeds against closed forms and simulated seeds. The long table:
`python experiments/crossed_design.py`."""

import numpy as np
import pytest
from scipy import stats

from aarlab.core.crossed import Crossed, note_few_seeds, sums_by_unit, unit_numbers
from aarlab.core.errors import Misconfigured
from experiments.crossed_design import Setting, rates

ONE = np.ones(1)


def drawn(seeds=5, items=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(seeds, items)) + np.arange(seeds)[:, None] + np.linspace(0, 3, items)


def test_the_error_is_that_of_the_two_way_analysis_of_variance():
    values = drawn()
    s, m = values.shape
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((s - 1) * (m - 1))
    seeds, items = m * rows.var(ddof=1), s * columns.var(ddof=1)
    error, freedom = Crossed(values[None]).error(ONE)
    assert error == pytest.approx(np.sqrt((seeds + items - rest) / values.size))
    assert s - 1 <= freedom < m - 1


def test_one_seed_is_the_t_test_and_seeds_alone_are_the_t_test_of_their_means():
    row = drawn(seeds=1)
    known = stats.ttest_1samp(row[0], 0.0, alternative="greater")
    assert Crossed(row[None]).p_above(ONE) == pytest.approx(known.pvalue)
    alike = np.repeat(np.random.default_rng(1).normal(size=(5, 1)), 3_000, axis=1)
    known = stats.ttest_1samp(alike[:, 0], 0.0, alternative="greater")
    assert Crossed(alike[None]).p_above(ONE) == pytest.approx(known.pvalue, rel=1e-6)


def test_the_seeds_variance_is_counted_where_chance_makes_it_small():
    """Five seed means that happen to be closer than the rest explains: no fewer than all degrees of
    freedom of the items, and no smaller error than theirs, is what the error of 0.065 came from."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 400))
    values -= values.mean(axis=1, keepdims=True) * 0.9
    error, freedom = Crossed(values[None]).error(ONE)
    assert error > 0
    assert freedom < 40


def test_two_tables_of_one_block_are_paired_and_those_of_two_blocks_by_items_alone():
    one, other = drawn(seed=1), drawn(seed=2)
    apart = np.array([1.0, -1.0])
    paired, _ = Crossed(np.stack([one, other])).error(apart)
    assert paired == pytest.approx(Crossed((one - other)[None]).error(ONE)[0])
    unpaired, _ = Crossed(one[None], other[None]).error(apart)
    assert unpaired > 2 * paired  # both have seeds that rise


def test_whole_groups_count_once():
    """Eight copies of every item tell as much as one."""
    values = drawn(items=50)
    copies, units_M = np.repeat(values, 8, axis=1), np.repeat(np.arange(50), 8)
    found, known = Crossed(copies[None], units_M=units_M), Crossed(values[None])
    assert found.error(ONE) == pytest.approx(known.error(ONE))
    assert "50 groups" in found.words
    assert Crossed(copies[None]).error(ONE)[0] < found.error(ONE)[0]
    assert sums_by_unit(copies, units_M) == pytest.approx(8 * values)


def test_groups_of_different_size_have_the_error_of_clusters():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 60)
    units_M = np.repeat(np.arange(60), sizes)
    row = rng.normal(size=60)[units_M] + rng.normal(size=units_M.size)
    apart = np.bincount(units_M, row - row.mean())
    known = np.sqrt(60 / 59 * (apart**2).sum()) / row.size
    error, freedom = Crossed(row[None, None], units_M=units_M).error(ONE)
    assert error == pytest.approx(known)
    assert freedom < 59


def test_units_are_numbered_by_name():
    assert unit_numbers(["b", "a", "b", ("a",)]).tolist() == [0, 1, 0, 2]


def test_one_unit_says_nothing_and_equal_units_leave_no_doubt():
    one = Crossed(np.ones((1, 3, 4)), units_M=np.zeros(4, np.intp))
    assert (one.measure(ONE).lower, one.measure(ONE).upper, one.p_above(ONE)) == (0.0, 1.0, 0.5)
    sure = Crossed(np.ones((1, 3, 4)))
    assert (sure.measure(ONE).lower, sure.measure(ONE).upper) == (1.0, 1.0)
    assert (sure.p_above(ONE), sure.p_above(-ONE), sure.p_apart(ONE)) == (2**-4, 1.0, 2**-3)
    with pytest.raises(Misconfigured, match="no item"):
        Crossed(np.ones((1, 3, 0)))


def test_a_ratio_has_fiellers_interval():
    rng = np.random.default_rng(0)
    top, bottom = rng.normal(1.0, 1.0, (1, 1, 300)), rng.normal(2.0, 1.0, (1, 1, 300))
    found = Crossed(top, bottom).ratio(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    t = stats.t.ppf(0.975, 299)
    for end in (found.lower, found.upper):
        apart = (top - end * bottom)[0, 0]
        assert abs(apart.mean()) / (apart.std(ddof=1) / np.sqrt(300)) == pytest.approx(t, rel=1e-3)
    doubtful = Crossed(top, bottom - 1.95).ratio(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert doubtful.upper - doubtful.lower >= 2
    assert "without an end" in doubtful.resampled


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        Setting(items=300, seeds=5, luck=0.0),
        Setting(items=900, seeds=5, luck=0.4),
        Setting(items=600, seeds=5, luck=0.15, group=6),
        Setting(items=300, seeds=3, luck=0.1),
    ],
)
def test_intervals_cover_and_equal_methods_are_told_apart_at_the_stated_rate(setting):
    """400 worlds with drawn seeds: a rate of 0.05 has a standard error of 0.011."""
    found = {name: np.mean(right) for name, right in rates(setting, 400, claims=1).items()}
    assert found["accuracy"] >= 0.925
    assert found["pgr"] >= 0.925
    assert 0.02 <= found["difference"] <= 0.08
    assert found["claim"] <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.05, 0.3])
def test_the_family_error_of_a_confirmation_is_at_most_what_it_says(luck):
    """Eight claims that are no better than naive, in 250 worlds: a rate of 0.05 has a standard
    error of 0.014."""
    assert np.mean(rates(Setting(items=400, seeds=5, luck=luck), 250)["family"]) <= 0.08


def test_two_seeds_are_noted_and_three_are_not():
    assert note_few_seeds({"methods": 3, "anchors": 5}) == ()
    (note,) = note_few_seeds({"methods": 2, "anchors": 2})
    assert note.startswith("Methods and anchors were run on two seeds: with so few, a test at 5 %")
