"""Campaigns on problems in folders: code is run and graded for researchers, then confirmed."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.author import WEIGHTS
from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.label_set import METERS
from aarlab.core.layout import GradingsFolder, Home, PublicFolder, TestbedFolder
from aarlab.evaluation.code_requests import CODE_ONLY
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.scoring.graded_units import GradedUnits, read_grading
from aarlab.evaluation.scoring.marking import UnitMarking
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.final_runs import FinalRuns, OtherData
from aarlab.fleet.folder_runs import FolderRuns
from aarlab.fleet.incarnation import what_it_sees
from aarlab.fleet.run_folder import as_code, unchecked
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.folder.shipped_folders import is_folder_problem, problem_of
from aarlab.problems.secret_seed import secret_seed
from aarlab.runs import folder_run
from aarlab.runs.grading import Fault, Grader, NotGraded
from aarlab.runs.prepared import ablated, fresh_draw, prepare, prepare_in_secret
from aarlab.runs.served_folder import ServedFolder, serve_folder
from aarlab.runs.trial_scores import Submissions, measure_files, submissions
from aarlab.sandbox import Bubblewrap
from aarlab.sandbox.sandbox import Mount
from tests.fleet.test_code_mode import short as short
from tests.fleet.test_code_mode import tools_of
from tests.problems.folders_made import write_problem
from tests.waiting import waited_for

CONTRACT = """\
name: shift
card: Predict y of each item from its x. public/train.jsonl has 40 examples. Absolute errors count.
submission: {kind: predictions, values: number}
objectives:
  - name: error
    unit: y
    direction: lower
    range: [0, 4]
    floor: {baseline: zero}
    ceiling: {value: 0.1, source: the noise}
  - name: near
    unit: share within 3
    role: gate
    margin: 0.1
    floor: {baseline: zero}
    ceiling: {value: 1.0, source: all are near}
baselines: [zero, half]
families: [a constant, a line, other]
ablations: [slopes]
run: {wall_s: 20, memory_gib: 1}
grading: {wall_s: 20, memory_gib: 1}
"""
PREPARE = """\
import json

import numpy as np


def prepare(seed, public, sealed, secret):
    rng = np.random.default_rng(seed)
    splits = {"train": (public, 40), "feedback": (public, 300), "final": (sealed, 300)}
    for split, (folder, size) in splits.items():
        x = rng.uniform(0, 1, size)
        y = 2 * x + 1 + rng.normal(0, 0.1, size)
        rows = [{"id": f"{split}-{n}", "x": float(x[n])} for n in range(size)]
        if split == "train":
            rows = [r | {"y": float(y[n])} for n, r in enumerate(rows)]
        else:
            hidden = {r["id"]: float(v) for r, v in zip(rows, y)}
            (secret / split / "y.json").write_text(json.dumps(hidden))
            (secret / split / "units.json").write_text(json.dumps([r["id"] for r in rows]))
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in rows))
"""
GRADE = """\
import json


def grade(submission, secret, trial):
    y = json.loads((secret / "y.json").read_text())
    errors = {i: abs(submission[i] - v) for i, v in y.items()}
    if submission[min(y)] == 66.0:
        raise RuntimeError(f"the secret is {y}")
    return {"error": errors, "near": {i: float(e < 3) for i, e in errors.items()}}
"""
METHOD = """\
import json


def submit(public, inputs, out, seed):
    items = [json.loads(line) for line in inputs.read_text().splitlines()]
    return {{item["id"]: {value} for item in items}}
"""
ABLATION = """\
def ablate(seed, public):
    (public / "train.jsonl").write_text("")
    (public / "note.txt").write_text(" ".join(sorted(p.name for p in public.iterdir())))
