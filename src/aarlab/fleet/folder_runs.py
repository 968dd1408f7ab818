"""Code mode of a problem in a folder: what a snapshot submits on its issued seeds is made in one
sandbox and graded in another; the unit scores go to the evaluator alone."""

import contextlib
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from traceback import format_exc

import numpy as np

from aarlab.core.errors import AarError
from aarlab.core.files import OWNER_ONLY
from aarlab.core.layout import CampaignFolder, GradingsFolder
from aarlab.core.snapshot import Files
from aarlab.evaluation.scoring.graded_units import GradedUnits, write_grading
from aarlab.fleet.code_mode import LOG_CHARACTERS, Outcome
from aarlab.models.device_meter import OPERATOR
from aarlab.runs.engine_contract import Engine
from aarlab.runs.grading import Fault, Grader, NotGraded, Refused, read_units
from aarlab.runs.served_folder import ServedFolder
from aarlab.runs.trial_scores import GradedSubmissions, Submissions, submissions
from aarlab.sandbox.endable import Endable
from aarlab.sandbox.sandbox import MakeSandbox

# whether a grader that has the secrets fails, or is ended by the machine (its memory is spent on
# some secrets, its time on a machine that others keep busy), can depend on them: so many of each in
# a campaign are free of the meter, and what ends so later is answered by it as a score of 0
FREE_FAULTS, FREE_ENDED = 3, 20
NO_RESULT = (
    "It was not graded, by no fault of your code, and nothing was charged. Ask for it again with "
    "submit_code: the seeds stay the same."
)
ENDED: Outcome = {"failure": "ended by the machine", "log": NO_RESULT}
FORESEEN = (AarError, OSError, subprocess.SubprocessError)


class FolderRuns:
    """See `code_mode.Runs`. `folder`: the campaign's. A grading that is timed or repeated runs
    alone, so that no other run disturbs it."""

    unfit = "The grader's result is not that of this problem's units. The operator must act."

    def __init__(
        self,
        served: ServedFolder,
        folder: Path,
        make_sandbox: MakeSandbox,
        *,
        workers: int,
        engine: Engine | None = None,
    ) -> None:
        self._make_sandbox, self._engine = Endable(make_sandbox), engine
        self._grader = Grader(served.problem, served.prepared, self._make_sandbox, engine)
        self._gradings = GradingsFolder(CampaignFolder(folder).server.gradings)
        self._noting = threading.Lock()  # several gradings at once are no more free of the meter
        self.at_once = 1 if served.problem.contract.trials > 1 else workers
        self.pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="gradings")

    def outcome(
        self, ticket: str, files: Files, seeds: tuple[int, ...], who: str = OPERATOR
    ) -> Outcome:
        """What became of a snapshot. What goes to its author comes of runs and checks that see no
        secret: whatever a grader that sees some ended with is the operator's alone."""
        del who  # it is given no device
        with contextlib.ExitStack() as kept:
            try:
                making = submissions(self._grader, files, "feedback", seeds, self._make_sandbox)
                made = kept.enter_context(making)
            except FORESEEN:
                raise
            except Exception:  # noqa: BLE001 - it is passed on to the operator
                made = _unforeseen()
            if isinstance(made, Submissions):
                return self._graded(ticket, made, seeds)
        if isinstance(made, Refused):
            return {"failure": made.failure, "log": made.words[-LOG_CHARACTERS:]}
        if isinstance(made, NotGraded):
            return dict(ENDED)
        return ENDED | {"fault": self._noted(ticket, made, secret=False)}

    def _graded(self, ticket: str, made: Submissions, seeds: tuple[int, ...]) -> Outcome:
        """What became of submissions that can be graded. Where their grading ends without a score,
        their question is the same as with one: the report that they are repeated must not say that
        it ended."""
        try:
            found = made.graded()
        except FORESEEN:
            raise
        except Exception:  # noqa: BLE001 - it is passed on to the operator
            found = _unforeseen()
        if isinstance(found, GradedSubmissions):
            graded = GradedUnits("feedback", seeds, found.submitted, found.measured.scores)
            return {"graded": write_grading(self._gradings.of(ticket), graded)}
        free = FREE_FAULTS if isinstance(found, Fault) else FREE_ENDED
        with self._noting:
            before, words = self._before(found), self._noted(ticket, found, secret=True)
        if before < free:
            return ENDED | ({"fault": words} if isinstance(found, Fault) else {})
        nothing = self._nothing(made.submitted, seeds)
        return {"graded": write_grading(self._gradings.of(ticket), nothing)} | {
            "fault": f"{words} After {free} such gradings it counts as a score of 0."
        }

    def _nothing(self, submitted: str, seeds: tuple[int, ...]) -> GradedUnits:
        """The lowest score of all, for submissions on which the grader fails."""
        contract = self._grader.problem.contract
        units = read_units(self._grader.prepared, "feedback")
        zeros = np.zeros((len(seeds), contract.trials, len(units)))
        scores = {o.name: zeros for o in contract.objectives}
        return GradedUnits("feedback", seeds, submitted, scores)

    def _before(self, found: Fault | NotGraded) -> int:
        """How many of this campaign's gradings ended in that way while they had the secrets."""
        path, machine = self._gradings.faults, isinstance(found, NotGraded)
        lines = path.read_bytes().splitlines() if path.exists() else []
        rows = map(json.loads, lines)
        return sum(r.get("machine", False) == machine and r.get("secret", True) for r in rows)

    def _noted(self, ticket: str, found: Fault | NotGraded, *, secret: bool) -> str:
        """A sentence for the operator; the whole is in a log that only the operator reads."""
        path = self._gradings.faults
        self._gradings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        append, machine = os.O_WRONLY | os.O_APPEND | os.O_CREAT, isinstance(found, NotGraded)
        row = {"ticket": ticket, "words": found.words, "machine": machine, "secret": secret}
        with os.fdopen(os.open(path, append, OWNER_ONLY), "a") as log:
            log.write(json.dumps(row) + "\n")
        if machine:
            return (
                f"The machine ended the grading of {ticket}; raise `grading` in problem.yaml, or "
                f"give it less to do. {path} has how."
            )
        return f"The grader could not grade {ticket}; correct the problem. {path} has what it said."

    def stop(self) -> None:
        """See `Runs`."""
        self._make_sandbox.end()
        if self._engine is not None:
            self._engine.close()

    def close(self) -> None:
        """Drop what has not begun."""
        self.pool.shutdown(cancel_futures=True)


def _unforeseen() -> Fault:
    """Of the error that is handled. It ends one request alone: else it would end the campaign, and
    end it again whenever the request is begun again."""
    return Fault(f"aarlab failed at it, which is no fault of yours:\n{format_exc()}")
