"""What can be taken out of a method's code: known of recipes and of parts of the library alone."""

import json

import pytest

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission
from aarlab.core.records import Family
from aarlab.evaluation.confirmation import run_order
from aarlab.evaluation.confirmation.confirmation_record import record_path
from aarlab.evaluation.confirmation.winner_components import WinnerComponents
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.signed import verify_record
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import ablate_winner
from aarlab.fleet.without_component import components_of
from aarlab.programs.reproduce import reproduce
from aarlab.report.build import build
from aarlab.report.pages import html
from aarlab.researchers.recipe import PLAIN, source_of
from aarlab.runs.engine import METHOD_FILE
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from tests.fleet.test_gate import QUICK, Gate, quiet
from tests.fleet.test_gate import five_seeds as five_seeds

RECIPE = PLAIN | {"labels": "task.critic_probs_N", "heads": "6", "l2": "10.0"}
CODE = source_of(RECIPE, family=Family.ENSEMBLE, author="ann")
ELICITED = """from aarlab.methods import parts


def run(task, seed):
    student, test = parts.represent(task)
    labels = parts.elicited_labels(task, student, seed)  # parts.curriculum, not called
    parts.confident(labels)
    return parts.train(student, parts.harden(labels)).probs(test)
"""


def test_each_choice_of_a_recipe_that_is_not_naives_is_a_component():
    found = components_of({METHOD_FILE: CODE})
    assert [(one.name, one.removed) for one in found] == [
        ("without labels", "task.critic_probs_N, replaced by task.weak_probs_N"),
        ("without heads", "6, replaced by 1"),
        ("without l2", "10.0, replaced by 1.0"),
    ]
    changed = RECIPE | {"heads": "1"}
    expected = source_of(changed, family=Family.OTHER, author="x").partition("\n")[2]
    assert found[1].files[METHOD_FILE].partition("\n")[2] == expected


@pytest.mark.parametrize("more", ["\n    return 1\n", "\nimport os\n"])
def test_a_recipe_above_other_code_is_not_believed(more):
    named = [one.name for one in components_of({METHOD_FILE: CODE + more})]
    assert "without l2" not in named
    assert named == ["without represent", "without harden", "without bagged"]
    assert components_of({METHOD_FILE: CODE, "other.py": "1"})[0].name == "without represent"


def test_parts_are_those_that_the_code_calls_and_not_those_in_its_words():
    found = components_of({METHOD_FILE: ELICITED, "whole_0.py": "x = 'parts.dense('"})
    assert [one.name for one in found] == [
        "without represent",
        "without elicited_labels",
        "without harden",
        "without confident",
    ]
    files = found[1].files
    assert files["whole_0.py"] == "x = 'parts.dense('"
    assert files["whole_1.py"] == ELICITED
    assert '("elicited_labels", __file__, "whole_1.py")' in files[METHOD_FILE]


@pytest.mark.parametrize(
    "line", ['{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", '{"a": ' + "9" * 5_000 + "}", "{}"]
)
def test_a_hostile_recipe_is_no_recipe(line):
    """Whoever reads it for the operator goes on."""
    assert components_of({METHOD_FILE: f"RECIPE = {line}\n"}) == []
    lists = json.dumps({dimension: [] for dimension in PLAIN})
    assert components_of({METHOD_FILE: f"RECIPE = {lists}\n"}) == []


@pytest.mark.parametrize("files", [{}, {METHOD_FILE: "def run(task, seed):\n    return 1\n"}])
def test_of_other_code_no_component_is_known(files):
    assert components_of(files) == []


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_winner_is_run_without_each_component_beside_its_verdict(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    folder = tmp_path / "gate"
    with Evaluator(bed.folder, folder) as evaluator:
        gate = Gate(home, evaluator, QUICK)
        made = WinnerComponents(evaluator, [place.target for place in gate.places])
        assert ablate_winner(made, gate.engines["final"], 8, quiet) == ()
        snapshot = gate.submit(ELICITED)
        first = gate.confirm(1)[snapshot]
        assert first.verdict == "confirmed"
        charged = made.tries.spent()
        assert ablate_winner(made, gate.engines["final"], 2, quiet) == (
            "without represent",
            "without elicited_labels",
        )
        assert ablate_winner(made, gate.engines["final"], 8, quiet) == (
            "without harden",
            "without confident",
        )
        assert ablate_winner(made, gate.engines["final"], 8, quiet) == ()
        last = made.latest(snapshot)
        kept = {"targets", "ledger_head", "made_at", "build", "schema_version"}
        assert last.model_dump(exclude=kept) == first.model_dump(exclude=kept)
        assert last.targets[: len(first.targets)] == first.targets
        assert made.tries.spent() == charged
        path = record_path(made.folder, snapshot)
        assert verify_record(path, made.folder / "key.pub") == last.model_dump(mode="json")
        taken = {t.name: t for t in last.targets if t.kind == "component"}
        assert {t.seeds for t in taken.values()} == {first.of("final").seeds}
        assert taken["without elicited_labels"].lost.lower > 0.02
        idle = taken["without confident"].lost  # the code does nothing with what it gives
        assert (idle.estimate, idle.lower, idle.upper) == (0, 0, 0)
        whole = first.of("final").accuracy.estimate
        for one in taken.values():
            assert one.lost.estimate == pytest.approx(whole - one.accuracy.estimate, abs=1e-9)
        campaign = Campaign(name="gate", problem="generated-chat", student="double")
        report = build(campaign, bed, evaluator, isolation="bubblewrap: all", faults=())
        gate.close()
    (claim,) = report.claims
    assert [row.name for row in claim.components] == list(taken)
    assert [row.lost for row in claim.components] == [t.lost for t in taken.values()]
    assert "in 20 runs of one seed" in report.winner.ablated
    assert "without elicited_labels" in html(report)
    again = reproduce(report, campaign, bed, folder, "claims/1/components")
    assert again.agrees
    assert len(again.compared) == 6 * 4


class Losing:
    """An engine of which a run is lost, or that code fails in."""

    def __init__(self, engine, error):
        self.testbed, self.pool, self._error = engine.testbed, engine.pool, error

    def run(self, files, split, seeds):
        raise self._error


@pytest.mark.process
@pytest.mark.timeout(900)
@pytest.mark.long
def test_what_the_machine_ends_is_left_and_code_that_fails_is_shown(home, tmp_path, monkeypatch):
    monkeypatch.setattr(run_order, "FROZEN_GROUPS", 1)
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    with Evaluator(bed.folder, tmp_path / "gate") as evaluator:
        gate = Gate(home, evaluator, QUICK)
        snapshot = gate.submit(ELICITED)
        assert gate.confirm(1)[snapshot].verdict == "confirmed"
        made = WinnerComponents(evaluator, [place.target for place in gate.places])
        before = evaluator.ledger.count()
        lost = Losing(gate.engines["final"], CouldNotBeRun("no memory"))
        assert ablate_winner(made, lost, 2, quiet) == ()
        assert evaluator.ledger.count() == before
        failing = Losing(gate.engines["final"], InvalidSubmission("it raised"))
        assert len(ablate_winner(made, failing, 1, quiet)) == 1
        (one,) = [t for t in made.latest(snapshot).targets if t.kind == "component"]
        gate.close()
    assert one.failure == "it raised"
    assert one.lost is None
