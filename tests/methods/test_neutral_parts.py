"""A part that is taken out is replaced by what does nothing, and other parts stay as they are."""

import importlib
import inspect
import json
import subprocess
import sys
from types import FunctionType

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.fleet.without_component import _wrapped
from aarlab.methods import parts
from aarlab.methods.neutral_parts import NEUTRAL
from aarlab.runs.execute import load_method
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
    before = {f: f.__code__ for f in vars(parts).values() if isinstance(f, FunctionType)}
    names = {*vars(parts)}
    yield
    for function, code in before.items():
        function.__code__ = code
    for name in vars(parts).keys() - names:
        delattr(parts, name)
    importlib.import_module("aarlab.methods.neutral_parts")


def run_without(name, path):
    """The `run` of a method file without a part, as a run loads it."""
    whole = path.rename(path.with_name("whole_0.py"))
    path.write_text(_wrapped(name, whole.name))
    return load_method(path)


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
        importlib.import_module("aarlab.methods.neutral_parts").take_out("train")


SPIED = {
    "agreeing": "part(np.linspace(0, 1, 30), np.linspace(0, 1, 30) ** 2).tolist()",
    "confident": "part(np.linspace(0, 1, 30)).tolist()",
    "auxiliary_confidence": "part().__name__",
}
SPY = """
import gc
import inspect
import sys
from types import FunctionType

import numpy as np

from aarlab import methods
from aarlab.methods import parts
from aarlab.methods.parts import {name} as part


def looked():
    frame, frames = sys._getframe(), []
    while frame is not None:
        frames += [frame.f_code.co_filename, frame.f_code.co_name, *frame.f_locals]
        frames += [str(frame.f_globals.get("__name__")), *frame.f_globals]
        frame = frame.f_back
    objects = [o for o in gc.get_objects() if isinstance(o, FunctionType)]
    dicts = [o for o in gc.get_objects() if isinstance(o, dict)]
    names = {{k for d in dicts for k in d if isinstance(k, str)}}
    names |= {{d["__name__"] for d in dicts if isinstance(d.get("__name__"), str)}}
    return {{
        "modules": sorted(sys.modules),
        "package": sorted(vars(methods)),
        "source": inspect.getsource(part),
        "own": inspect.getsource(looked) + inspect.getsourcefile(looked),
        "file": __file__,
        "part": [str(inspect.signature(part)), part.__module__, part.__qualname__, vars(part)],
        "code": [part.__code__.co_filename, part.__code__.co_firstlineno, part.__doc__],
        "place": [part is parts.{name}, part.__globals__ is vars(parts)],
        "library": sorted(n for n in vars(parts) if n != "_{name}"),
        "functions": sorted({{f.__module__ or "" for f in objects}}),
        "twins": sum(f.__qualname__ == part.__qualname__ for f in objects if f is not part),
        "names": sorted(n for n in names if "neutral" in n or n == "code_without"),
        "frames": sorted({{f for f in frames if "neutral" in f or "code_without" in f}}),
    }}


found = looked()


def run(task, seed):
    return found, looked(), {call}
"""
LOAD = """
import json
import sys
from pathlib import Path
from aarlab.methods import parts
from aarlab.runs.execute import load_method
print(json.dumps(load_method(Path(sys.argv[1]))(None, 0)))
"""


def seen(path):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.process
@pytest.mark.parametrize("name", SPIED)
def test_code_that_looks_for_what_took_a_part_out_finds_no_trace(name, tmp_path):
    path = tmp_path / "method.py"
    path.write_text(SPY.format(name=name, call=SPIED[name]))
    whole = seen(path)
    path.rename(tmp_path / "whole_0.py")
    path.write_text(_wrapped(name, "whole_0.py"))
    without = seen(path)
    for before, now in zip(whole[:2], without[:2], strict=True):
        # other parts call `confident`, and have it as it was: that is one function more
        before["twins"] += name == "confident"
        assert now == before
        assert now["names"] == now["frames"] == []
    assert whole[2] != without[2], "the part is out"
