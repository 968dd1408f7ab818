"""A bench from its specification to its folder: testbeds, answers, tables, figures. Each step is kept and not repeated."""

import contextlib
import json
import platform
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from aarlab.bench.cards import write_cards
from aarlab.bench.controls import control_rows, random_student_row
from aarlab.bench.figures import draw
from aarlab.bench.lora import LoraRun, lora_row
from aarlab.bench.measure import Answered, Job, code_digest, measure, runner
from aarlab.bench.record import BenchReport, ControlRow, LoraRow
from aarlab.bench.render import markdown
from aarlab.bench.spec import Bench
from aarlab.bench.table import TaskResult, transfer, truth_of
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import R, SplitName
from aarlab.core.settings import Home
from aarlab.methods.library import METHODS
from aarlab.models.preset import FROZEN
from aarlab.problems import PROBLEMS
from aarlab.problems.problem import SELECTION_SEED
from aarlab.runs import student
from aarlab.runs.students import student_of
from aarlab.runs.testbed import Testbed, prepare

SPLIT: SplitName = "final"  # researchers hill-climb on feedback; a bench is the operator's and looks at the other one
RANKED = 3  # methods that a rank correlation takes
VERSIONED = ("aarlab", "numpy", "scipy", "torch", "transformers")
Say = Callable[[str, int, int], None]


class Display(Protocol):
    """What shows progress."""

    def steps(self) -> AbstractContextManager[object]: ...

    def say(self, what: str, done: int, of: int) -> None: ...


def run_controls(spec: Bench, home: Home, show: Display) -> tuple[list[ControlRow], Path]:
    """Every control on every task of the spec; returns the rows and the file that holds them (controls.json).

    Raises:
        Misconfigured, Transient: set-up could not be done, or the student is fine-tuned.
    """
    if spec.student not in FROZEN:
        raise Misconfigured(f"Controls are of frozen students: {', '.join(FROZEN)}. {spec.student} is fine-tuned.")
    rows: list[ControlRow] = []
    with show.steps():
        for task, beds in prepare_all(spec, home, show.say, None).items():
            show.say(f"{task}: controls", 0, 1)
            rows += control_rows(task, beds, spec.run_seeds)
        if spec.student == "smollm2":
            drawn = student.smollm2(home, spec.workers, random_weights=True)
            for task, beds in prepare_all(spec, home, show.say, drawn).items():
                rows.append(random_student_row(task, prepare_all(spec, home, show.say, None)[task], beds))
    folder = home.root / "benches" / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "controls.json").write_text(json.dumps([r.model_dump(mode="json") for r in rows], indent=1))
    return rows, folder / "controls.json"


def run_lora(spec: Bench, items: int, home: Home, show: Display) -> tuple[list[LoraRow], Path]:
    """Fine-tuning on weak and on true labels for every task of the spec; returns the rows and their file (lora.json).

    Raises:
        Misconfigured, Transient: set-up could not be done, or the student has no weights.
    """
    folder = home.root / "benches" / spec.name
    rows: list[LoraRow] = []
    with show.steps():
        for task, (bed, *_) in prepare_all(spec, home, show.say, None).items():
            for labels in ("weak", "truth"):
                runs = [LoraRun(bed, labels, seed, items) for seed in spec.run_seeds]
                rows.append(lora_row(task, runs, cache=home.cache, store=home.root / "bench-answers", say=show.say))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lora.json").write_text(json.dumps([r.model_dump(mode="json") for r in rows], indent=1))
    return rows, folder / "lora.json"


