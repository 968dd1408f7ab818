"""Fixtures: a testbed of generated words with the double as its student, set up once a test process."""

import json
from pathlib import Path

import pytest

from aarlab.core.settings import Home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.baselines import measure_baselines
from aarlab.runs import student
from aarlab.runs.engine import LocalEngine
from aarlab.runs.testbed import Testbed, prepare
from aarlab.sandbox import Bubblewrap


def quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("aar-home"))


@pytest.fixture(scope="session")
def bed(home: Home) -> Testbed:
    """generated-chat, published, labelled and with its baselines measured in real sandboxes."""
    made = prepare("generated-chat", 1, home=home, student=student.COUNTING, say=quiet)
    engine = LocalEngine(made, home.root / "runs", Bubblewrap, workers=2, timeout_s=60)
    measure_baselines(engine, made.private, quiet)
    engine.close()
    return made


@pytest.fixture
def answers(bed: Testbed) -> dict[str, dict[str, int]]:
    """The hidden labels, for tests alone."""
    return json.loads((bed.private / "answers.json").read_text())


@pytest.fixture
def evaluator(bed: Testbed, tmp_path: Path):
    with Evaluator(bed.folder, tmp_path / "campaign") as made:
        yield made