"""
ZERO, HALF = METHOD.format(value="0.0"), METHOD.format(value="0.5")
GOOD = METHOD.format(value='2 * item["x"] + 1')


def submit_code(served, folder, codes):
    """Have the code of each submitter run, graded and submitted to the campaign in a folder."""
    grader = Grader(served.problem, served.prepared, Bubblewrap)
    with Evaluator(served.folder, folder) as evaluator:
        for who, code in codes.items():
            files = {"method.py": code}
            given = evaluator.commit_code(who, files, "other")
            seeds = tuple(given["seeds"])
            found = measure_files(grader, files, "feedback", seeds, Bubblewrap)
            graded = GradedUnits("feedback", seeds, found.submitted, found.measured.scores)
            evaluator.submit_graded(who, given["snapshot"], graded, "other")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = write_problem(
        tmp_path_factory.mktemp("problem") / "shift",
        contract=CONTRACT,
        prepare=PREPARE,
        grade=GRADE,
    )
    (made / "baselines" / "zero.py").write_text(ZERO)
    (made / "baselines" / "half.py").write_text(HALF)
    (made / "baselines" / "guess.py").unlink()
    (made / "ablations").mkdir()
    (made / "ablations" / "slopes.py").write_text(ABLATION)
    return made


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory, starts_processes):
    home = Home(tmp_path_factory.mktemp("home"))
    return serve_folder(read_problem(folder), 1, home, Bubblewrap, lambda *_: None)


def test_a_problem_is_in_a_folder_by_its_shipped_name_or_its_path(folder):
    assert is_folder_problem("calibration")
    assert is_folder_problem(str(folder))
    assert not is_folder_problem("small-chat")
    assert Campaign(problem=str(folder)).in_folder


def test_researchers_have_the_weights_that_the_problem_names(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_run, "ensure_weights", lambda cache: tmp_path)
    member = SimpleNamespace(name="r", brief_folder=tmp_path, home=tmp_path, strong=None)
    member.researcher = SimpleNamespace(mounts=lambda: ())
    for problem, named in (("steering", True), ("calibration", False), ("small-chat", False)):
        spec = what_it_sees(Campaign(problem=problem), tmp_path, member, tmp_path)
        assert (Mount(tmp_path, str(WEIGHTS)) in spec.mounts) == named


def test_what_researchers_see_is_the_card_the_data_and_the_baselines(served):
    shown = {str(p.relative_to(served.public)) for p in served.public.rglob("*") if p.is_file()}
    assert shown == {
        "problem.json",
        "train.jsonl",
        "feedback.jsonl",
        "baselines/zero.py",
        "baselines/half.py",
    }
    card = json.loads(PublicFolder(served.public).card.read_text())
    assert (card["kind"], card["baselines"]) == ("folder", ["zero", "half"])
    assert card["families"] == ["a constant", "a line", "other"]
    assert not TestbedFolder(served.folder).private.stat().st_mode & 0o077


def test_data_of_a_folder_whose_digest_begins_alike_are_not_taken(folder, served):
    """12 digits stand in its name, and who wants them finds files that have them."""
    problem = read_problem(folder)
    other = replace(problem, digest=problem.digest[:12] + "0" * 52)
    with pytest.raises(Misconfigured, match="set up of other files"):
        serve_folder(other, 1, Home(served.folder.parents[1]), Bubblewrap, lambda *_: None)


@pytest.mark.process
def test_who_has_prepare_and_the_data_seed_cannot_make_the_secrets_again(served, tmp_path):
    card = json.loads(PublicFolder(served.public).card.read_text())
    rebuilt = prepare(served.problem, card["data_seed"], tmp_path, Bubblewrap)
    for split in ("feedback", "final"):
        theirs, ours = (p.secrets(split) / "y.json" for p in (rebuilt, served.prepared))
        assert theirs.read_bytes() != ours.read_bytes()
    for name in ("one", "two"):
        home = Home(tmp_path / name)
        other = prepare_in_secret(served.problem, card["data_seed"], home, Bubblewrap)
        assert other.inputs("feedback").read_bytes() != rebuilt.inputs("feedback").read_bytes()


@pytest.mark.process
@pytest.mark.parametrize("name", ["shift", "small-math", "calibration"])
def test_a_folder_that_takes_anothers_name_does_not_get_its_seed(name, folder, tmp_path):
    """Its prepare.py may write it where everybody reads it: who has the other's then makes its
    secrets again."""
    home = Home(tmp_path / "home")
    if name == "shift":
        theirs = prepare_in_secret(read_problem(folder), 1, home, Bubblewrap)
    shutil.copytree(folder, tmp_path / "taken")
    contract, code = (tmp_path / "taken" / f for f in ("problem.yaml", "prepare.py"))
    contract.write_text(CONTRACT.replace("name: shift", f"name: {name}"))
    code.write_text(PREPARE + "    (public / 'seed.txt').write_text(str(seed))\n")
    taken = prepare_in_secret(read_problem(tmp_path / "taken"), 1, home, Bubblewrap)
    seed = int((taken.public / "seed.txt").read_text())
    assert seed != secret_seed(home, name, 1)
    if name == "shift":
        again = prepare(read_problem(folder), 9, tmp_path, Bubblewrap, drawn_by=seed)
        one, other = (made.secrets("feedback") / "y.json" for made in (theirs, again))
        assert one.read_bytes() != other.read_bytes()


@pytest.mark.process
def test_an_ablation_changes_a_copy_of_what_is_public_and_sees_no_secret(served):
    problem, prepared = served.problem, served.prepared
    before = (served.public / "train.jsonl").read_bytes()
    with ablated(problem, prepared, "slopes", 7, Bubblewrap) as without:
        assert (without.public / "train.jsonl").read_bytes() == b""
        assert (without.public / "note.txt").read_text() == "feedback.jsonl train.jsonl"
        assert without.inputs("final").read_bytes() == prepared.inputs("final").read_bytes()
        _shown_as_on(served, without)
        place = without.root
    assert not place.exists()
    assert (served.public / "train.jsonl").read_bytes() == before


def _shown_as_on(served, other):
    """The card and the baselines are there, too: code may read them."""
    ours, theirs = PublicFolder(served.public), PublicFolder(other.public)
    assert theirs.card.read_bytes() == ours.card.read_bytes()
    files = list(ours.baselines.iterdir())
    assert files
    for path in files:
        assert (theirs.baselines / path.name).read_bytes() == path.read_bytes()


@pytest.mark.process
def test_a_claim_that_reads_a_baseline_works_on_other_data(served, tmp_path):
    """Researchers are shown the baselines, and build on them."""
    code = (
        "def submit(public, inputs, out, seed):\n"
        "    found = {}\n"
        "    exec((public / 'baselines' / 'half.py').read_text(), found)\n"
        "    return found['submit'](public, inputs, out, seed)\n"
    )
    order = SimpleNamespace(token="t", seeds=(1,), files={"method.py": code})
    scored = SimpleNamespace(name="shift", units={"final": {}}, beside=())
    with OtherData(served, scored, Home(tmp_path), FinalRuns(Bubblewrap), fresh=True) as others:
        shown = others.runs(order, {})
    assert [one.name for one in shown] == ["fresh draw", "without slopes"]
    assert all(isinstance(one.method, GradedUnits) for one in shown), shown


@pytest.mark.process
def test_an_ablation_that_fails_is_its_authors_to_correct(folder, served, tmp_path):
    shutil.copytree(folder, tmp_path / "shift")
    (tmp_path / "shift" / "ablations" / "slopes.py").write_text(
        "def ablate(seed, public):\n    (public / 'missing').read_text()\n"
    )
    problem = read_problem(tmp_path / "shift")
    wrong = pytest.raises(Misconfigured, match=r"slopes\.py.*FileNotFoundError")
    with wrong, ablated(problem, served.prepared, "slopes", 7, Bubblewrap):
        pass
    for odd in ("os.fsencode(str(public)) + b'/\\xff'", "public / 'here'"):
        (tmp_path / "shift" / "ablations" / "slopes.py").write_text(
            f"import os\n\ndef ablate(seed, public):\n    os.symlink('/etc', {odd})\n"
        )
        wrong = pytest.raises(Misconfigured, match=r"slopes\.py: 'public/.*' is no plain file")
        with wrong as caught, ablated(problem, served.prepared, "slopes", 7, Bubblewrap):
            pass
        assert str(caught.value).isascii()
    (tmp_path / "shift" / "ablations" / "slopes.py").unlink()
    with pytest.raises(Misconfigured, match=r"ablations\.0.*slopes\.py is missing"):
        read_problem(tmp_path / "shift")


@pytest.mark.process
def test_a_fresh_draw_is_of_the_problem_and_another_one_each_time(served, tmp_path):
    home = Home(tmp_path)
    with (
        fresh_draw(served.problem, home, "one", Bubblewrap) as one,
        fresh_draw(served.problem, home, "two", Bubblewrap) as two,
    ):
        texts = {p.secrets("final").joinpath("y.json").read_text() for p in (one, two)}
        assert len(texts) == 2
        assert one.inputs("final").is_file()
        places = one.root, two.root
    assert not any(p.exists() for p in places)
    assert not list(home.root.glob("problems/*"))


@pytest.mark.process
def test_who_is_slower_at_making_the_data_leaves_what_is_kept_beside_them(
    served, tmp_path, monkeypatch
):
    first = prepare(served.problem, 1, tmp_path, Bubblewrap)
    meter = TestbedFolder(first.root).private / "meter"
    waiting = tmp_path / "waiting"
    first.root.rename(waiting)

    def whole(problem, made):
        waiting.rename(first.root)  # another process has ended
        meter.mkdir(parents=True)

    monkeypatch.setattr("aarlab.runs.prepared._require_whole", whole)
    assert prepare(served.problem, 1, tmp_path, Bubblewrap) == first
    assert meter.is_dir()
    assert [p.name for p in tmp_path.iterdir()] == [first.root.name]


@pytest.mark.process
@pytest.mark.long
def test_a_set_up_that_was_killed_at_its_end_shares_the_meter_all_the_same(folder, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(folder, tmp_path / "shift")

    def again():
        made = serve_folder(read_problem(tmp_path / "shift"), 1, home, Bubblewrap, lambda *_: None)
        private = TestbedFolder(made.folder).private
        return [private / name for name in METERS]

    first = again()
    with (tmp_path / "shift" / "grade.py").open("a") as grade:
        grade.write("# another version\n")
    links = again()
    assert links != first
    assert links[0].resolve() == first[0].resolve()
    for left in (links[1:], []):  # killed between two links, and before the first
        for link in set(links) - set(left):
            link.unlink()
        assert all(link.is_symlink() for link in again())


@pytest.mark.process
@pytest.mark.long
def test_another_scale_on_secrets_that_were_used_needs_another_data_seed(folder, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(folder, tmp_path / "shift")

    def serve(data_seed=1):
        problem = read_problem(tmp_path / "shift")
        return serve_folder(problem, data_seed, home, Bubblewrap, lambda *_: None)

    first = serve()
    contract = tmp_path / "shift" / "problem.yaml"
    contract.write_text(CONTRACT.replace("[0, 4]", "[0, 400]"))
    assert not (TestbedFolder(serve().folder).private / "meter").exists()
    Evaluator(first.folder, tmp_path / "campaign").close()
    with pytest.raises(Misconfigured, match="Take another data seed"):
        serve()
    serve(data_seed=2)
    contract.write_text(CONTRACT)
    assert serve() == first


def _runs_that_find(found, served, folder, monkeypatch):
    """Runs whose submissions are made, and graded with that outcome."""
    monkeypatch.setattr("aarlab.fleet.folder_runs.submissions", _made_of("one"))
    monkeypatch.setattr(Submissions, "graded", lambda _: found())
    return FolderRuns(served, folder, Bubblewrap, workers=1)


def _made_of(asked):
    return lambda grader, *_: contextlib.nullcontext(
        Submissions(grader, "feedback", ((asked, Path()),))
    )


def _raises(error):
    raise error


def _gradings(folder):
    return GradingsFolder(folder / "server" / "gradings")


@pytest.mark.parametrize("graded", [False, True])
def test_an_error_that_nobody_foresaw_ends_one_request_alone(graded, served, tmp_path, monkeypatch):
    error = OverflowError("int too large")
    runs = _runs_that_find(lambda: _raises(error), served, tmp_path, monkeypatch)
    if not graded:
        monkeypatch.setattr("aarlab.fleet.folder_runs.submissions", lambda *_: _raises(error))
    found = runs.outcome("q-000001", {"method.py": ZERO}, (1,))
    runs.close()
    assert found["failure"] == "ended by the machine"
    assert "int too large" not in found["log"]
    assert "q-000001" in found["fault"]
    assert "OverflowError: int too large" in _gradings(tmp_path).faults.read_text()


def test_faults_of_a_grader_are_no_free_channel(served, tmp_path, monkeypatch):
    """Whether it fails may depend on a secret: the first three cost nobody anything, and what fails
    later is a score of 0, which the meter answers; it asks what it asks without a fault."""
    fault = Fault("it divides by zero where the secret is 0\nq-000009: a line of the submission's")
    runs = _runs_that_find(lambda: fault, served, tmp_path, monkeypatch)
    found = [runs.outcome(f"q-{n:06d}", {"method.py": ZERO}, (1, 2)) for n in range(5)]
    monkeypatch.setattr("aarlab.fleet.folder_runs.submissions", _made_of("other"))
    found.append(runs.outcome("q-000005", {"method.py": ZERO}, (1, 2)))
    runs.close()
    assert [one.get("failure") for one in found] == ["ended by the machine"] * 3 + [None] * 3
    graded = [
        read_grading(_gradings(tmp_path).of(f"q-{n:06d}"), found[n]["graded"]) for n in (3, 4, 5)
    ]
    assert UnitMarking(served.folder).exact(graded[0]) == 0
    assert graded[0].scores["error"].shape == (2, 1, 300)
    assert "counts as a score of 0" in found[4]["fault"]
    asked = Submissions(None, "feedback", (("one", Path()),)).submitted
    assert [one.submitted == asked for one in graded] == [True, True, False]


def test_gradings_that_the_machine_ends_are_no_free_channel(served, tmp_path, monkeypatch):
    """What is sent in can spend the grader's memory on some secrets alone; what is ended before a
    grader has them is free, however often."""
    ended = NotGraded("memory was spent")
    runs = _runs_that_find(lambda: ended, served, tmp_path, monkeypatch)
    for secret in (True, False):
        if not secret:
            made = lambda *_: contextlib.nullcontext(ended)  # noqa: E731
            monkeypatch.setattr("aarlab.fleet.folder_runs.submissions", made)
        found = [runs.outcome(f"q-{n:06d}", {"method.py": ZERO}, (1, 2)) for n in range(30)]
        free = [one.get("failure") == "ended by the machine" for one in found]
        assert free == [not secret or n < 20 for n in range(30)]
        assert not any("memory" in one.get("log", "") for one in found)
    runs.close()


def test_gradings_that_fail_at_once_are_counted_one_by_one(served, tmp_path, monkeypatch):
    """Eight that all fail before any was noted: three are free of the meter, as one by one."""
    together = threading.Barrier(8)

    def fails(_):
        together.wait(60)
        return Fault("it divides by zero")

    runs = _runs_that_find(None, served, tmp_path, monkeypatch)
    monkeypatch.setattr(Submissions, "graded", fails)
    slow = FolderRuns._before
    monkeypatch.setattr(FolderRuns, "_before", lambda *a: (slow(*a), time.sleep(0.05))[0])
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(runs.outcome, f"q-{n:06d}", {"method.py": ZERO}, (1,)) for n in range(8)
        ]
    runs.close()
    assert sum("failure" in one.result() for one in asked) == 3


CHECK = """

