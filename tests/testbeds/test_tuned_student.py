"""What decides a fine-tuned student's results is in its testbeds' names and fingerprints; what
changes only speed is not."""

import json
from dataclasses import replace

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.hub import ModelSource
from aarlab.core.settings import Home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.models.preset import Hardware, Preset, Recipe
from aarlab.testbeds.ablation import ablate
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import COUNTING
from aarlab.testbeds.task_data import load_task, read_inputs
from aarlab.testbeds.tuned_student import tuned

pytestmark = pytest.mark.process

BASE = Preset(name="mine", weak=ModelSource(name="w"), strong=ModelSource(name="s"))


def quiet(what, done, of):
    """Progress that nobody watches."""


def named(preset, tmp_path):
    return tuned(preset, Home(tmp_path), quiet).name


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe(epochs=1)},
        {"weak_recipe": Recipe(rate=1e-3)},
        {"weak": ModelSource(name="other")},
        {"strong": ModelSource(name="s", revision="v2")},
        {"critic": False},
        {"seeds": 3},
        {"student_share": 0.5},
        {"depths": (0.1, 0.4, 0.53, 0.67, 0.8)},
        {"hardware": Hardware(dtype="float32")},
    ],
)
def test_what_decides_results_is_in_the_name(change, tmp_path):
    assert named(BASE.model_copy(update=change), tmp_path) != named(BASE, tmp_path)


def test_what_changes_only_speed_is_not(tmp_path):
    faster = Hardware(pack_tokens=512, compile=False, devices=("cpu", "cpu"), checkpoint_s=1.0)
    assert named(BASE.model_copy(update={"hardware": faster, "tasks": ("a",)}), tmp_path) == named(
        BASE, tmp_path
    )


def test_the_names_that_version_0_1_0_gave_stay(tmp_path):
    """A campaign finds the testbed that it was begun on by this name."""
    assert named(BASE, tmp_path) == "mine-b0b32366"


def test_a_testbed_that_says_it_was_not_screened_still_loads(tmp_path):
    # as version 0.1.0 wrote it
    reported = {"preset": "mine", "student_share": 0.25, "screening": False}
    bed = prepare(
        "generated-chat",
        1,
        home=Home(tmp_path),
        student=replace(COUNTING, published=reported),
        progress=quiet,
    )
    bed.require_publishable()
    assert bed.preset == "mine"
    whole = len(read_inputs(bed.public, "student"))
    assert len(load_task(bed.public, bed.public, "feedback", seed=0).student) == round(0.25 * whole)


def test_the_fingerprint_knows_the_student_and_a_changed_model_is_refused(tmp_path):
    home = Home(tmp_path)
    beds = [
        prepare(
            "generated-chat",
            1,
            home=home,
            student=replace(COUNTING, name=name, identity=lambda: "one"),
            progress=quiet,
        )
        for name in ("mine-aaaa", "mine-bbbb")
    ]
    assert beds[0].fingerprint != beds[1].fingerprint
    changed = replace(COUNTING, name="mine-aaaa", identity=lambda: "two")
    with pytest.raises(Misconfigured, match="different model files"):
        prepare("generated-chat", 1, home=home, student=changed, progress=quiet)
    for bed in beds:
        (bed.private / "ruler.json").write_text(
            json.dumps({"weak": 0.5, "ceiling": 0.9, "start": 0.6})
        )
    with Evaluator(beds[0].folder, tmp_path / "campaign"):
        pass
    with pytest.raises(Misconfigured, match="was begun on"):
        Evaluator(beds[1].folder, tmp_path / "campaign")


def test_how_texts_are_dealt_on_an_ablated_testbed_is_secret(tmp_path):
    reported = {"preset": "mine", "student_share": 1.0, "screening": False}
    beds = [
        prepare(
            "generated-chat",
            1,
            home=Home(tmp_path / n),
            student=replace(COUNTING, published=reported),
            progress=quiet,
        )
        for n in "ab"
    ]
    assert ablate(beds[0], "ablated").dealt_by != ablate(beds[1], "ablated").dealt_by
