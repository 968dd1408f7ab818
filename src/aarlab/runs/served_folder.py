"""A problem in a folder, set up for an evaluator: data, what researchers see, baselines on both
splits, and the scale of its scores."""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import OWNER_ONLY, write_whole
from aarlab.core.hold import Hold, holder
from aarlab.core.label_set import METERS, of_same_labels
from aarlab.core.layout import Home, PreparedFolder, PublicFolder, TestbedFolder
from aarlab.core.operation_records import IN_FOLDER
from aarlab.core.records import Measure, Record
from aarlab.core.strict_json import read_json
from aarlab.evaluation.scoring.served_problem import ServedProblem, served_problem
from aarlab.evaluation.scoring.unit_scores import Measured, Scale
from aarlab.problems.folder.folder_problem import FolderProblem
from aarlab.runs.engine_contract import Engine
from aarlab.runs.grading import Grader, read_units
from aarlab.runs.prepared import SPLITS, prepare_in_secret
from aarlab.runs.trial_scores import Say, measured_baselines
from aarlab.sandbox.sandbox import MakeSandbox


class BaselineScores(Record):
    """What a baseline scored on a split, over SEEDS: by objective its level, in the objective's own
    unit, and the combined score."""

    levels: dict[str, Measure]
    combined: Measure | None


@dataclass(frozen=True)
class ServedFolder:
    """A problem in a folder that an evaluator can serve. `folder`: its `TestbedFolder`, which is
    its `PreparedFolder`, too."""

    problem: FolderProblem
    folder: Path

    @property
    def public(self) -> Path:
        """What researchers see."""
        return TestbedFolder(self.folder).public

    @property
    def prepared(self) -> PreparedFolder:
        """The data."""
        return PreparedFolder(self.folder)

    def baselines(self) -> dict[str, dict[str, BaselineScores]]:
        """By baseline and split, what it scored."""
        stored = read_json(TestbedFolder(self.folder).baseline_scores)
        return {
            name: {s: BaselineScores.model_validate_json(json.dumps(f)) for s, f in of.items()}
            for name, of in stored.items()
        }


def serve_folder(
    problem: FolderProblem,
    data_seed: int,
    home: Home,
    make_sandbox: MakeSandbox,
    say: Say,
    *,
    engine: Engine | None = None,
) -> ServedFolder:
    """Set a problem up, or find it set up. Problems with the same secrets have one meter.
    `engine`: as of `Grader`.

    Raises:
        Misconfigured: prepare.py, grade.py or a baseline fails, or the ceiling of an objective is
            not above its floor.
        CouldNotBeRun, Transient: the machine ended a run.
    """
    if problem.contract.fixed and data_seed != 1:
        raise Misconfigured(
            f"{problem.folder.contract}: the secrets are `fixed`, and data seed {data_seed} would "
            "have a meter of its own for the same ones. Leave the data seed at 1."
        )
    with _alone(home.problems / f".{problem.contract.name}.lock", say):
        prepared = prepare_in_secret(problem, data_seed, home, make_sandbox)
        found = ServedFolder(problem, prepared.root)
        testbed = TestbedFolder(found.folder)
        if testbed.served.exists() and served_problem(found.folder).digest != problem.digest:
            raise Misconfigured(  # the name on disk has the beginning of it alone
                f"{found.folder} was set up of other files than {problem.folder.root} has, whose "
                "digest begins alike. Change any file of it, and do not trust where it is from."
            )
        _publish(found, data_seed)
        if not testbed.served.exists():
            testbed.private.mkdir(mode=0o700, exist_ok=True)
            _measure(found, data_seed, make_sandbox, say, engine)
        _share_meters(found)
    return found


@contextlib.contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    """While the context is open no other process sets up a version of this problem."""
    if other := holder(lock):
        say(f"waits for process {other}, which sets this problem up", 0, 1)
    with Hold(lock, lambda other: f"Process {other} is busy.", wait_s=math.inf):
        yield


def _publish(served: ServedFolder, data_seed: int) -> None:
    """What researchers see beside the data: the card, and the code of the baselines."""
    contract, public = served.problem.contract, served.public
    card, shown = PublicFolder(public).card, PublicFolder(public).baselines
    fields = {"name": contract.name, "version": contract.version, "data_seed": data_seed}
    fields |= {"kind": IN_FOLDER, "card": contract.card, "combine": contract.combine}
    fields |= {"families": list(contract.families)}
    fields |= {"submission": contract.submission.model_dump(mode="json")}
    fields |= {"objectives": [o.model_dump(mode="json") for o in contract.objectives]}
    fields |= {"baselines": list(contract.baselines), "run": contract.run.model_dump(mode="json")}
    write_whole(card, json.dumps(fields, indent=1))
    shown.mkdir(exist_ok=True)
    for name in contract.baselines:
        shutil.copy(served.problem.folder.baseline(name), shown)


