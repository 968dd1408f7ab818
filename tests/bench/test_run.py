"""A whole bench on the generated problems: resumable, redoable, honest about failures and about
selection."""

import json
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest

from aarlab.bench.bench_record import BenchReport
from aarlab.bench.controls import task_of
from aarlab.bench.measure import files_of, measure
from aarlab.bench.run import command_of, run, run_controls
from aarlab.bench.spec import Bench
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.own_code import this_build
from aarlab.core.records import validated
from aarlab.core.settings import Home
from aarlab.core.snapshot import snapshot_hash
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.fleet.measure_baselines import load_baselines
from aarlab.methods.baselines import BASELINES
from aarlab.methods.library import METHODS
from aarlab.runs.engine import LocalEngine, code_of_run
from aarlab.sandbox import Bubblewrap
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import COUNTING

pytestmark = pytest.mark.process

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = ("generated-chat", "generated-checks")
METHOD = "def run(task, seed):\n    return [{answer}] * len(task.test)\n"


class Silent:
    said: list

    def __init__(self):
        self.said, self.lines = [], []

    def steps(self):
        return nullcontext()

    def say(self, what, done, of):
        self.said.append((what, done, of))

    def line(self, text, *, head=""):
        self.lines.append(text)


def spec(**given):
    defaults = {"tasks": GENERATED, "student": "double", "seeds": 3, "methods": ("naive", "critic")}
    return validated(Bench, defaults | given, "test")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("bench-home"))


@pytest.fixture(scope="module")
def made(where):
    return run(spec(), where, Silent())


def test_it_writes_tables_figures_and_what_is_needed_to_redo_it(made, where):
    report, folder = made
    assert {p.name for p in folder.iterdir()} >= {
        "bench.json",
        "bench.md",
        "forest.svg",
        "forest.png",
        "transfer.svg",
    }
    saved = json.loads((folder / "bench.json").read_text())
    assert saved["command"] == command_of(spec())
    bed = prepare("generated-chat", 1, home=where, student=COUNTING, progress=Silent().say)
    both = {name: files_of(name)["method.py"] for name in ("naive", "critic")}
    assert saved["code"] == code_of_run(bed, both).digest
    assert saved["build"]["source"] == this_build().source
    assert this_build().source[:12] in (folder / "bench.md").read_text()
    assert [t["task"] for t in saved["tables"]] == list(GENERATED)
    assert "data seed 0" in (folder / "bench.md").read_text()
    assert report.tables[0].weak.estimate < report.tables[0].ceiling.estimate


def test_cards_are_written_from_the_code_and_the_results(made):
    report, folder = made
    data, method = (
        (folder / "cards" / f"{name}.md").read_text()
        for name in ("data-generated-checks", "method-naive")
    )
    assert "never (transfer only)" in data
    assert "id, question, choice" in data
    assert "| final | ood | 150 | 75 |" in data
    assert "arXiv:2312.09390" in method
    assert f"{report.tables[0].rows[-1].pgr.estimate:.2f}" in method
    assert "def naive(task: Task, seed: int" in method


def test_a_report_of_version_0_1_0_loads_with_its_fine_tuned_rows():
    """The bench in docs/ was measured with `aar lora`, which was removed since."""
    found = BenchReport.model_validate_json((DOCS / "bench" / "bench.json").read_text())
    assert found.schema_version == 1
    assert [(row["labels"], row["items"]) for row in found.lora] == [("weak", 320), ("truth", 320)]
    assert "lora" not in found.model_dump()


def test_a_second_call_runs_nothing_again(made, where):
    def kept():
        return {
            path: path.stat().st_mtime_ns for path in (where.root / "runs").glob("*/answers.json")
        }

    before, show = kept(), Silent()
    again, _ = run(spec(), where, show)
    assert show.said[-1] == ("methods", 4, 4)
    assert again == made[0]
    assert kept() == before
    assert len(before) == 4, "two methods on two problems, each one run of all seeds"


