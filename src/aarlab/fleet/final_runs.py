"""The runs of a confirmation of a problem in a folder: a claim's code and the baselines beside it
on `final`; and, to be shown, on a fresh draw of the data and without what the problem's ablations
take out of what is public."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured, Transient
from aarlab.core.layout import GradingsFolder, PreparedFolder
from aarlab.core.own_code import this_build
from aarlab.core.plain_text import read_text
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation.run_order import CodeFailed, NotRun
from aarlab.evaluation.confirmation.unit_gate import FINAL, ShownRun, UnitOrder
from aarlab.evaluation.scoring.graded_units import GradedUnits, graded_units, write_grading
from aarlab.evaluation.scoring.served_problem import ServedProblem
from aarlab.runs.engine_contract import Engine
from aarlab.runs.folder_run import METHOD
from aarlab.runs.grading import Grader, NotGraded, Refused, read_units
from aarlab.runs.prepared import ablated, fresh_draw, show_as_set_up
from aarlab.runs.served_folder import ServedFolder
from aarlab.runs.trial_scores import GradedSubmissions, NoScore, measure_files, remedied
from aarlab.sandbox.sandbox import MakeSandbox

FRESH = "fresh draw"
FAILURES = (AarError, OSError, subprocess.SubprocessError)


class FinalRuns:
    """Runs code on `final` of some data, which `on` names. With `kept`, where the evaluator alone
    reads them, scores stay there until the verdicts are on record: a confirmation that is
    interrupted runs nothing again."""

    def __init__(self, box: MakeSandbox, kept: GradingsFolder | None = None) -> None:
        self.box, self._kept, self._used = box, kept, set[Path]()

    def method(
        self, grader: Grader, order: UnitOrder, on: str = FINAL
    ) -> GradedUnits | CodeFailed | NotRun:
        """What a snapshot's code scores, or why it has no score."""
        found = self._graded(grader, order.files, order.seeds, on)
        if isinstance(found, GradedUnits):
            return found
        if isinstance(found, Refused):
            return CodeFailed(found.failure, found.words)
        if isinstance(found, NotGraded):
            return NotRun(found.words)
        return NotRun(f"{remedied(grader.problem, found)} That is the grader's fault.")

    def baselines(
        self, grader: Grader, served: ServedProblem, order: UnitOrder, on: str = FINAL
    ) -> Mapping[str, GradedUnits]:
        """The baselines that a claim stands beside, on the same seeds.

        Raises:
            Misconfigured: one fails, by a fault of the problem's author.
            Transient: the machine ended a run of one.
        """
        made = {}
        for name in served.beside:
            code = {METHOD: read_text(grader.problem.folder.baseline(name))}
            found = self._graded(grader, code, order.seeds, on, at=name)
            if not isinstance(found, GradedUnits):
                kind = Transient if isinstance(found, NotGraded) else Misconfigured
                raise kind(f"The baseline '{name}' on final: {remedied(grader.problem, found)}")
            made[name] = found
        return made

    def forget(self) -> None:
        """The verdicts are on record."""
        for path in self._used:
            path.unlink(missing_ok=True)

    def _graded(
        self,
        grader: Grader,
        files: Mapping[str, str],
        seeds: tuple[int, ...],
        on: str,
        at: str = METHOD,
    ) -> GradedUnits | NoScore:
        path = None if self._kept is None else self._kept.of(_question(grader, files, seeds, on))
        if path is not None:
            self._used.add(path)
            with suppress(FileNotFoundError, InvalidSubmission):
                return graded_units(path.read_bytes())
        found = measure_files(grader, files, FINAL, seeds, self.box, at=at)
        if not isinstance(found, GradedSubmissions):
            return found
        graded = GradedUnits(FINAL, seeds, found.submitted, found.measured.scores)
        if path is not None:
            write_grading(path, graded)
        return graded


def _question(grader: Grader, files: Mapping[str, str], seeds: tuple[int, ...], on: str) -> str:
    about = [on, seeds, dict(files), grader.problem.digest, this_build().source]
    words = json.dumps(about, sort_keys=True).encode()
    return f"confirmation-{hashlib.sha256(words).hexdigest()}"


class OtherData(ExitStack):
    """Other data on which claims are run, to be shown: a fresh draw, one for all claims that are
    confirmed together, and the problem's ablations. What fails here ends no confirmation: why is
    shown instead."""

    def __init__(
        self,
        served: ServedFolder,
        scored: ServedProblem,
        home: Home,
        runs: FinalRuns,
        *,
        fresh: bool,
        engine: Engine | None = None,
    ) -> None:
        super().__init__()
        self._served, self._scored, self._home, self._runs = served, scored, home, runs
        self._engine = engine
        self._fresh = fresh and not served.problem.contract.fixed  # else it would be the same
        self._draws: dict[tuple[int, ...], tuple[str, PreparedFolder]] = {}
        self._beside: dict[tuple[int, ...], Mapping[str, GradedUnits]] = {}

    def runs(self, order: UnitOrder, baselines: Mapping[str, GradedUnits]) -> tuple[ShownRun, ...]:
        """What an order's code scores on them; `baselines`: on `final`, for what is ablated."""
        names = self._served.problem.contract.ablations
        found = [self._ablated(order, name, baselines) for name in names]
        return tuple([self._drawn_again(order), *found] if self._fresh else found)

    def _drawn_again(self, order: UnitOrder) -> ShownRun:
        about = (FRESH, "fresh", f"{self._scored.name}, drawn again")
        try:
            label, drawn = self._draw(order)
            grader = Grader(self._served.problem, drawn, self._runs.box, self._engine)
            if order.seeds not in self._beside:
                self._beside[order.seeds] = self._runs.baselines(grader, self._scored, order, label)
            method = self._runs.method(grader, order, label)
            return ShownRun(*about, read_units(drawn, FINAL), method, self._beside[order.seeds])
        except FAILURES as error:
            return ShownRun(*about, {}, NotRun(str(error)), {})

    def _draw(self, order: UnitOrder) -> tuple[str, PreparedFolder]:
        """The data of those that are confirmed together, who share their seeds: no code that is run
        on them was written after they were drawn; and by which words they were drawn."""
        if order.seeds not in self._draws:
            label = f"{FRESH} {order.token}"
            drawn = fresh_draw(self._served.problem, self._home, label, self._runs.box)
            made = self.enter_context(drawn)
            show_as_set_up(made, self._served.prepared)
            self._draws[order.seeds] = label, made
        return self._draws[order.seeds]

    def _ablated(
        self, order: UnitOrder, name: str, baselines: Mapping[str, GradedUnits]
    ) -> ShownRun:
        problem, prepared = self._served.problem, self._served.prepared
        about = (f"without {name}", "ablated", f"{problem.contract.name}, ablation {name}")
        units = self._scored.units[FINAL]
        try:
            with ablated(problem, prepared, name, order.seeds[0], self._runs.box) as without:
                grader = Grader(problem, without, self._runs.box, self._engine)
                method = self._runs.method(grader, order, about[0])
            return ShownRun(*about, units, method, baselines)
        except FAILURES as error:
            return ShownRun(*about, units, NotRun(str(error)), {})