def _measure(
    served: ServedFolder, seed: int, make_sandbox: MakeSandbox, say: Say, engine: Engine | None
) -> None:
    """Baselines on both splits, and the scale; the scale is written last."""
    contract = served.problem.contract
    units = {split: read_units(served.prepared, split) for split in SPLITS}
    scales, scores = scored_baselines(served, make_sandbox, say, engine)
    _require_gaps(served, scales)
    made = ServedProblem(
        name=contract.name,
        version=contract.version,
        data_seed=seed,
        digest=served.problem.digest,
        secrets=_digest_of(served.prepared.secrets("feedback")),
        objectives=contract.objectives,
        combine=contract.combine,
        trials=contract.trials,
        ends=scales["feedback"].ends,
        comparator=_best(scores),
        units=units,
    )
    plain = {n: {s: f.model_dump(mode="json") for s, f in of.items()} for n, of in scores.items()}
    testbed = TestbedFolder(served.folder)
    write_whole(testbed.baseline_scores, json.dumps(plain, indent=1), mode=OWNER_ONLY)
    write_whole(testbed.served, made.model_dump_json(), mode=OWNER_ONLY)


def scored_baselines(
    served: ServedFolder, make_sandbox: MakeSandbox, say: Say, engine: Engine | None = None
) -> tuple[dict[str, Scale], dict[str, dict[str, BaselineScores]]]:
    """The scales of both splits, and by baseline and split what it scores, all run now.

    Raises:
        Misconfigured: grade.py or a baseline fails.
        Transient: the machine ended a run.
    """
    contract = served.problem.contract
    grader = Grader(served.problem, served.prepared, make_sandbox, engine)
    measured = {
        split: measured_baselines(grader, contract.baselines, split, make_sandbox, say)
        for split in SPLITS
    }
    scales = {s: Scale(*contract.aims, read_units(served.prepared, s), measured[s]) for s in SPLITS}
    scores = {
        name: {s: _scores(scales[s], measured[s][name]) for s in SPLITS}
        for name in contract.baselines
    }
    return scales, scores


def _require_gaps(served: ServedFolder, scales: Mapping[str, Scale]) -> None:
    for split, scale in scales.items():
        for o in scale.climbed:
            floor, ceiling = scale.ends[o.name]
            if not ceiling > floor:
                raise Misconfigured(
                    f"{served.problem.folder.contract}: '{o.name}' on {split}: the ceiling, "
                    f"{o.natural(ceiling):.4g}, is not better than the floor, "
                    f"{o.natural(floor):.4g}. `aar problem check` says more."
                )


def _scores(scale: Scale, measured: Measured) -> BaselineScores:
    levels = {o.name: scale.level(measured, o) for o in scale.objectives}
    return BaselineScores(levels=levels, combined=scale.combined(measured))


def _best(scores: Mapping[str, Mapping[str, BaselineScores]]) -> str:
    """The baseline of the highest combined score on feedback; `final` is not looked at."""

    def score(name: str) -> float:
        found = scores[name]["feedback"].combined
        return -1.0 if found is None else found.estimate

    return max(scores, key=score)


def _digest_of(folder: Path) -> str:
    """SHA-256 of the files below a folder, by their paths."""
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        whole.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
    return whole.hexdigest()


def _share_meters(served: ServedFolder) -> None:
    """Where another version of the problem's folder has the same secrets, use its meter; also where
    the process that measured was killed before it did. A level on one scale says nothing on
    another one.

    Raises:
        Misconfigured: something may have been released of these secrets on another scale.
    """
    folder = served.folder
    own, scale = TestbedFolder(folder).private, _scale(folder)
    alone = (own / METERS[0]).exists() and not (own / METERS[0]).is_symlink()
    for other in of_same_labels(folder):
        if other == folder:
            continue
        theirs = TestbedFolder(other).private
        if _scale(other) != scale:
            _refuse_used(served, other)
        elif not alone and not (theirs / METERS[0]).is_symlink():
            for name in METERS:
                (theirs / name).mkdir(mode=0o700, exist_ok=True)
                if not os.path.lexists(own / name):
                    (own / name).symlink_to(Path("../..") / other.name / theirs.name / name)
            alone = True


def _scale(folder: Path) -> tuple[object, ...]:
    """What decides which score unit scores are."""
    found = served_problem(folder)
    return found.objectives, found.combine, found.trials, found.ends


def _refuse_used(served: ServedFolder, other: Path) -> None:
    if TestbedFolder(other).meter.exists():
        raise Misconfigured(
            f"{served.problem.folder.contract}: the earlier version in {other} has the same "
            "secrets on feedback, and other objectives, floors or ceilings: what it reported "
            "cannot be compared. Take another data seed (`-s data_seed=2`, or `--data-seed 2` of "
            "`aar evaluator`), or restore them."
        )