@pytest.mark.long
def test_finished_runs_of_an_interrupted_bench_are_kept(bed, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(what, done, of):
        raise Interrupted

    def engine(bed):
        return LocalEngine(bed, tmp_path, Bubblewrap, workers=1)

    def kept():
        return {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/answers.json")}

    methods = ("naive", "critic", "zero-shot", "confident")
    with pytest.raises(Interrupted):
        measure([bed], methods, "final", (1, 2), make_engine=engine, say=stop)
    before = kept()
    assert 1 <= len(before) < 4, "what had not begun was dropped"
    show = Silent()
    found, failed = measure([bed], methods, "final", (1, 2), make_engine=engine, say=show.say)
    assert show.said == [("methods", done, 4) for done in (1, 2, 3, 4)]
    assert (len(found), failed) == (4, {})
    assert before.items() <= kept().items()


def test_baselines_that_a_campaign_has_run_are_not_run_again(bed, home):
    """`bed` has its baselines measured, as a campaign does it."""
    before = {path.name for path in home.runs.iterdir()}
    engine = LocalEngine(bed, home.runs, Bubblewrap, workers=1)
    seeds = spec(seeds=5).run_seeds
    found, _ = measure(
        [bed], BASELINES, "final", seeds, make_engine=lambda bed: engine, say=Silent().say
    )
    assert {path.name for path in home.runs.iterdir()} == before
    truth_M = np.array(
        [label == 1 for _, label in sorted(load_answers(bed.folder)["final"].items())]
    )
    for name in BASELINES:
        assert np.array_equal(
            found[bed, name].answers_SM == truth_M, load_baselines(bed)[f"final/{name}"]
        )


def test_a_method_in_its_sandbox_answers_as_it_does_in_this_process(bed, tmp_path):
    made = LocalEngine(bed, tmp_path, Bubblewrap, workers=1)
    found, _ = measure(
        [bed], ["critic"], "final", (3, 4), make_engine=lambda bed: made, say=Silent().say
    )
    for row, seed in enumerate((3, 4)):
        task = task_of(bed, "final", seed)
        probs_M = METHODS["critic"].run(task, seed)
        here = [probs_M[task.test.ids.index(i)] > 0.5 for i in sorted(task.test.ids)]
        assert found[bed, "critic"].answers_SM[row].tolist() == here


def test_the_limits_of_a_run_are_in_the_command_and_two_minutes_if_not_given(bed, tmp_path):
    assert command_of(spec(run_timeout_s=8.0, sandbox="directory")).endswith(
        "--sandbox directory --run-timeout-s 8"
    )
    assert "--run-timeout-s" not in command_of(spec())
    with closing(LocalEngine(bed, tmp_path, Bubblewrap, workers=1)) as engine:
        assert engine.limits.timeout_s == 120


def test_a_file_of_ones_own_is_a_method_and_its_failure_is_reported(where, tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(METHOD.format(answer=0.9))
    bad.write_text(METHOD.format(answer=2.0))
    report, _ = run(spec(methods=("naive", str(good), str(bad)), name="own"), where, Silent())
    assert {r.method for r in report.tables[0].rows} == {"naive", str(good)}
    assert len(report.failures) == 2, "one on each problem"
    assert "0..1" in report.failures[0]
    always = next(r for r in report.tables[0].rows if r.method == str(good))
    assert always.accuracy.estimate == pytest.approx(0.5, abs=0.01)  # labels are balanced


def test_one_method_alone_is_a_table_without_comparisons(where):
    report, _ = run(spec(methods=("critic",), name="one"), where, Silent())
    assert [len(t.rows) for t in report.tables] == [1, 1]
    assert report.notes == ()
    assert report.tables[0].rows[0].against_naive is report.tables[0].rows[0].against_best is None
    assert report.transfer == ()


def test_where_no_method_answers_its_author_is_reported_why(where, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(METHOD.format(answer=2.0))
    with pytest.raises(InvalidSubmission, match=r"No method answered every run of .*0..1"):
        run(spec(methods=(str(bad),), name="none"), where, Silent())


def test_a_changed_file_is_another_method(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("a")
    before = snapshot_hash(files_of(str(path)))
    path.write_text("b")
    assert snapshot_hash(files_of(str(path))) != before


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
    # the look-alike is readable
    assert not seen["generated-checks", "text-only classifier on true labels"].as_expected
    assert json.loads(path.read_text())


@pytest.mark.long
def test_the_command_line_prints_the_tables(tmp_path):
    argv = [
        sys.executable,
        "-c",
        "from aarlab.cli.main import main; main()",
        "bench",
        "--student",
        "double",
        "--seeds",
        "2",
    ]
    argv += ["--task", "generated-chat", "--method", "naive"]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"AAR_HOME": str(tmp_path)}, check=True
    )
    assert "bench: " in done.stdout
    refused = subprocess.run(
        [*argv, "--data-seed", "0"], capture_output=True, text=True, env={"AAR_HOME": str(tmp_path)}
    )
    assert refused.returncode == 2
    assert "nothing is reported on it" in refused.stderr


def own_items(path, *, reported, sizes=(40, 60, 2, 30)):
    """Single choices in which a word tells the label, or nothing does; all in distribution."""
    lines = [
        {
            "question": f"{s} {n}?",
            "choice": f"w{n} {('bad6', 'good6')[n % 2] if reported else 'goods'} {s}",
            "label": n % 2,
            "split": s,
        }
        for s, k in zip(("teacher", "student", "feedback", "final"), sizes, strict=True)
        for n in range(k)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def test_own_items_without_a_second_part_are_a_table_that_says_so(tmp_path):
    made, folder = run(
        spec(tasks=(own_items(tmp_path / "mine.jsonl", reported=True),)),
        Home(tmp_path / "home"),
        Silent(),
    )
    row = made.tables[0].rows[0]
    assert row.accuracy_ood is row.pgr_ood is None
    assert row.accuracy_id.estimate == row.accuracy.estimate
    assert "no items" in (folder / "bench.md").read_text()


@pytest.mark.long
def test_own_items_without_a_gap_are_reported_first_as_accuracies(tmp_path):
    show = Silent()
    path = own_items(tmp_path / "mine.jsonl", reported=False, sizes=(8, 12, 2, 8))
    made, folder = run(
        spec(tasks=(path,), methods=("naive", "critic", "overlap-density")),
        Home(tmp_path / "home"),
        show,
    )
    assert "mine: On the 8 items of `final`" in show.lines[0]
    assert made.tables[0].trouble
    assert made.failures == ()
    text = (folder / "bench.md").read_text()
    assert "says nothing" in text
    assert "nan" not in text


def test_items_that_no_data_seed_changes_are_not_counted_twice(tmp_path, where):
    with pytest.raises(Misconfigured, match="would count them more than once"):
        run(
            spec(tasks=(own_items(tmp_path / "mine.jsonl", reported=True),), data_seeds=(1, 2)),
            where,
            Silent(),
        )


def test_a_method_that_raises_anything_costs_the_others_nothing(where, tmp_path):
    (tmp_path / "bad.py").write_text("def run(task, seed):\n    return [][seed]\n")
    made, _ = run(spec(methods=("naive", str(tmp_path / "bad.py")), name="raises"), where, Silent())
    assert "IndexError: list index out of range" in made.failures[0]
    assert [r.method for r in made.tables[0].rows] == ["naive"]
