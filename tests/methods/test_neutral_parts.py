"""A part that is taken out is replaced by what does nothing, and other parts stay as they are."""

import inspect
import sys

import numpy as np
import pytest

import aarlab.methods
from aarlab.core.errors import Misconfigured
from aarlab.methods import parts
from aarlab.methods.neutral_parts import NEUTRAL, run_without
from aarlab.testbeds.task_data import load_task

# by part: how a method calls it, and with which plain method its answers are the same without it
WHOLE = "    return parts.train(student, {labels}).probs(test)"
VOTES = "np.stack([task.weak_probs_N > t for t in (0.2, 0.5, 0.8)])"
PLAIN = WHOLE.format(labels="task.weak_probs_N")
CALLS = {
    "represent": ("    student, test = parts.represent(task, (12, 16))\n" + PLAIN, PLAIN),
    "erase_zero_shot": (
        "    student, test = parts.erase_zero_shot(task, student, test)\n" + PLAIN,
        PLAIN,
    ),
    "product_labels": (WHOLE.format(labels="parts.product_labels(task)"), PLAIN),
    "noisy_channel_labels": (WHOLE.format(labels="parts.noisy_channel_labels(task)"), PLAIN),
    "noisy_channel": (
        WHOLE.format(labels=f"parts.noisy_channel({VOTES})"),
        WHOLE.format(labels=f"{VOTES}.mean(axis=0)"),
    ),
    "elicited_labels": (WHOLE.format(labels="parts.elicited_labels(task, student, seed)"), PLAIN),
    "self_trained_labels": (
        WHOLE.format(labels="parts.self_trained_labels(student, task.weak_probs_N, seed)"),
        PLAIN,
    ),
    "curriculum": (WHOLE.format(labels="parts.curriculum(student, task.weak_probs_N)"), PLAIN),
    "harden": (WHOLE.format(labels="parts.harden(labels_N=task.weak_probs_N)"), PLAIN),
    "confidence_weights": (
        "    weights = parts.confidence_weights(task.weak_probs_N, power=2.0)\n"
        "    return parts.train(student, task.weak_probs_N, weights_N=weights).probs(test)",
        PLAIN,
    ),
    "bagged": (
        "    return parts.bagged(student, task.weak_probs_N, test, seed, heads=3, l2=3.0)",
        "    return parts.train(student, task.weak_probs_N, l2=3.0).probs(test)",
    ),
    "mean_difference": (
        "    return parts.mean_difference(student, task.weak_probs_N, test)",
        PLAIN,
    ),
    "evolve_layers": (
        "    layers = parts.evolve_layers(task, task.weak_probs_N, seed)\n"
        "    student, test = parts.represent(task, layers)\n" + PLAIN,
        PLAIN,
    ),
}
FILTERS = {
    "confident": "task.weak_probs_N, share=0.3",
    "agreeing": "task.weak_probs_N, task.critic_probs_N",
    "dense": "student, task.weak_probs_N",
    "co_teaching": "student, task.weak_probs_N, seed",
}
for filter_, given in FILTERS.items():
    keep = f"    keep = parts.{filter_}({given})\n"
    CALLS[filter_] = (keep + PLAIN.replace("_N)", "_N, keep=keep)"), PLAIN)
for loss, given in (("auxiliary_confidence", "0.9"), ("generalised_cross_entropy", "q=0.9")):
    CALLS[loss] = (PLAIN.replace("_N)", f"_N, loss=parts.{loss}({given}))"), PLAIN)


@pytest.fixture(scope="module")
def task(module_bed):
    return load_task(module_bed.public, module_bed.public, "feedback", 1)


@pytest.fixture
def library():
    """The library as it was, afterwards."""
    yield
    sys.modules[parts.__name__] = aarlab.methods.parts = parts


def method(tmp_path, body):
    path = tmp_path / "method.py"
    head = "import numpy as np\nfrom aarlab.methods import parts\n\n\ndef run(task, seed):\n"
    path.write_text(f"{head}    student, test = parts.represent(task)\n{body}\n")
    return path


def plain(path):
    found = {}
    exec(path.read_text(), found)
    return found["run"]


@pytest.mark.parametrize("name", NEUTRAL)
def test_without_a_part_a_method_is_the_plain_one(name, task, tmp_path, library):
    body, without = CALLS[name]
    whole = plain(method(tmp_path, body))(task, 3)
    expected = plain(method(tmp_path, without))(task, 3)
    assert not np.allclose(whole, expected), "the part does something here"
    found = run_without(name, method(tmp_path, body))(task, 3)
    assert np.array_equal(found, expected)


def test_what_other_parts_do_inside_stays_as_it_is(task, tmp_path, library):
    """Self-training hardens its labels; `harden` is not taken out of it."""
    body = WHOLE.format(labels="parts.self_trained_labels(student, task.weak_probs_N, seed)")
    whole = plain(method(tmp_path, body))(task, 3)
    assert np.array_equal(run_without("harden", method(tmp_path, body))(task, 3), whole)


def test_a_call_that_the_part_would_refuse_is_refused_without_it(task, tmp_path, library):
    run = run_without("confident", method(tmp_path, "    return parts.confident()"))
    with pytest.raises(TypeError, match="labels_N"):
        run(task, 1)


def test_every_part_can_be_taken_out_or_is_what_learns():
    known = {n for n, _ in inspect.getmembers(parts, inspect.isfunction) if not n.startswith("_")}
    imported = {"cross_entropy", "partial"}
    assert known - imported - NEUTRAL.keys() == {"learn", "train", "cross_fit"}
    with pytest.raises(Misconfigured, match="'train' is no part that can be taken out"):
        run_without("train", None)
