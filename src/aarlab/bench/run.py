"""A bench from its specification to its folder: testbeds, answers, tables, figures. Each step is
kept and not repeated."""

import contextlib
import json
import platform
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from aarlab.bench.bench_record import BenchReport, ControlRow
from aarlab.bench.cards import write_cards
from aarlab.bench.controls import control_rows, random_student_row
from aarlab.bench.figures import draw
from aarlab.bench.measure import Answered, Key, files_of, measure
from aarlab.bench.render import markdown
from aarlab.bench.spec import Bench
from aarlab.bench.table import TaskResult, transfer, truth_of
from aarlab.core.crossed import note_few_seeds
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.intervals import gap_measure
from aarlab.core.layout import BenchFolder
from aarlab.core.own_code import CodeRecord, code_of, recorded, this_build
from aarlab.core.pgr import gap_trouble
from aarlab.core.records import SplitName
from aarlab.core.settings import Home
from aarlab.methods.library import METHODS
from aarlab.models.preset import FROZEN
from aarlab.problems import PROBLEMS
from aarlab.problems.problem import SELECTION_SEED, require_items
from aarlab.runs.engine import METHOD_FILE, LocalEngine, code_of_run
from aarlab.runs.placing import engine_by
from aarlab.sandbox import SANDBOXES
from aarlab.sandbox.sandbox import MakeSandbox
from aarlab.testbeds import student
from aarlab.testbeds.set_up import REGISTRIES, prepare
from aarlab.testbeds.students import student_of
from aarlab.testbeds.testbed import Testbed

# researchers hill-climb on feedback; a bench is the operator's and looks at the other one
SPLIT: SplitName = "final"
RANKED = 3  # methods that a rank correlation takes
Say = Callable[[str, int, int], None]


class BenchDisplay(Protocol):
    """What shows progress."""

    def steps(self) -> AbstractContextManager[object]: ...

    def say(self, what: str, done: int, of: int) -> None: ...

    def line(self, text: str, *, head: str = "") -> None: ...


def run_controls(spec: Bench, home: Home, show: BenchDisplay) -> tuple[list[ControlRow], Path]:
    """Every control on every task of the spec; returns the rows and the file that holds them
    (controls.json).

    Raises:
        Misconfigured, Transient: set-up could not be done, or the student is fine-tuned.
    """
    if spec.student not in FROZEN:
        raise Misconfigured(
            f"Controls are of frozen students: {', '.join(FROZEN)}. {spec.student} is fine-tuned."
        )
    rows: list[ControlRow] = []
    with show.steps():
        for task, beds in prepare_all(spec, home, show.say, None).items():
            show.say(f"{task}: controls", 0, 1)
            rows += control_rows(task, beds, spec.run_seeds)
        if spec.student == "smollm2":
            drawn = student.smollm2(home, spec.workers, random_weights=True)
            for task, beds in prepare_all(spec, home, show.say, drawn).items():
                rows.append(
                    random_student_row(task, prepare_all(spec, home, show.say, None)[task], beds)
                )
    return rows, _leave(BenchFolder(home.benches / spec.name), rows)


