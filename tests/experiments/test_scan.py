"""How the default policy was chosen: a small version of the scan."""

import pytest

from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.fleet.simulated_fleet import LIMIT
from experiments import scan as scanning
from experiments.policy_costs import protection


@pytest.mark.slow
def test_the_scan_is_of_the_shipped_default(monkeypatch):
    monkeypatch.setattr(scanning, "NUMBERS", {"cap": (70, 140), "never": (1 / 16,)})
    monkeypatch.setattr(scanning, "HABITS", {"the model's": scanning.Habits()})
    monkeypatch.setattr(scanning, "FLEETS", {"1 agent": (1, 10)})
    found = scanning.scan(repetitions=12, confirmed_repetitions=12, items=(1_263,))
    by_code = {(row.changed, row.value): row for row in found.tries}
    assert by_code["cap", 140].loss_of_gain == by_code["never", 1 / 16].loss_of_gain
    assert by_code["cap", 70].loss_of_gain.estimate > by_code["cap", 140].loss_of_gain.estimate
    assert by_code["cap", 140].bound == pytest.approx(protection("default", 1_263).bound)
    page = scanning.markdown(found, "python -m experiments.scan")
    assert "| cap | 140 (default) |" in page
    assert "cap_share 0.125" in page
    beyond = page.split("Beyond it: ")[1].split(".**")[0].split(", ")
    assert set(beyond) == {row.model for row in found.robust if row.loss_of_gain.upper > LIMIT}
    assert POLICIES["default"].cap == found.default["cap"]
    assert "Made by `python -m experiments.scan`." in page
