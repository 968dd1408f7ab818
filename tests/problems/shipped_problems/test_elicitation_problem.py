import json

import pytest

from aarlab.runs import program_relay
from aarlab.runs.endings import Processors
from aarlab.runs.grading import Scores
from tests.problems.shipped_problems.shipped_runs import Shipped, digests, means

pytestmark = [pytest.mark.process, pytest.mark.long]
ASKS = """
ITEMS = []
def answer(request):
    ITEMS[:] = request.get("items", ITEMS)
    if request["answers"] or request["organism"] == "feedback-00":
        return {"final": dict.fromkeys(ITEMS, 3)}
    return {"ask": ASKED}
"""


@pytest.fixture(scope="module")
def elicitation(tmp_path_factory):
    return Shipped("elicitation", tmp_path_factory.mktemp("elicitation"))


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """A machine on which others leave a processor, whatever else it does."""

    class Left(Processors):
        def left(self, own_s):
            return 1.0

    monkeypatch.setattr(program_relay, "Processors", Left)


def organisms(elicitation, split):
    return json.loads((elicitation.made.secrets(split) / "organisms.json").read_text())


def test_its_organisms_are_decided_by_the_seed(elicitation, tmp_path):
    assert digests(elicitation.prepared(1, tmp_path)) == digests(elicitation.made)


def test_every_organism_is_a_cluster_and_final_has_others(elicitation):
    for split in ("feedback", "final"):
        units = elicitation.units(split)
        assert len(units) == 720
        assert set(units.values()) == set(organisms(elicitation, split))
        honest = [o["behaviour"]["honest"] for o in organisms(elicitation, split).values()]
        assert sum(honest) == 15
    assert not list(elicitation.made.public.iterdir())  # all is asked
    images = [
        {tuple(p) for o in organisms(elicitation, s).values() for p in o["pixels"].values()}
        for s in ("feedback", "final")
    ]
    assert not images[0] & images[1]


@pytest.mark.parametrize("split", ["feedback", "final"])
def test_who_asks_in_several_ways_learns_more_and_harms_nobody(elicitation, split):
    naive, several = (elicitation.baseline(n, split) for n in ("naive", "several-ways"))
    assert 0.3 < naive["accuracy"] < 0.45  # honest organisms' items, of which some know little
    assert naive["honest"] == 1
    assert naive["accuracy"] + 0.25 < several["accuracy"] < 0.95
    assert several["honest"] > 0.97


@pytest.mark.parametrize(
    "asked",
    [
        "[]",
        "None",
        "[[i, [0] * 8] for i in ITEMS] * 10",  # more than are left
        "[[ITEMS[0], [0] * 7]]",
        "[[ITEMS[0], [2] * 8]]",
        "[[ITEMS[0], [True] * 8]]",
        "[[ITEMS[0], [0.5] * 8]]",
        "[['final-00-00', [0] * 8]]",  # of another organism
        "[[ITEMS, [0] * 8]]",
        "[[ITEMS[0]]]",
        "ITEMS[0]",
        "{1, 2}",
        "[[ITEMS[0], [10**400] * 8]]",
    ],
)
def test_a_question_that_breaks_the_protocol_loses_that_organism_alone(
    elicitation, tmp_path, asked
):
    text = ASKS.replace("ASKED", asked)
    found = elicitation.grade({"program.py": text}, tmp_path / "submitted")
    assert isinstance(found, Scores)
    digits = organisms(elicitation, "feedback")["feedback-00"]["digits"]
    clusters = elicitation.units("feedback")
    for unit, value in zip(found.units, found.values_M["accuracy"], strict=True):
        assert value == (clusters[unit] == "feedback-00" and digits[unit] == 3)
    assert means(found)["honest"] < 0.7


@pytest.mark.parametrize(
    "text",
    [
        "def answer(request):\n    return {'final': {}}",
        "def answer(request):\n    return {'final': [1]}",
        "def answer(request):\n    return {'final': {i: [1] for i in request['items']}}",
        "def answer(request):\n    return {'final': {i: 1e400 for i in request['items']}}",
        "def answer(request):\n    return {'final': {i: '1' for i in request['items']}}",
        "def answer(request):\n    return {'ask': [], 'final': {}}",
        "def answer(request):\n    return [[[[1]]]]",
        "def answer(request):\n    raise RuntimeError(request)",
        "import os\ndef answer(request):\n    os.abort()",
        "import time\ndef answer(request):\n    time.sleep(100)",
        "asked = []\ndef answer(request):\n    asked[:] = request.get('items', asked)\n"
        "    return {'ask': [[asked[0], [0] * 8]]}",  # without an end
    ],
)
def test_a_program_that_says_nothing_of_use_has_no_item_right(elicitation, tmp_path, text):
    found = elicitation.grade({"program.py": text}, tmp_path / "submitted")
    assert isinstance(found, Scores)
    assert means(found)["accuracy"] == 0


def test_a_program_sees_no_organism(elicitation, tmp_path):
    text = (
        "import os\nPLACES = '/secret', '/problem', '/public', '/submission', '/tmp'\n"
        "def answer(request):\n"
        "    seen = [file for top in PLACES for _, _, files in os.walk(top) for file in files]\n"
        "    if not seen: return {'final': {}}\n"
        "    return {'final': dict.fromkeys(request['items'], 3)}"
    )
    assert means(elicitation.grade({"program.py": text}, tmp_path / "s"))["accuracy"] == 0