def run(spec: Bench, home: Home, show: BenchDisplay) -> tuple[BenchReport, Path]:
    """Measure what is not measured yet; returns the report and its folder (bench.json, bench.md,
    figures).

    Raises:
        Misconfigured, Transient: a task or method is unknown, or set-up could not be done; what was
            measured is kept.
    """
    # kept from now on: files that change while this process runs are not what it measures by
    this_build()
    methods = spec.methods or tuple(sorted(METHODS))
    for name in methods:
        files_of(name)  # an unknown name is refused before hours are spent
    sandbox = SANDBOXES[spec.sandbox]
    sandbox.require()
    with (
        show.steps(),
        contextlib.closing(
            student_of(spec.student, home, workers=spec.workers, progress=show.say)
        ) as reader,
    ):
        beds = prepare_all(spec, home, show.say, reader)
        _say_gaps(beds, show)
        make_engine = partial(_engine, spec, home, sandbox, reader, show)
        every = [bed for some in beds.values() for bed in some]
        found, failed = measure(
            every, methods, SPLIT, spec.run_seeds, make_engine=make_engine, say=show.say
        )
    failures = tuple(
        f"{method} on {bed.folder.name}: {why}" for (bed, method), why in failed.items()
    )
    results = {task: _result(task, some, methods, found) for task, some in beds.items()}
    if empty := [task for task, (result, _) in results.items() if not result.correct]:
        raise InvalidSubmission(
            f"No method answered every run of {', '.join(empty)}. {failures[0]}"
        )
    folder = home.benches / spec.name
    code = code_of_run(every[0], {name: files_of(name)[METHOD_FILE] for name in methods})
    report = _report(spec, results, failures, folder, reader.description, code)
    _write(report, folder)
    write_cards(report, beds, BenchFolder(folder).cards)
    return report, folder


def _engine(
    spec: Bench,
    home: Home,
    sandbox: MakeSandbox,
    reader: student.Student,
    show: BenchDisplay,
    bed: Testbed,
) -> LocalEngine:
    """Runs of a testbed, cached under AAR_HOME/runs with those of campaigns."""
    return LocalEngine(
        bed,
        home.runs,
        sandbox,
        workers=spec.workers,
        timeout_s=spec.run_timeout_s,
        student=reader,
        engine=engine_by(spec, home, lambda words: show.line(f"  cluster: {words}")),
    )


def _leave(folder: BenchFolder, rows: Sequence[ControlRow]) -> Path:
    """Write what `aar controls` found, for `aar bench` under the same name, and by which code; its
    path."""
    folder.root.mkdir(parents=True, exist_ok=True)
    folder.controls.write_text(json.dumps([r.model_dump(mode="json") for r in rows], indent=1))
    folder.controls_code.write_text(code_of_controls().model_dump_json())
    return folder.controls


def _kept(folder: BenchFolder) -> tuple[tuple[ControlRow, ...], str | None]:
    """The rows that `aar controls` left under the same name, if it was run; none that other code
    found, and then what to do."""
    if not folder.controls.exists():
        return (), None
    if why := code_of_controls().since(recorded(folder.controls_code)):
        return (
            (),
            f"`aar controls` was run by other code ({why}): its rows are left out. Run it again.",
        )
    return tuple(
        ControlRow.model_validate_json(json.dumps(row))
        for row in json.loads(folder.controls.read_text())
    ), None


def code_of_controls() -> CodeRecord:
    """What decides the rows of controls.json: the controls, and what set up their testbeds."""
    return code_of("aarlab.bench.controls", "aarlab.testbeds.set_up", alone=REGISTRIES)


def _require_tasks(spec: Bench) -> None:
    """Raises Misconfigured before anything is read where a task is unknown or broken, or its items
    would be counted twice."""
    for task in spec.tasks:
        require_items(PROBLEMS[task])
        if PROBLEMS[task].fixed and len(spec.data_seeds) > 1:
            seeds = ", ".join(map(str, spec.data_seeds))
            raise Misconfigured(
                f"{task} has the same items for every data seed, and {seeds} would count them "
                "more than once. Give one."
            )


def _say_gaps(beds: dict[str, list[Testbed]], show: BenchDisplay) -> None:
    """Say which tasks leave no gap, before their methods run: their table has accuracies, and no
    PGR to read."""
    for task, some in beds.items():
        truth = truth_of(some, SPLIT)
        if trouble := gap_trouble(gap_measure(**truth.anchors, units_M=truth.units_M), SPLIT):
            show.line(f"  {PROBLEMS[task].name}: {trouble}")