def check(submission):
    from aarlab.core.author import Invalid

    if 77.0 in submission.values():
        raise Invalid("77")
"""
# of the second seed: how its submission is refused, or ends
SPOILT = {
    "misses its items": "return {}",
    "raises": "raise ValueError('mine')",
    "ends itself": "__import__('os').kill(__import__('os').getpid(), 9)",
    "is refused by check": "return {item['id']: 77.0 for item in items}",
}


@pytest.mark.process
@pytest.mark.long
@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_a_later_seed_does_says_nothing_of_an_earlier_ones_grading(
    spoilt, folder, served, tmp_path
):
    """Code whose first seed's submission makes the grader fail, or does not, and whose second one
    no grader takes: what comes back is the same, and no secret was looked at for it."""
    shutil.copytree(folder, tmp_path / "problem")
    (tmp_path / "problem" / "grade.py").write_text(GRADE + CHECK)
    checking = ServedFolder(read_problem(tmp_path / "problem"), served.folder)
    runs, found = FolderRuns(checking, tmp_path, Bubblewrap, workers=1), []
    for value in ("66.0", "1.0"):  # on 66 the grader fails
        code = METHOD.format(value=value).replace(
            "    return", f"    if seed == 2:\n        {SPOILT[spoilt]}\n    return"
        )
        found.append(runs.outcome("q-000001", {"method.py": code}, (1, 2)))
    runs.close()
    assert found[0] == found[1]
    assert "failure" in found[0]
    assert not _gradings(tmp_path).faults.exists()


@pytest.mark.process
def test_a_grading_that_is_ended_is_said_to_have_had_secrets(folder, served, tmp_path):
    """Code that dies by a signal in `check`, which sees none, and in `grade`."""
    spend = "    __import__('os').abort()\n"
    for name, secret in (("check", False), ("grade", True)):
        shutil.copytree(folder, tmp_path / name)
        more = "\n\ndef check(submission):\n" + (spend if name == "check" else "    pass\n")
        text = GRADE + more
        if name == "grade":
            text = text.replace("trial):\n", f"trial):\n{spend}", 1)
        (tmp_path / name / "grade.py").write_text(text)
        grader = Grader(read_problem(tmp_path / name), served.prepared, Bubblewrap)
        with submissions(grader, {"method.py": ZERO}, "feedback", (1,), Bubblewrap) as made:
            assert isinstance(made, Submissions) == secret
            found = made.graded() if isinstance(made, Submissions) else made
        assert isinstance(found, NotGraded), found


def test_a_request_that_is_settled_already_is_settled(served, tmp_path):
    """The answer to an earlier call was lost."""
    called = []

    class Lost:
        def call(self, operation, given=None):
            called.append(operation)
            raise InvalidSubmission("No request 'q-000001' waits.", status=404)

    runs = FolderRuns(served, tmp_path, Bubblewrap, workers=1)
    CodeWorker(Lost(), runs, at_once=1)._settle("q-000001", {"graded": "0" * 64})
    runs.close()
    assert called == ["settle_request"]


def test_baselines_are_measured_on_both_splits_and_the_best_is_to_be_beaten(served):
    found = served.baselines()
    assert set(found) == {"zero", "half"}
    assert found["zero"]["feedback"].combined.estimate == pytest.approx(0)
    assert 0.2 < found["half"]["final"].combined.estimate < 0.35
    assert json.loads(TestbedFolder(served.folder).served.read_text())["comparator"] == "half"


@pytest.mark.process
def test_code_is_graded_and_only_what_sees_no_secret_comes_back(served, tmp_path, short):
    """One submission of each ending, through the real processes."""
    campaign, socket = tmp_path / "campaign", short / "ann.sock"
    with EvaluatorProcess(served.folder, campaign, policy="default", sockets=[socket]) as process:
        event = {"kind": "campaign", "who": "operator", "body": {"event": CODE_ONLY}}
        process.call("add_entry", event)
        ann = tools_of(socket, process.call("issue_token", {"name": "ann"})["token"])
        with pytest.raises(InvalidSubmission, match="none of this problem's.*a constant, a line"):
            ann("commit_code", files={"method.py": GOOD}, family="ensemble")
        runs = FolderRuns(served, campaign, Bubblewrap, workers=2)
        worker, alarms = CodeWorker(process, runs, at_once=2), []
        good, refused, faulty = (
            _settled(worker, ann, source, alarms)
            for source in (
                GOOD,
                METHOD.format(value="'three'"),
                METHOD.format(value="66.0"),
            )
        )
        runs.close()
    assert good["receipt"]["improved"]
    assert good["receipt"]["level_pgr"] > 0.2
    assert refused["failure"] == "answers of the wrong shape"
    assert '"three"' in refused["log"]
    assert faulty["failure"] == "ended by the machine"
    assert "no fault of your code" in faulty["log"]
    assert "secret" not in json.dumps(faulty)
    assert re.search(r"grader could not grade q-\d+; correct the problem", alarms[0])
    log = campaign / "server" / "gradings" / "faults.log"
    assert "the secret is" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in log.parent.iterdir()] == [log.name], "no grading is left there"


def _settled(worker, ann, source, alarms):
    code = ann("commit_code", files={"method.py": source}, family="a line")
    ticket = ann("submit_code", snapshot=code["snapshot"], family="a line")

    def ended():
        try:
            worker.step()
        except Transient as error:  # what the fleet shows as an alarm
            alarms.append(str(error))
        found = ann("read_receipt", receipt=ticket["id"])
        return found if found["state"] != "waiting" else None

    return waited_for(ended, 90, every_s=0.2)


@pytest.mark.process
@pytest.mark.long
def test_a_whole_campaign_with_a_confirmed_claim(folder, tmp_path, monkeypatch):
    """The built-in search finds a better number than the baseline's 0.5; its claim is confirmed."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    given = ["--name", "c", "--problem", str(folder), "--researchers", "2", "--minutes", "5"]
    given += ["-s", "experiments=8", "-s", "confirm=2", "-s", "confirm_on_fresh=true"]
    done = CliRunner().invoke(app, ["demo", *given])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "campaigns/c/report/report.json").read_text())
    assert report["comparator"] == "half"
    assert report["faults"] == []
    best = report["claims"][0]
    assert best["verdict"] == "confirmed"
    assert best["final"]["estimate"] > report["baselines"]["half"]["final"]["combined"]["upper"]
    assert best["gates"]["near"]["verdict"] == "holds"
    fresh, without = best["others"]
    assert (fresh["name"], without["name"]) == ("fresh draw", "without slopes")
    assert fresh["gain"]["lower"] > 0
    assert without["score"] == best["final"], "its code reads no example"
    counted = {f["family"]: f["submissions"]["estimate"] for f in report["diversity"]["families"]}
    assert counted == {"a constant": 0, "a line": 0, "other": 16}
    assert report["diversity"]["bits"]["estimate"] == 0
    commands = (["ledger", "verify", "c"], ["reproduce", "c"], ["report", "c"])
    for command in (*commands, ["run", "--resume", "c"]):
        again = CliRunner().invoke(app, command)
        assert again.exit_code == 0, again.output
    assert "was confirmed earlier" in again.output
    reported = [row["receipt"] for row in report["told"]]
    apart = CliRunner().invoke(app, ["compare", "c", "--json", "r-000001", reported[-1]])
    feedback = json.loads(apart.output[apart.output.index("[") :])[0]
    assert feedback["difference"]["upper"] < 0, apart.output
    ledger = Ledger(tmp_path / "campaigns/c/server/ledger.sqlite", read_only=True)
    kinds = {e.kind for e in ledger.entries()}
    ledger.close()
    assert {"request", "outcome", "submission", "finding", "confirmation"} <= kinds


