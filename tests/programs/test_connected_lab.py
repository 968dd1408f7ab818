"""`aarlab.connect(...)`: a program's function is committed, run and graded in one call."""

import importlib.util
import sys

import pytest

import aarlab
from aarlab.core.errors import InvalidSubmission, Unauthorised
from aarlab.evaluation.scoring.policies import DEFAULT_POLICY
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.programs.connected_lab import code_of

METHOD = """def run(task, seed):
    weak = task.test.zero_shot_logit_N2
    return (weak[:, 1] > weak[:, 0]).astype(float)


def other(task, seed):
    return None
"""
ADDRESS = "http://127.0.0.1:9"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The user's own module."""
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.process
def test_a_function_is_committed_run_and_graded_in_one_call(bed, tmp_path, mine):
    with EvaluatorProcess(bed.folder, tmp_path / "campaign", policy=DEFAULT_POLICY) as server:
        token = server.call("issue_token", {"name": "ann", "role": "researcher"})["token"]
        lab = aarlab.connect(str(server._http.base_url), token)
        receipt = lab.submit(mine.run, family="other", data=bed.public)
        assert receipt.family == "other"
        files = lab.call("download_code", snapshot=receipt.snapshot)["files"]
        assert files == {"method.py": METHOD}
        (tmp_path / "raises.py").write_text("def run(task, seed):\n    raise ValueError('mine')\n")
        with pytest.raises(InvalidSubmission, match="ValueError: mine"):
            lab.submit(tmp_path / "raises.py", family="other", data=bed.public)
        with pytest.raises(InvalidSubmission, match="call submit_predictions|takes predictions"):
            lab.submit(mine.run, family="other")
        with pytest.raises(Unauthorised):
            aarlab.connect(str(server._http.base_url), "x").submit(mine.run, family="other")


def test_code_that_cannot_be_committed_says_what_to_do(mine):
    typed = {}
    exec(METHOD, typed)
    for run in (typed["run"], lambda task, seed: None, print):
        with pytest.raises(InvalidSubmission, match="a file of its own"):
            code_of(run)
    with pytest.raises(InvalidSubmission, match="yours is other"):
        code_of(mine.other)
    mine.run.__module__ = "__main__"
    with pytest.raises(InvalidSubmission, match="the program itself"):
        code_of(mine.run)


def test_what_is_no_address_no_token_and_no_public_folder_is_refused(mine, tmp_path):
    for address, token in (("127.0.0.1:9", "x"), ("ftp://a", "x"), (ADDRESS, " ")):
        with pytest.raises(InvalidSubmission, match="aar (evaluator|token)"):
            aarlab.connect(address, token)
    with pytest.raises(InvalidSubmission, match="no public folder"):
        aarlab.connect(ADDRESS, "x").submit(mine.run, family="other", data=tmp_path)