def run(spec: Bench, home: Home, show: Display) -> tuple[BenchReport, Path]:
    """Measure what is not measured yet; returns the report and its folder (bench.json, bench.md, figures).

    Raises:
        Misconfigured, Transient: a task or method is unknown, or set-up could not be done; what was measured is kept.
    """
    methods = spec.methods or tuple(sorted(METHODS))
    for name in methods:
        runner(name)  # an unknown name is refused before hours are spent
    with show.steps(), contextlib.closing(student_of(spec.student, home, workers=spec.workers, say=show.say)) as reader:
        beds = prepare_all(spec, home, show.say, reader)
        jobs = [
            Job(bed, SPLIT, name, seed) for some in beds.values() for bed in some for name in methods for seed in spec.run_seeds
        ]
        store = home.root / "bench-answers"
        found, failed = measure(jobs, store, workers=spec.workers, say=show.say, open_door=reader.open_door)
    failures = tuple(f"{j.method}, seed {j.seed}: {why}" for j, why in failed.items())
    results = {task: _result(spec, task, some, methods, found) for task, some in beds.items()}
    if empty := [task for task, (result, _) in results.items() if not result.correct]:
        raise InvalidSubmission(f"No method answered every run of {', '.join(empty)}. {failures[0]}")
    folder = home.root / "benches" / spec.name
    report = _report(spec, results, failures, folder, reader.words)
    _write(report, folder)
    write_cards(report, beds, folder / "cards")
    return report, folder


def _kept(path: Path, kind: type[R]) -> tuple[R, ...]:
    """The rows that `aar controls` or `aar lora` left under the same name, if it was run."""
    return tuple(kind.model_validate_json(json.dumps(row)) for row in json.loads(path.read_text())) if path.exists() else ()


def prepare_all(spec: Bench, home: Home, say: Say, reader: student.Student | None) -> dict[str, list[Testbed]]:
    """Task -> its testbeds, one a data seed, read by the spec's student or by another."""
    reader = reader or student_of(spec.student, home, workers=spec.workers, say=say)

    def one(task: str, data_seed: int) -> Testbed:
        def of_task(what: str, done: int, of: int) -> None:
            say(f"{PROBLEMS[task].name}: {what}", done, of)

        return prepare(task, data_seed, home=home, student=reader, say=of_task)

    return {task: [one(task, data_seed) for data_seed in spec.data_seeds] for task in spec.tasks}


def _result(
    spec: Bench, task: str, beds: Sequence[Testbed], methods: Sequence[str], found: dict[Job, Answered]
) -> tuple[TaskResult, dict[str, list[float]]]:
    """Answers of one task, its data seeds side by side; a method that failed on any run is left out (and reported)."""
    answers, seconds = {}, {}
    for name in methods:
        runs = [[found.get(Job(bed, SPLIT, name, seed)) for seed in spec.run_seeds] for bed in beds]
        if all(all(row) for row in runs):
            answers[name] = np.concatenate([np.stack([a.answers_M for a in row if a]) for row in runs], axis=1)
            seconds[name] = [a.seconds for row in runs for a in row if a]
    return TaskResult(task, SPLIT, beds, truth_of(beds, SPLIT), answers, seeds=spec.seeds), seconds


def _report(
    spec: Bench,
    results: dict[str, tuple[TaskResult, dict[str, list[float]]]],
    failures: tuple[str, ...],
    folder: Path,
    student: str,
) -> BenchReport:
    first, _ = next(iter(results.values()))
    pairs = [(a, b) for a, _ in results.values() for b, _ in results.values() if a.task != b.task]
    return BenchReport(
        spec=spec.model_dump(mode="json"),
        student=student,
        anchor_seeds=len(first.truth.weak_SM),
        command=command_of(spec),
        versions={"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
        code=code_digest("naive"),
        selection_seed=SELECTION_SEED,
        tables=tuple(result.table(seconds) for result, seconds in results.values()),
        transfer=tuple(transfer(a, b) for a, b in pairs if len(a.correct) >= RANKED and a.correct.keys() == b.correct.keys()),
        controls=_kept(folder / "controls.json", ControlRow),
        lora=_kept(folder / "lora.json", LoraRow),
        failures=failures,
    )


def command_of(spec: Bench) -> str:
    """The command line that measures this again."""
    words = ["aar", "bench", "--name", spec.name, "--seeds", str(spec.seeds), "--student", spec.student]
    for flag, values in (("--task", spec.tasks), ("--method", spec.methods), ("--data-seed", spec.data_seeds)):
        words += [word for value in values for word in (flag, str(value))]
    return shlex.join([*words, *(["--selection"] if spec.selection else [])])


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return "not installed"


def _write(report: BenchReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(report.model_dump_json(indent=1))
    (folder / "bench.md").write_text(markdown(report))
    draw(report, folder)
