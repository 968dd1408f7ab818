import math

import pytest

from aarlab.core.records import Family
from experiments.arms.simulated_campaigns import ARMS, Outcome, _bits, campaign, table


class Made:
    """Scores by the number of options that differ from the plain recipe, on both splits."""

    def __init__(self):
        self.items, self.ends = 2_000, {"feedback": (0.5, 0.8), "final": (0.5, 0.8)}

    def accuracy(self, key, split, seeds="issued"):
        good = key.count("erase_zero_shot") + key.count("self_trained")
        return 0.55 + 0.05 * good - 0.01 * (split == "final") - 0.02 * (seeds == "fresh")

    def pgr(self, accuracy, split):
        weak, ceiling = self.ends[split]
        return (accuracy - weak) / (ceiling - weak)


@pytest.mark.parametrize("arm", ARMS)
def test_a_campaign_finds_what_is_good_and_reports_no_more_than_it_reached(arm):
    found = campaign(Made(), ARMS[arm], seed=1, experiments=45)
    assert found.feedback >= found.reported - 1e-9
    assert found.reported > Made().pgr(0.55, "feedback")
    assert found.fresh == pytest.approx(found.feedback - 0.02 / 0.3)
    assert found.final == pytest.approx(found.feedback - 0.03 / 0.3)
    assert found.feedback == pytest.approx(
        Made().pgr(Made().accuracy(found.recipe, "feedback"), "feedback")
    )
    assert found.early_bits > 1


def test_entropy_counts_every_family_that_a_recipe_shows():
    one, other = Family.ENSEMBLE, Family.DISTILLATION
    assert _bits([{one}, {one}]) == 0
    assert _bits([{one, other}, {one, other}]) == pytest.approx(1)
    assert _bits([{one}, {one, other}]) == pytest.approx(
        -(2 * math.log2(2 / 3) + math.log2(1 / 3)) / 3
    )


def test_the_table_has_paired_differences_by_hand():
    made = (
        [(0.1, 0.2, 0.2, 0.3), (0.3, 0.4, 0.3, 0.5)],
        [(0.2, 0.3, 0.3, 0.4), (0.4, 0.5, 0.4, 0.6)],
    )
    first, second = ([Outcome(*numbers, 1.0, 1.0, "") for numbers in arm] for arm in made)
    rows = table({"a": first, "b": second}).splitlines()
    assert rows[0].endswith("| feedback - final | feedback - fresh | fresh - final |")
    assert rows[2].startswith("| a | 0.200 [-1.071, 1.471]")
    assert rows[4].startswith("| b minus a | 0.100 [0.100, 0.100]")
