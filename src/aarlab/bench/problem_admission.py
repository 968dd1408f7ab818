"""The admission of a problem in a folder: it is set up, its baselines are run and graded, and it is
tried with submissions that do nothing and with some that are made to break a grader. The result is
the problem's card."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from aarlab.bench.leak_checks import leaks
from aarlab.bench.meter_outlook import meter_words
from aarlab.bench.problem_card import (
    AdmissionCard,
    Examined,
    Level,
    ObjectiveRow,
    Split,
    Tried,
    as_split,
)
from aarlab.bench.trial_submissions import Trials, constants, files_of, hostile
from aarlab.core.crossed import NOTHING_VARIES
from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PreparedFolder
from aarlab.core.objectives import Objective
from aarlab.core.own_code import this_build
from aarlab.evaluation.scoring.unit_scores import Measured, Scale, seed_spread, trial_spread
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.runs.folder_run import METHOD
from aarlab.runs.grading import Grader, NotGraded, read_units
from aarlab.runs.prepared import SPLITS, prepare, submission
from aarlab.runs.trial_scores import (
    SEEDS,
    Say,
    grade_trials,
    measure_baseline,
    remedied,
)
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import MakeSandbox

HEADROOM = 5.0  # standard deviations of one submission between floor and ceiling, at least
CORRELATED = 0.5  # feedback with final over three baselines or more, at least
OUTSIDE = 0.1  # share of a baseline's values that may lie beyond the range


def admit(
    problem: FolderProblem,
    make_sandbox: MakeSandbox,
    say: Say,
    *,
    data_seed: int = 1,
    seeds: Sequence[int] = SEEDS,
) -> AdmissionCard:
    """The card of a problem, with all reasons for which it is refused.

    Raises:
        Transient: the machine ended a run of the author's code; nothing is known of the problem.
        Misconfigured: no sandbox can be started.
    """
    examination = _Examination(problem, make_sandbox, say, tuple(seeds), data_seed)
    with scratch() as place:
        examination.run(place)
    return examination.card()


class _Examination:
    """What is known of the problem so far."""

    def __init__(
        self,
        problem: FolderProblem,
        make_sandbox: MakeSandbox,
        say: Say,
        seeds: tuple[int, ...],
        data_seed: int,
    ) -> None:
        self.problem, self.contract = problem, problem.contract
        self._make_sandbox, self._say, self._seeds = make_sandbox, say, seeds
        self._data_seeds = (data_seed, data_seed + 1)
        self._begun = time.monotonic()
        self._found: dict[str, dict[str, Measured]] = {split: {} for split in SPLITS}
        self._scales: dict[str, Scale] = {}
        self._rows: list[ObjectiveRow] = []
        self._tried: list[Tried] = []
        self._examined: list[Examined] = []
        self._correlation: float | None = None
        self._notes: list[str] = []
        self._refusals: list[str] = []

    def run(self, place: Path) -> None:
        """Every step that the steps before it allow."""
        prepared = self._data(place)
        if prepared is None:
            return
        found = leaks(prepared)
        self._examined += [Examined(what=leak.what, found=leak.found) for leak in found]
        self._refusals += [
            f"{self.problem.folder.prepare}: {leak.what}: {leak.found}. Take it out of what "
            "researchers read, or make it independent of the secret."
            for leak in found
            if leak.found
        ]
        grader = Grader(self.problem, prepared, self._make_sandbox)
        if self._baselines(grader) and self._ends(prepared):
            self._within_range()
            self._spread_of_scores()
            self._agreement()
            self._repeatable(grader)
        self._submissions(grader, place)

    def card(self) -> AdmissionCard:
        """All of it as a record."""
        both = {
            name: {
                split: self._scales[split].combined(self._found[split][name]) for split in SPLITS
            }
            for name in self.contract.baselines
            if self._scales and all(name in self._found[split] for split in SPLITS)
        }
        return AdmissionCard(
            problem=self.contract.name,
            version=self.contract.version,
            digest=self.problem.digest,
            build=str(this_build()),
            data_seeds=self._data_seeds,
            seeds=self._seeds,
            objectives=tuple(self._rows),
            combined={
                name: {as_split(s): m for s, m in of.items() if m is not None}
                for name, of in both.items()
            },
            correlation=self._correlation,
            tried=tuple(t.model_copy(update={"words": self._short(t.words)}) for t in self._tried),
            examined=tuple(self._examined),
            notes=tuple(map(self._short, self._notes)),
            refusals=tuple(map(self._short, self._refusals)),
            wall_s=time.monotonic() - self._begun,
        )

    def _short(self, words: str) -> str:
        """Paths below the problem's folder, without it: a card may be sent to others."""
        return words.replace(f"{self.problem.folder.root}/", "")

    # --- data -------------------------------------------------------------------------------------

    def _data(self, place: Path) -> PreparedFolder | None:
        """The data of the first seed; None where they could not be made. They are made twice, and
        once with the second seed."""
        made = []
        for number, (seed, under) in enumerate(
            zip((*self._data_seeds, self._data_seeds[0]), ("data", "data", "again"), strict=True)
        ):
            self._say("data", number, 3)
            try:
                made.append(prepare(self.problem, seed, place / under, self._make_sandbox))
            except Misconfigured as error:
                self._refusals.append(str(error))
                return None
        first, other, again = map(_digests, made)
        path = self.problem.folder.prepare
        if changed := sorted(
            n for n in first.keys() | again.keys() if first.get(n) != again.get(n)
        ):
            self._refusals.append(
                f"{path}: two runs with data seed {self._data_seeds[0]} differ in {changed[0]}. "
                "Draw all that is random from `seed`, and write no times."
            )
        secret = {n for n in first if n.startswith("secret")}
        same = all(first[n] == other.get(n) for n in secret)
        if self.contract.fixed:
            self._notes.append(
                "The secrets are fixed files: every data seed gives the same, and who has the "
                "author's folder has them."
            )
        elif same:
            self._refusals.append(
                f"{path}: data seeds {self._data_seeds[0]} and {self._data_seeds[1]} give the same "
                "secrets. Draw the data from `seed`."
            )
        return made[0]

    # --- baselines --------------------------------------------------------------------------------

    def _baselines(self, grader: Grader) -> bool:
        """Measure all baselines on both splits; whether all have scores."""
        names, whole = self.contract.baselines, True
        for number, (name, split) in enumerate((n, s) for n in names for s in SPLITS):
            self._say("baselines", number, len(names) * len(SPLITS))
            found = measure_baseline(grader, name, split, self._seeds, self._make_sandbox)
            if isinstance(found, Measured):
                self._found[split][name] = found
            else:
                self._refuse_once(f"{remedied(self.problem, found)} (Baseline {name}, {split}.)")
                whole = False
                if isinstance(found, NotGraded) or str(self.problem.folder.grade) in found.words:
                    return False  # it ends in the same way with the others
        return whole

    def _within_range(self) -> None:
        """How many values of a baseline lie beyond the range, of each objective the most."""
        for objective in self.contract.objectives:
            share, name, split = max(
                (found.beyond[objective.name], name, split)
                for split, of in self._found.items()
                for name, found in of.items()
            )
            low, high = objective.range
            words = (
                f"{self.problem.folder.grade}: {share:.2%} of the values of '{objective.name}' lie "
                f"beyond its range, {low:g} to {high:g} (baseline {name}, {split})."
            )
            if share > OUTSIDE:
                self._refusals.append(
                    f"{words} Correct grade.py, or widen `range` in problem.yaml."
                )
            elif share:
                self._notes.append(f"{words} They count as the nearer end.")

    def _ends(self, prepared: PreparedFolder) -> bool:
        """Floors and ceilings; whether every ceiling is above its floor."""
        right = True
        for split in SPLITS:
            units = read_units(prepared, split)
            self._scales[split] = scale = Scale(*self.contract.aims, units, self._found[split])
            for o in self.contract.objectives:
                floor, ceiling = scale.ends[o.name]
                if not ceiling > floor:
                    right = False
                    self._refusals.append(
                        f"{self.problem.folder.contract}: '{o.name}' on {split}: the ceiling, "
                        f"{o.natural(ceiling):.4g}, is not better than the floor, "
                        f"{o.natural(floor):.4g}. Name another floor or ceiling."
                    )
        if not right:
            self._scales = {}
        else:
            ends = self._scales["feedback"].ends
            self._notes.append(meter_words(self.contract, read_units(prepared, "feedback"), ends))
        return right

    def _spread_of_scores(self) -> None:
        """Levels, noise and headroom of every objective on both splits."""
        for o in self.contract.objectives:
            for split in SPLITS:
                row = self._row(o, as_split(split))
                self._rows.append(row)
                few = row.headroom is not None and row.headroom < HEADROOM
                if few and o.role in {"climb", "held-out"}:
                    self._refusals.append(
                        f"{self.problem.folder.contract}: '{o.name}' on {split}: between floor and "
                        f"ceiling lie {row.headroom:.1f} standard deviations of one submission; "
                        f"{HEADROOM:g} are needed. Take more units, more trials, or another "
                        "objective."
                    )
                if o.margin is not None and split == "final" and o.margin < row.noise:
                    self._notes.append(
                        f"The margin of the gate '{o.name}', {o.margin:g}, is less than the noise "
                        f"of one submission, {row.noise:.2g}: few claims can be shown to hold it."
                    )

    def _row(self, o: Objective, split: Split) -> ObjectiveRow:
        scale, width = self._scales[split], o.range[1] - o.range[0]
        floor, ceiling = scale.ends[o.name]
        levels = tuple(
            Level(
                baseline=name,
                level=scale.level(found, o),
                normalised=scale.normalised(found, o),
                unit_error=width * scale.unit_error(found, o),
                seed_sd=width * seed_spread(found, o.name),
                trial_sd=None
                if (trials := trial_spread(found, o.name)) is None
                else width * trials,
            )
            for name, found in self._found[split].items()
        )
        noise = max(scale.noise(found, o) for found in self._found[split].values())
        return ObjectiveRow(
            name=o.name,
            split=split,
            unit=o.unit,
            direction=o.direction,
            role=o.role,
            floor=o.natural(floor),
            ceiling=o.natural(ceiling),
            floor_from=o.floor.baseline or o.floor.source,
            ceiling_from=o.ceiling.baseline or o.ceiling.source,
            noise=width * noise,
            headroom=(ceiling - floor) / noise if noise > 0 else None,
            margin=o.margin,
            levels=levels,
        )

    def _agreement(self) -> None:
        """The correlation of feedback with final over the baselines."""
        scores = np.array(
            [[self._mean_normalised(n, s) for s in SPLITS] for n in self.contract.baselines]
        )
        if len(scores) < 2 or (scores.std(axis=0) < NOTHING_VARIES).any():
            self._notes.append(
                "The baselines do not differ, so it is unknown whether feedback agrees with final."
            )
            return
        self._correlation = float(np.corrcoef(scores.T)[0, 1].clip(-1, 1))
        apart = np.ptp(scores, axis=0).min() > 2 * max(self._noise(s) for s in SPLITS)
        if self._correlation < CORRELATED and apart:
            self._refusals.append(
                f"{self.problem.folder.prepare}: over {len(scores)} baselines, feedback correlates "
                f"with final with {self._correlation:.2f}. Draw both splits from one source."
            )

    def _mean_normalised(self, baseline: str, split: str) -> float:
        """Of the climbed objectives, not held between 0 and 1."""
        found, scale = self._found[split][baseline], self._scales[split]
        parts = [scale.normalised(found, o) for o in self.contract.climbed]
        return float(np.mean([p.estimate for p in parts if p is not None]))

    def _noise(self, split: str) -> float:
        """By how much a normalised score of one submission varies at most, as a standard
        deviation."""
        scale, climbed = self._scales[split], self.contract.climbed
        return max(
            scale.noise(found, o) / (scale.ends[o.name][1] - scale.ends[o.name][0])
            for found in self._found[split].values()
            for o in climbed
        )

    def _repeatable(self, grader: Grader) -> None:
        """One submission graded twice in one trial must have the same scores, where the contract
        has no trials for noise of the grading."""
        if self.contract.trials > 1:
            return
        with self._again(grader) as made:
            both = [grade_trials(grader, made, "feedback") for _ in range(2)]
        first, second = both
        if not (isinstance(first, Measured) and isinstance(second, Measured)):
            return
        for o in self.contract.objectives:
            if (first.scores[o.name] != second.scores[o.name]).any():
                self._refusals.append(
                    f"{self.problem.folder.grade}: the same submission had two different values of "
                    f"'{o.name}'. Draw what is random from `trial`, or set `trials` in "
                    "problem.yaml to 3 or more."
                )

    # --- submissions that are tried ---------------------------------------------------------------

    def _submissions(self, grader: Grader, place: Path) -> None:
        """What does nothing, on both splits, where scores are known; and what is hostile."""
        trials = Trials(self.problem, grader, self._scales, place / "tried", self._say)
        if self._scales:
            for split in SPLITS:
                trials.run("constant", constants(self.problem, grader.prepared, split), split)
        example = self._example(grader)
        trials.run(
            "hostile", hostile(self.problem, grader.prepared, "feedback", example), "feedback"
        )
        self._tried += trials.rows
        self._notes += trials.notes
        for reason in trials.reasons:
            self._refuse_once(reason)

    def _example(self, grader: Grader) -> Mapping[str, bytes]:
        """The files of an honest artifact; none where the baselines do not work."""
        if self.contract.submission.kind != "artifact" or not self._scales:
            return {}
        with self._again(grader) as made:
            return files_of(made)

    def _again(self, grader: Grader) -> AbstractContextManager[Path]:
        """A submission that had a score: the last baseline's on feedback."""
        code = {METHOD: self.problem.folder.baseline(self.contract.baselines[-1]).read_text()}
        seed, make_sandbox = self._seeds[0], self._make_sandbox
        return submission(self.problem, grader.prepared, code, "feedback", seed, make_sandbox)

    def _refuse_once(self, words: str) -> None:
        """A reason, unless another one begins with the same sentence."""
        head = words.partition(" (")[0]
        if not any(r.partition(" (")[0] == head for r in self._refusals):
            self._refusals.append(words)


def _digests(prepared: PreparedFolder) -> dict[str, bytes]:
    """The bytes of all data, by path."""
    return {
        path.relative_to(prepared.root).as_posix(): path.read_bytes()
        for path in sorted(prepared.root.rglob("*"))
        if path.is_file() and path != prepared.ready
    }
