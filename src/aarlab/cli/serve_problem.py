"""What `aar evaluator` does for a problem's folder beside serving: set-up, and running and grading
what is submitted."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.errors import Transient
from aarlab.core.settings import home
from aarlab.evaluation.code_requests import CODE_ONLY
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.folder_runs import FolderRuns
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs.served_folder import ServedFolder, serve_folder
from aarlab.sandbox.bubblewrap import Bubblewrap


def set_up(folder: Path, data_seed: int, console: Console) -> ServedFolder:
    """The problem of a folder, set up to be served.

    Raises:
        Misconfigured, CouldNotBeRun, Transient: see `serve_folder`.
    """
    Bubblewrap.require()
    show = Show(console)
    with show.steps():
        return serve_folder(read_problem(folder), data_seed, home(), Bubblewrap, show.say)


@contextmanager
def gradings(
    served: ServedFolder, campaign: Path, server: EvaluatorProcess, workers: int, console: Console
) -> Iterator[Callable[[], None]]:
    """What runs and grades the code that waits, a step at a time; what an operator must know of it
    is printed once."""
    said: set[str] = set()
    with closing(FolderRuns(served, campaign, Bubblewrap, workers=workers)) as runs:
        worker = CodeWorker(server, runs, at_once=runs.at_once)

        def step() -> None:
            try:
                _code_only(server)
                worker.step()
            except Transient as error:
                if str(error) not in said:
                    said.add(str(error))
                    console.print(str(error), markup=False)

        yield step
        worker.finish()


def _code_only(server: EvaluatorProcess) -> None:
    """Once: this campaign takes code."""
    if CODE_ONLY not in server.call("operator_campaign")["events"]:
        body = {"event": CODE_ONLY, "detail": None}
        server.call("add_entry", {"kind": "campaign", "who": "operator", "body": body})
