"""Whoever stops a campaign in code mode does not wait for runs: they end without an outcome, and
are run again when it goes on."""

import shutil
from types import SimpleNamespace

import pytest

from aarlab.core.errors import Transient
from aarlab.core.layout import CampaignFolder, GradingsFolder
from aarlab.fleet.code_mode import CodeWorker, EngineRuns
from aarlab.fleet.folder_runs import FolderRuns
from aarlab.methods.baselines import source_of
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.sandbox import Bubblewrap
from tests.fleet.programs import Program, quicken, run_fleet
from tests.fleet.test_code_mode import engines as engines
from tests.fleet.test_code_mode import hand_in
from tests.fleet.test_code_mode import lab as lab
from tests.fleet.test_code_mode import short as short
from tests.fleet.test_folder_campaign import CONTRACT, GRADE, ZERO
from tests.fleet.test_folder_campaign import folder as folder
from tests.fleet.test_folder_campaign import served as served
from tests.processes import running
from tests.runs.test_cancelled_runs import MARK, WAITS
from tests.waiting import waited_for

pytestmark = pytest.mark.process


def test_code_that_runs_when_the_operator_stops_still_waits(lab, engines):
    process, ann = lab
    worker = CodeWorker(process, EngineRuns(*engines), at_once=1)
    first, second = hand_in(ann, WAITS), hand_in(ann, source_of("naive"))
    worker.step()
    waited_for(lambda: running(MARK))
    worker.stop()
    worker.finish()
    assert not running(MARK)
    left = [one["ticket"] for one in process.call("waiting_requests")["requests"]]
    assert left == [first["id"], second["id"]]
    assert process.call("ledger_summary")["by_kind"]["submission"] == 0


@pytest.mark.parametrize("where", ["the code", "the grader"])
def test_a_grading_that_runs_when_the_operator_stops_has_no_outcome(
    folder, served, tmp_path, where
):
    slow = tmp_path / "slow"
    shutil.copytree(folder, slow)
    (slow / "problem.yaml").write_text(CONTRACT.replace("wall_s: 20", "wall_s: 400"))
    waits = f"    __import__('subprocess').run('{MARK}'.split())\n"
    code = ZERO
    if where == "the code":
        code = ZERO.replace("seed):\n", f"seed):\n{waits}", 1)
    else:
        (slow / "grade.py").write_text(GRADE.replace("trial):\n", f"trial):\n{waits}", 1))
    given = SimpleNamespace(problem=read_problem(slow), prepared=served.prepared)
    campaign = tmp_path / "campaign"
    runs = FolderRuns(given, campaign, Bubblewrap, workers=1)
    job = runs.pool.submit(runs.outcome, "q-000001", {"method.py": code}, (1, 2))
    waited_for(lambda: running(MARK) or job.done())
    runs.stop()
    with pytest.raises(Transient, match="has no result"):
        job.result(30)
    assert not running(MARK)
    assert not GradingsFolder(CampaignFolder(campaign).server.gradings).faults.exists()
    runs.close()


class Stopped:
    """A worker that records what it is asked for."""

    def __init__(self):
        self.asked = []

    def step(self, spent):
        self.asked.append("step")

    def stop(self):
        self.asked.append("stop")

    def finish(self, say):
        self.asked.append("finish")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stops_what_runs_before_all_else(bed, tmp_path, monkeypatch, end):
    def interrupt(state, parts, fleet):
        if worker.asked.count("stop") == 0:
            raise end

    quicken(monkeypatch)
    worker, sleeps = Stopped(), Program("import time; time.sleep(600)", "crashed")
    with pytest.raises(end):
        run_fleet(bed, tmp_path / "campaign", sleeps, researchers=1, act=interrupt, worker=worker)
    assert [one for one in worker.asked if one != "step"] == ["stop", "finish"]
