"""Submissions to a problem in a folder, graded by its operator: levels, normalised and combined
scores, and gates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.bench.problem_card import measure_words
from aarlab.core.layout import PreparedFolder
from aarlab.core.printable import one_line
from aarlab.core.records import Measure
from aarlab.evaluation.scoring.unit_scores import Gate, Measured, Scale
from aarlab.problems.folder.folder_problem import Contract, FolderProblem
from aarlab.runs.grading import Fault, Grader, NotGraded, Refused, read_units
from aarlab.runs.trial_scores import (
    SEEDS,
    NoScore,
    Say,
    grade_trials,
    measure_code,
    measured_baselines,
)
from aarlab.sandbox.sandbox import MakeSandbox

CODE = ".py"  # a file with `submit`, as a baseline has it
NAME = 60  # characters of a file's name
WHOSE = {
    Refused: "refused, by its author to be changed",
    Fault: "fault of the problem's author",
    NotGraded: "no result, the machine ended it",
}


@dataclass(frozen=True)
class GradedFile:
    """What one submission scored, by objective; or why it has no score."""

    name: str
    no_score: NoScore | None = None
    levels: dict[str, Measure] = field(default_factory=dict)
    normalised: dict[str, Measure | None] = field(default_factory=dict)
    combined: Measure | None = None
    gates: dict[str, Gate] = field(default_factory=dict)


def grade_files(
    problem: FolderProblem,
    prepared: PreparedFolder,
    files: Sequence[Path],
    split: str,
    make_sandbox: MakeSandbox,
    say: Say,
) -> list[GradedFile]:
    """Every file graded, one with code after it was run on three seeds; floors and ceilings that
    are baselines are measured first.

    Raises:
        Misconfigured: such a baseline fails, by a fault of the problem's author.
        Transient: the machine ended a run of one.
    """
    grader = Grader(problem, prepared, make_sandbox)
    baselines = measured_baselines(grader, problem.contract.ends, split, make_sandbox, say)
    scale, rows = Scale(*problem.contract.aims, read_units(prepared, split), baselines), []
    for number, file in enumerate(files):
        say("submissions", number, len(files))
        outcome = (
            measure_code(grader, file, split, SEEDS, make_sandbox)
            if file.suffix == CODE
            else grade_trials(grader, file, split)
        )
        rows.append(
            _graded(str(file), outcome, scale, problem.contract)
            if isinstance(outcome, Measured)
            else GradedFile(str(file), no_score=outcome)
        )
    return rows


def _graded(name: str, measured: Measured, scale: Scale, contract: Contract) -> GradedFile:
    return GradedFile(
        name=name,
        levels={o.name: scale.level(measured, o) for o in contract.objectives},
        normalised={o.name: scale.normalised(measured, o) for o in contract.objectives},
        combined=scale.combined(measured),
        gates={o.name: scale.gate(measured, o) for o in contract.gates},
    )


def print_graded(contract: Contract, rows: Sequence[GradedFile], console: Console) -> None:
    """One table of all scores, and below it why a submission has none."""
    names = [o.name for o in contract.objectives]
    table = Table(box=None)
    for name in ("submission", *names, "normalised", "combined", "gates"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _cells(contract, row)))
    console.print(table)
    for row in rows:
        if row.no_score is not None:
            words = f"{one_line(row.name, NAME)}: {one_line(row.no_score.words, 2000)}"
            console.print(Text(words), soft_wrap=True)


def _cells(contract: Contract, row: GradedFile) -> list[str]:
    name = one_line(row.name, NAME)
    if row.no_score is not None:
        blank = ["-"] * len(contract.objectives)
        return [name, *blank, "-", "-", WHOSE[type(row.no_score)]]
    levels = [measure_words(row.levels[o.name]) for o in contract.objectives]
    scores = "; ".join(_two(row.normalised[o.name]) for o in contract.climbed)
    gates = "; ".join(f"{name}: {_gate_words(gate)}" for name, gate in row.gates.items())
    return [name, *levels, scores, _two(row.combined), gates or "none"]


def _gate_words(gate: Gate) -> str:
    return f"{gate.verdict}, worse by {measure_words(gate.worse)}, margin {gate.margin:g}"


def _two(found: Measure | None) -> str:
    if found is None:
        return "no ceiling above the floor"
    return f"{found.estimate:.2f} [{found.lower:.2f}, {found.upper:.2f}]"
