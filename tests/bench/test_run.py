"""A whole bench on the generated problems: resumable, redoable, honest about failures and about selection."""

import json
import subprocess
import sys
from contextlib import nullcontext

import pytest

from aarlab.bench.measure import Job, code_digest, measure
from aarlab.bench.run import command_of, run, run_controls, run_lora
from aarlab.bench.spec import Bench
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import validated
from aarlab.core.settings import Home

GENERATED = ("generated-chat", "generated-checks")
METHOD = "def run(task, seed):\n    return [{answer}] * len(task.test)\n"


class Silent:
    said: list

    def __init__(self):
        self.said = []

    def steps(self):
        return nullcontext()

    def say(self, what, done, of):
        self.said.append((what, done, of))


def spec(**given):
    defaults = {"tasks": GENERATED, "student": "double", "seeds": 3, "methods": ("naive", "critic")}
    return validated(Bench, defaults | given, "test")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("bench-home"))


@pytest.fixture(scope="module")
def made(where):
    return run(spec(), where, Silent())


def test_it_writes_tables_figures_and_what_is_needed_to_redo_it(made):
    report, folder = made
    assert {p.name for p in folder.iterdir()} >= {"bench.json", "bench.md", "forest.svg", "forest.png", "transfer.svg"}
    saved = json.loads((folder / "bench.json").read_text())
    assert saved["command"] == command_of(spec())
    assert saved["code"] == code_digest("naive")
    assert [t["task"] for t in saved["tables"]] == list(GENERATED)
    assert "data seed 0" in (folder / "bench.md").read_text()
    assert report.tables[0].weak.estimate < report.tables[0].ceiling.estimate


def test_cards_are_written_from_the_code_and_the_results(made):
    report, folder = made
    data, method = ((folder / "cards" / f"{name}.md").read_text() for name in ("data-generated-checks", "method-naive"))
    assert "never (transfer only)" in data
    assert "id, question, choice" in data
    assert "| final | ood | 150 | 75 |" in data
    assert "arXiv:2312.09390" in method
    assert f"{report.tables[0].rows[-1].pgr.estimate:.2f}" in method
    assert "def naive(task: Task, seed: int" in method


def test_the_double_has_no_weights_to_fine_tune(where):
    with pytest.raises(Misconfigured, match="Only the smollm2 student"):
        run_lora(spec(), 10, where, Silent())


def test_a_second_call_runs_nothing_again(made, where):
    show = Silent()
    again, _ = run(spec(), where, show)
    assert show.said[-1] == ("methods", 12, 12)
    assert again == made[0]


def test_what_was_answered_before_an_interruption_is_kept(bed, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(what, done, of):
        if done == 1:
            raise Interrupted

    jobs = [Job(bed, "final", "naive", seed) for seed in (1, 2, 3)]
    with pytest.raises(Interrupted):
        measure(jobs, tmp_path, workers=1, say=stop)
    kept = len(list(tmp_path.glob("*.npz")))
    assert kept >= 1
    show = Silent()
    found, failed = measure(jobs, tmp_path, workers=1, say=show.say)
    assert show.said[0] == ("methods", kept, 3)
    assert (len(found), failed) == (3, {})


def test_a_file_of_ones_own_is_a_method_and_its_failure_is_reported(where, tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(METHOD.format(answer=0.9))
    bad.write_text(METHOD.format(answer=2.0))
    report, _ = run(spec(methods=("naive", str(good), str(bad)), name="own"), where, Silent())
    assert {r.method for r in report.tables[0].rows} == {"naive", str(good)}
    assert len(report.failures) == 6
    assert "0..1" in report.failures[0]
    always = next(r for r in report.tables[0].rows if r.method == str(good))
    assert always.accuracy.estimate == pytest.approx(0.5, abs=0.01)  # labels are balanced


def test_one_method_alone_is_a_table_without_comparisons(where):
    report, _ = run(spec(methods=("critic",), name="one"), where, Silent())
    assert [len(t.rows) for t in report.tables] == [1, 1]
    assert report.tables[0].rows[0].against_naive is report.tables[0].rows[0].against_best is None
    assert report.transfer == ()


def test_where_no_method_answers_its_author_is_told_why(where, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(METHOD.format(answer=2.0))
    with pytest.raises(InvalidSubmission, match=r"No method answered every run of .*0..1"):
        run(spec(methods=(str(bad),), name="none"), where, Silent())


def test_a_changed_file_is_another_method(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("a")
    before = code_digest(str(path))
    code_digest.cache_clear()
    path.write_text("b")
    assert code_digest(str(path)) != before


def test_the_selection_seed_is_kept_apart():
    with pytest.raises(Misconfigured, match="nothing is reported on it"):
        spec(data_seeds=(0, 1))
    with pytest.raises(Misconfigured, match="data seed 0 alone"):
        spec(data_seeds=(1,), selection=True)
    assert spec(data_seeds=(0,), selection=True).selection


def test_unknown_names_are_refused_before_anything_runs(where):
    with pytest.raises(Misconfigured, match="no method named 'nave'"):
        run(spec(methods=("nave",)), where, Silent())
    with pytest.raises(Misconfigured, match="no problem named"):
        run(spec(tasks=("small-chatt",)), where, Silent())


def test_controls_notice_what_is_broken(where):
    rows, path = run_controls(spec(), where, Silent())
    seen = {(r.task, r.control): r for r in rows}
    assert seen["generated-chat", "flipped weak labels"].accuracy.upper < 0.5
    assert seen["generated-chat", "teacher = truth"].as_expected
    assert not seen["generated-checks", "text-only classifier on true labels"].as_expected  # the look-alike is readable
    assert json.loads(path.read_text())


def test_the_command_line_prints_the_tables(tmp_path):
    argv = [sys.executable, "-c", "from aarlab.cli.main import main; main()", "bench", "--student", "double", "--seeds", "2"]
    argv += ["--task", "generated-chat", "--method", "naive"]
    done = subprocess.run(argv, capture_output=True, text=True, env={"AAR_HOME": str(tmp_path)}, check=True)
    assert "bench: " in done.stdout
    refused = subprocess.run([*argv, "--data-seed", "0"], capture_output=True, text=True, env={"AAR_HOME": str(tmp_path)})
    assert refused.returncode == 2
    assert "nothing is reported on it" in refused.stderr
