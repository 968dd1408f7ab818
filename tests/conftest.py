"""Fixtures: a testbed of generated words with the double as its student, set up once a test process."""

import json
import os
import shutil
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
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """generated-chat, published, labelled and with its baselines measured in real sandboxes."""
    made = Home(tmp_path_factory.mktemp("aar-home"))
    bed = prepare("generated-chat", 1, home=made, student=student.COUNTING, say=quiet)
    engine = LocalEngine(bed, made.root / "runs", Bubblewrap, workers=2, timeout_s=60)
    measure_baselines(engine, bed.private, quiet)
    engine.close()
    return made


@pytest.fixture
def home(prepared_home: Home, tmp_path: Path) -> Home:
    """The prepared home as a test's own: what is released about a label set in one test is unknown to the next."""
    shutil.copytree(prepared_home.root, tmp_path / "aar-home", copy_function=os.link)
    return Home(tmp_path / "aar-home")


@pytest.fixture(scope="module")
def module_home(prepared_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """As `home`, for the tests of one module together."""
    folder = tmp_path_factory.mktemp("module") / "aar-home"
    shutil.copytree(prepared_home.root, folder, copy_function=os.link)
    return Home(folder)


@pytest.fixture
def bed(home: Home) -> Testbed:
    """The prepared testbed in a home of its own."""
    return prepare("generated-chat", 1, home=home, student=student.COUNTING, say=quiet)


@pytest.fixture(scope="module")
def module_bed(module_home: Home) -> Testbed:
    """As `bed`, for the tests of one module together."""
    return prepare("generated-chat", 1, home=module_home, student=student.COUNTING, say=quiet)


@pytest.fixture
def answers(bed: Testbed) -> dict[str, dict[str, int]]:
    """The hidden labels, for tests alone."""
    return json.loads((bed.private / "answers.json").read_text())


@pytest.fixture
def evaluator(bed: Testbed, tmp_path: Path):
    with Evaluator(bed.folder, tmp_path / "campaign") as made:
        yield made
