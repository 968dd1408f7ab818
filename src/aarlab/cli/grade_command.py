"""`aar grade`: the operator grades what others submit to a problem."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from aarlab.cli.detail import shows_progress
from aarlab.cli.path_type import path
from aarlab.cli.plain_console import PlainConsole
from aarlab.cli.problem_command import ProblemArgument, Sandbox
from aarlab.core.settings import home
from aarlab.core.standard_output import only_showing

console = PlainConsole()


@only_showing()
@shows_progress
def grade(
    problem: ProblemArgument,
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=path,
            help="predictions (JSON), folders, or code with submit (.py); to weak-to-strong "
            "problems answers by seed (.json, .npz, .csv)",
        ),
    ],
    *,
    split: Annotated[
        Literal["final", "feedback"], typer.Option(help="the split that they answer")
    ] = "final",
    data_seed: Annotated[int, typer.Option(help="seed that draws the data")] = 1,
    student: Annotated[
        str, typer.Option(help="of weak-to-strong problems: by whose anchors PGR goes")
    ] = "smollm2",
    sandbox: Sandbox = "bubblewrap",
) -> None:
    """Grade submissions to a problem, for its operator: exact scores with 95 % intervals, gates,
    and whose fault it is where there is no score. Exits with 1 if one has none."""
    from aarlab.problems import PROBLEMS

    weak_to_strong = problem.endswith((".jsonl", ".py")) or problem in PROBLEMS
    graded = _answers if weak_to_strong else _submissions
    if not graded(problem, files, split, data_seed, student if weak_to_strong else sandbox):
        raise typer.Exit(1)


def _answers(problem: str, files: list[Path], split: str, data_seed: int, student: str) -> bool:
    """Grade answers to a weak-to-strong problem; whether all have a score."""
    from aarlab.bench.answers_of_others import grade_answers, print_answers
    from aarlab.cli.show import Show
    from aarlab.testbeds import set_up
    from aarlab.testbeds.students import student_of

    show = Show(console)
    with show.steps():
        workers = len(os.sched_getaffinity(0))
        reader = student_of(student, home(), workers=workers, progress=show.say)
        bed = set_up.prepare(problem, data_seed, home=home(), student=reader, progress=show.say)
        rows = grade_answers(bed, files, split)
    print_answers(rows, f"{bed.folder.name}, {split}: exact scores, not for researchers", console)
    return all(row.score is not None for row in rows)


def _submissions(problem: str, files: list[Path], split: str, data_seed: int, sandbox: str) -> bool:
    """Grade submissions to a problem in a folder; whether all have a score."""
    from aarlab.bench.graded_files import grade_files, print_graded
    from aarlab.cli.show import Show
    from aarlab.problems.folder.shipped_folders import problem_of
    from aarlab.runs.prepared import prepare_in_secret
    from aarlab.sandbox import SANDBOXES

    found, chosen, show = problem_of(problem), SANDBOXES[sandbox], Show(console)
    chosen.require()
    with show.steps():
        show.say("data", 0, 1)
        prepared = prepare_in_secret(found, data_seed, home(), chosen)
        rows = grade_files(found, prepared, files, split, chosen, show.say)
    print_graded(found.contract, rows, console)
    return all(row.no_score is None for row in rows)