def prepare_all(
    spec: Bench, home: Home, say: Say, reader: student.Student | None
) -> dict[str, list[Testbed]]:
    """Task -> its testbeds, one a data seed, read by the spec's student or by another."""
    _require_tasks(spec)
    reader = reader or student_of(spec.student, home, workers=spec.workers, progress=say)

    def one(task: str, data_seed: int) -> Testbed:
        def of_task(what: str, done: int, of: int) -> None:
            say(f"{PROBLEMS[task].name}: {what}", done, of)

        return prepare(task, data_seed, home=home, student=reader, progress=of_task)

    return {task: [one(task, data_seed) for data_seed in spec.data_seeds] for task in spec.tasks}


def _result(
    task: str,
    beds: Sequence[Testbed],
    methods: Sequence[str],
    found: dict[Key, Answered],
) -> tuple[TaskResult, dict[str, list[float]]]:
    """Answers of one task, its data seeds side by side; a method that failed on any run is left out
    (and reported)."""
    answers, seconds = {}, {}
    for name in methods:
        runs = [found[bed, name] for bed in beds if (bed, name) in found]
        if len(runs) == len(beds):
            answers[name] = np.concatenate([run.answers_SM for run in runs], axis=1)
            seconds[name] = [run.seconds for run in runs]
    return TaskResult(task, SPLIT, beds, truth_of(beds, SPLIT), answers), seconds


def _report(
    spec: Bench,
    results: dict[str, tuple[TaskResult, dict[str, list[float]]]],
    failures: tuple[str, ...],
    folder: Path,
    student: str,
    code: CodeRecord,
) -> BenchReport:
    first, _ = next(iter(results.values()))
    controls, note = _kept(BenchFolder(folder))
    anchor_seeds = len(first.truth.weak_SM)
    few = note_few_seeds({"methods": spec.seeds, "anchors": anchor_seeds})
    pairs = [(a, b) for a, _ in results.values() for b, _ in results.values() if a.task != b.task]
    return BenchReport(
        spec=spec.model_dump(mode="json"),
        student=student,
        anchor_seeds=anchor_seeds,
        command=command_of(spec),
        versions=code.libraries
        | {"python": platform.python_version(), "aarlab": this_build().version},
        code=code.digest,
        build=this_build(),
        selection_seed=SELECTION_SEED,
        tables=tuple(result.table(seconds) for result, seconds in results.values()),
        transfer=tuple(transfer(a, b) for a, b in pairs if _ranked(a, b)),
        controls=controls,
        notes=(*([note] if note else []), *few),
        failures=failures,
    )


def _ranked(a: TaskResult, b: TaskResult) -> bool:
    """Whether one's ranking can be compared with the other's."""
    return (
        len(a.correct) >= RANKED
        and a.correct.keys() == b.correct.keys()
        and a.has_gap
        and b.has_gap
    )


def command_of(spec: Bench) -> str:
    """The command line that measures this again."""
    words = [
        "aar",
        "bench",
        "--name",
        spec.name,
        "--seeds",
        str(spec.seeds),
        "--student",
        spec.student,
    ]
    for flag, values in (
        ("--task", spec.tasks),
        ("--method", spec.methods),
        ("--data-seed", spec.data_seeds),
    ):
        words += [word for value in values for word in (flag, str(value))]
    words += [] if spec.sandbox == "bubblewrap" else ["--sandbox", spec.sandbox]
    words += [] if spec.run_timeout_s is None else ["--run-timeout-s", f"{spec.run_timeout_s:g}"]
    words += [] if spec.engine == "local" else ["--engine", spec.engine]
    if options := spec.slurm.model_dump(mode="json", exclude_defaults=True):
        words += ["--slurm", json.dumps(options)]
    return shlex.join([*words, *(["--selection"] if spec.selection else [])])


def _write(report: BenchReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    BenchFolder(folder).record.write_text(report.model_dump_json(indent=1))
    BenchFolder(folder).markdown.write_text(markdown(report))
    draw(report, folder)
