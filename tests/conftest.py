"""Fixtures: a testbed of generated words with the double as its student, set up once a test
process."""

import os

# Tests share two cores, and threads that wait for each other there keep them busy: one thread each,
# in this process and in those that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gc
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from aarlab.core.hold import file_lock
from aarlab.core.settings import Home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.measure_baselines import measure_baselines
from aarlab.runs.engine import LocalEngine
from aarlab.sandbox import Bubblewrap
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.testbed import Testbed
from tests.store_servers import PostgresServer, S3Server, prepared_postgres

pytest_plugins = ["tests.process_marker"]
# how fast examples are drawn says how busy the machine is
settings.register_profile(
    "busy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, *settings().suppress_health_check],
)
# `make test`: whether a commit passes depends on the commit alone. All else draws new examples.
settings.register_profile("same", settings.get_profile("busy"), derandomize=True, database=None)
# `make quick`: tests that state no number of examples of their own draw a fifth of them.
settings.register_profile("quick", settings.get_profile("busy"), max_examples=20)
settings.load_profile("busy")


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector need not look at it again after each test."""
    gc.collect()
    gc.freeze()


def quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def prepared_home(
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
    unwatched: Callable[[], AbstractContextManager[None]],
) -> Home:
    """generated-chat, published, labelled and with its baselines measured in real sandboxes.

    Runs are kept in pytest's cache under the digest of the code that decides them: one worker makes
    them, once a version. Those are the only processes that tests without the marker `process` may
    cause."""
    made, cache = Home(tmp_path_factory.mktemp("aar-home")), getattr(pytestconfig, "cache", None)
    # there is none with -p no:cacheprovider: the runs are then made for this process alone
    kept = tmp_path_factory.mktemp("aar-runs") if cache is None else cache.mkdir("aar-runs")
    with unwatched(), file_lock(kept / "lock"):
        bed = prepare("generated-chat", 1, home=made, student=student.COUNTING, progress=quiet)
        engine = LocalEngine(bed, kept / "runs", Bubblewrap, workers=2, timeout_s=60)
        measure_baselines(engine, quiet)
        engine.close()
        shutil.copytree(kept / "runs", made.runs)
    return made


@pytest.fixture(scope="session")
def postgres_server(starts_processes: None):
    """A real PostgreSQL for this test process, with the schema of ledgers; tests share it, each
    with a ledger of another name."""
    server = prepared_postgres()
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """It, with its passwords where libpq looks for them."""
    monkeypatch.setenv("PGPASSFILE", str(postgres_server.passfile))
    return postgres_server


@pytest.fixture(scope="session")
def s3_server(starts_processes: None):
    """A real S3 server for this test process."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """It, with its keys where clients look for them."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def home(prepared_home: Home, tmp_path: Path) -> Home:
    """The prepared home as a test's own: what is released about a label set in one test is unknown
    to the next."""
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
    return prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)


@pytest.fixture(scope="module")
def module_bed(module_home: Home) -> Testbed:
    """As `bed`, for the tests of one module together."""
    return prepare("generated-chat", 1, home=module_home, student=student.COUNTING, progress=quiet)


@pytest.fixture
def answers(bed: Testbed) -> dict[str, dict[str, int]]:
    """The hidden labels, for tests alone."""
    return json.loads((bed.private / "answers.json").read_text())


@pytest.fixture
def evaluator(bed: Testbed, tmp_path: Path):
    with Evaluator(bed.folder, tmp_path / "campaign") as made:
        yield made