def test_a_folder_that_was_not_checked_as_it_is_now_is_said(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "shift")
    problem = read_problem(tmp_path / "shift")
    assert "was not checked as it is now: aar problem check" in unchecked(problem)
    card = {"digest": problem.digest, "refusals": []}
    problem.folder.card.write_text(json.dumps(card))
    assert unchecked(problem) is None
    problem.folder.card.write_text(json.dumps(card | {"refusals": ["a leak"]}))
    assert "was refused" in unchecked(problem)
    problem.folder.card.write_text(json.dumps(card | {"digest": "another"}))
    assert "was not checked" in unchecked(problem)
    assert unchecked(problem_of("speed")) is None


def test_predictions_mode_is_not_asked_of_such_problems(folder):
    assert as_code(Campaign(problem=str(folder))).mode == "code"
    assert as_code(Campaign()).mode == "predictions"


@pytest.mark.process
@pytest.mark.long
def test_an_evaluator_alone_serves_a_problems_folder(folder, tmp_path):
    """The command as a user of another harness starts it; a token, and code by HTTP."""
    env = os.environ | {"AAR_HOME": str(tmp_path), "COLUMNS": "300"}
    argv = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]
    server = subprocess.Popen(
        [*argv, "evaluator", str(folder)], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        said = ""
        while "count as" not in said:
            said += server.stdout.readline()
        url = re.search(r"evaluator: (\S+)", said)[1]
        place = re.search(r"--campaign (\S+)", said)[1]
        token = subprocess.run(
            [*argv, "token", "ann", "--campaign", place],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as ann:
            receipt = _handed_in(ann, GOOD)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert receipt["improved"]


def _handed_in(ann, source):
    code = {"files": {"method.py": source}, "family": "other"}
    snapshot = ann.post("/api/v1/code", json=code).json()["snapshot"]
    given = {"snapshot": snapshot, "family": "other"}
    ask = lambda: ann.post("/api/v1/requests", json=given).json().get("receipt")  # noqa: E731
    return waited_for(ask, 120, every_s=0.5)
