"""A bench whose methods run where an engine places them: the same tables as on this machine."""

from contextlib import closing

import pytest
from typer.testing import CliRunner

from aarlab.bench.run import command_of, run
from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.core.settings import Home
from aarlab.runs import placing
from aarlab.runs.local_pool import LocalPool
from aarlab.sandbox import Bubblewrap
from tests.bench.test_run import Silent, spec
from tests.ray_cluster import RayCluster
from tests.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.process
SMALL = {"tasks": ("generated-chat",), "methods": ("naive", "critic"), "seeds": 2}


def scores(report):
    """The rows of its tables, without what they took."""
    return [[row.model_dump(exclude={"seconds"}) for row in table.rows] for table in report.tables]


class Counting:
    """A pool that is asked for as if it were a cluster's."""

    def __init__(self, folder):
        self.pool, self.names, self.closed = LocalPool(Bubblewrap, folder, workers=2), [], False

    def submit(self, job, resources):
        self.names.append(job.name)
        return self.pool.submit(job, resources)

    def answered_by(self, key):
        return "one"

    def close(self):
        self.closed = True
        self.pool.close()

    def __getattr__(self, name):
        return getattr(self.pool, name)


def test_a_bench_on_a_placing_engine_has_the_same_tables(tmp_path, monkeypatch):
    made = []

    def on_cluster(given, home, say):
        made.append(Counting(tmp_path / "pool"))
        return made[-1]

    monkeypatch.setattr(placing, "_on_cluster", on_cluster)
    here, _ = run(spec(**SMALL), Home(tmp_path / "here"), Silent())
    placed = spec(**SMALL, engine="slurm", slurm={"partition": "main"}, run_twice=0.0)
    there, _ = run(placed, Home(tmp_path / "there"), Silent())
    assert scores(there) == scores(here)
    assert [len(engine.names) for engine in made] == [2], "one run a method, all by one engine"
    assert made[0].closed
    assert command_of(placed).endswith("""--engine slurm --slurm '{"partition": "main"}'""")


def test_a_bench_on_ray_says_that_its_address_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(Misconfigured, match="RAY_ADDRESS is ''. Set it to HOST:PORT"):
        run(spec(**SMALL, engine="ray"), Home(tmp_path), Silent())


def test_options_of_slurm_that_name_no_field_are_refused():
    done = CliRunner().invoke(app, ["bench", "--engine", "slurm", "--slurm", "main"])
    assert isinstance(done.exception, Misconfigured)
    assert "--slurm is 'main', which names no field. Write '{partition:" in str(done.exception)


@pytest.mark.cluster
def test_a_bench_on_a_real_ray_has_the_same_tables(tmp_path, monkeypatch):
    with closing(RayCluster()) as cluster:
        cluster.join(monkeypatch)
        there, _ = run(spec(**SMALL, engine="ray"), Home(tmp_path / "there"), Silent())
    here, _ = run(spec(**SMALL), Home(tmp_path / "here"), Silent())
    assert scores(there) == scores(here)


@pytest.mark.cluster
def test_a_bench_on_a_real_slurm_has_the_same_tables(tmp_path, monkeypatch):
    with closing(SlurmCluster()) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        placed = spec(**SMALL, engine="slurm", slurm={"partition": "main"})
        there, _ = run(placed, Home(cluster.folder / "home"), Silent())
    here, _ = run(spec(**SMALL), Home(tmp_path / "here"), Silent())
    assert scores(there) == scores(here)
