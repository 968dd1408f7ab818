import json

import numpy as np
import pytest

from aarlab.runs.grading import Refused, Scores
from tests.problems.shipped_problems.shipped_runs import Shipped, digests, means

pytestmark = pytest.mark.process
REFERENCE = "from nearest import answer as right\n"


@pytest.fixture(scope="module")
def speed(tmp_path_factory):
    return Shipped("speed", tmp_path_factory.mktemp("speed"))


def grade(speed, text, folder):
    nearest = (speed.made.public / "nearest.py").read_text()
    return speed.grade({"program.py": text, "nearest.py": nearest}, folder)


def test_its_shapes_are_decided_by_the_seed_and_those_of_final_are_new(speed, tmp_path):
    assert digests(speed.prepared(1, tmp_path)) == digests(speed.made)
    shown = json.loads((speed.made.public / "shapes.json").read_text())
    assert len(shown) == 4
    names = [{*speed.units("feedback")}, {*speed.units("final")}]
    names.append({f"n{s['n']}-d{s['d']}-q{s['q']}-k{s['k']}" for s in shown})
    assert len(set.union(*names)) == sum(map(len, names)) == 76


def test_the_reference_is_right(monkeypatch, speed):
    monkeypatch.syspath_prepend(str(speed.made.public))
    import nearest

    points_ND = np.array([[0, 0], [3, 0], [0, 0], [1, 0]])
    assert nearest.nearest(points_ND, np.array([[0, 0], [3, 1]]), 3).tolist() == [
        [0, 2, 3],
        [1, 3, 0],
    ]
    request = {"seed": 5, "n": 40, "d": 3, "q": 6, "k": 4}
    points_ND, queries_QD = nearest.inputs(request)
    found_QK = nearest.nearest(points_ND, queries_QD, 4)
    for query_D, found_K in zip(queries_QD, found_QK, strict=True):
        far = [(int(((p - query_D) ** 2).sum()), n) for n, p in enumerate(points_ND)]
        assert [n for _, n in sorted(far)[:4]] == found_K.tolist()
    sums = {nearest.checksum(found_QK)}
    sums |= {nearest.checksum(np.roll(found_QK, n, axis=1)) for n in (1, 2, 3)}
    sums |= {nearest.checksum(found_QK + (np.arange(24).reshape(6, 4) == n)) for n in range(24)}
    assert len(sums) == 28  # every place counts


@pytest.mark.long  # what it times is disturbed by tests that run beside it
@pytest.mark.parametrize("split", ["feedback", "final"])
def test_the_reference_is_at_the_floor_and_the_matrix_product_is_faster(speed, split):
    reference, faster = (speed.baseline(n, split) for n in ("reference", "matrix-product"))
    assert reference["correct"] == faster["correct"] == 1
    assert abs(reference["speedup"]) < 0.4  # a busy machine disturbs it
    assert faster["speedup"] > reference["speedup"] + 0.5


@pytest.mark.parametrize(
    "text",
    [
        "def answer(request):\n    return {'checksum': 0}",
        pytest.param("def answer(request):\n    return None", marks=pytest.mark.long),
        pytest.param("def answer(request):\n    raise ValueError", marks=pytest.mark.long),
        "import os\ndef answer(request):\n    os._exit(1)",
        # what an earlier call had
        REFERENCE + "known = []\ndef answer(request):\n    known.append(known or right(request))\n"
        "    return known[0]",
        # the nearest of the first points alone
        REFERENCE + "def answer(request):\n    return right(request | {'n': request['n'] // 2})",
        # right, and nobody waited for
        REFERENCE + "import threading\ndef answer(request):\n"
        "    threading.Thread(target=right, args=(request,)).start()\n    return {'checksum': 1}",
    ],
)
def test_what_is_not_computed_counts_the_least(speed, tmp_path, text):
    found = grade(speed, text, tmp_path / "submitted")
    assert isinstance(found, Scores)
    assert means(found) == {"speedup": -1.0, "correct": 0.0}


@pytest.mark.long
def test_one_wrong_shape_is_below_the_gate(speed, tmp_path):
    text = (
        REFERENCE + "first = []\ndef answer(request):\n    shape = request['n'], request['d']\n"
        "    first.append(shape)\n    if shape == first[2]: return {'checksum': 1}\n"
        "    return right(request)"
    )
    found = grade(speed, text, tmp_path / "submitted")
    (gate,) = speed.problem.contract.gates
    assert 0.9 < means(found)["correct"] < gate.floor.value


@pytest.mark.long
def test_a_program_that_works_between_its_calls_does_not_slow_the_reference(speed, tmp_path):
    text = REFERENCE + (
        "import subprocess, sys\n"
        "work = 'import numpy as np\\nx = np.ones(30_000_000)\\nwhile True: x += 1'\n"
        "children = [subprocess.Popen([sys.executable, '-c', work]) for _ in range(4)]\n"
        "def answer(request):\n    return right(request)"
    )
    found = grade(speed, text, tmp_path / "submitted")
    assert isinstance(found, Scores)
    assert means(found)["speedup"] < 0  # it slows itself


def test_a_folder_without_a_program_is_refused(speed, tmp_path):
    assert isinstance(speed.grade({"nearest.py": ""}, tmp_path / "submitted"), Refused)
