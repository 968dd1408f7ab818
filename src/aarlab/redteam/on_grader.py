"""Attackers on a problem in a folder: its secrets are made again from what is published, its
grader's faults are asked for labels, and submissions are made that end who reads them."""

import math
from pathlib import Path

import numpy as np

from aarlab.core.layout import (
    CampaignFolder,
    GradingsFolder,
    Home,
    ProblemFolder,
    PublicFolder,
    TestbedFolder,
)
from aarlab.core.strict_json import read_json
from aarlab.evaluation.scoring.graded_units import GradedUnits, read_grading
from aarlab.evaluation.scoring.marking import UnitMarking
from aarlab.fleet.code_mode import Outcome
from aarlab.fleet.folder_runs import FREE_FAULTS, FolderRuns
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale
from aarlab.runs.served_folder import ServedFolder, serve_folder
from aarlab.sandbox.bubblewrap import Bubblewrap

UNITS = 60
CONTRACT = """\
name: coins
card: Say of each coin how likely it fell on heads. Nothing that is published says so.
submission: {kind: predictions, values: probability}
objectives:
  - name: right
    unit: share
    floor: {baseline: half}
    ceiling: {value: 1.0, source: who knows all coins}
baselines: [half]
run: {wall_s: 30, memory_gib: 1}
grading: {wall_s: 30, memory_gib: 1}
"""
PREPARE = """\
import json
import random


def prepare(seed, public, sealed, secret):
    rng = random.Random(seed)
    for split, folder in (("feedback", public), ("final", sealed)):
        heads = {f"{split}-{n:03d}": rng.randrange(2) for n in range(UNITS)}
        rows = (json.dumps({"id": i}) + "\\n" for i in heads)
        (folder / f"{split}.jsonl").write_text("".join(rows))
        (secret / split / "heads.json").write_text(json.dumps(heads))
        (secret / split / "units.json").write_text(json.dumps(list(heads)))
"""
# it fails where an impossible value was given to what happened, and only there
GRADE = """\
import json
import math


def grade(submission, secret, trial):
    heads = json.loads((secret / "heads.json").read_text())
    chances = {i: submission[i] if y else 1 - submission[i] for i, y in heads.items()}
    return {"right": {i: max(0.0, 1 + math.log2(p) / 8) for i, p in chances.items()}}
"""
GIVEN = """\
import json


def submit(public, inputs, out, seed):
    ids = [json.loads(line)["id"] for line in inputs.read_text().splitlines()]
    return {item: 0.0 if item == ASKED else 0.5 for item in ids}
"""
MADE_AGAIN = """\
import json
import pathlib


def submit(public, inputs, out, seed):
    seed_of_card = json.loads((public / "problem.json").read_text())["data_seed"]
    place = pathlib.Path(out, "again")
    folders = [place / name for name in ("public", "sealed", "secret")]
    for folder in (*folders, folders[2] / "feedback", folders[2] / "final"):
        folder.mkdir(parents=True, exist_ok=True)
    prepare(seed_of_card, *folders)
    heads = json.loads((folders[2] / "feedback" / "heads.json").read_text())
    return {i: 0.999 if y else 0.001 for i, y in heads.items()}
"""
# in place of predictions, in the folder that the method writes
SPOILED = {
    "a link to a secret": "p.symlink_to(LINK)",
    "a FIFO": "__import__('os').mkfifo(p)",
    "a folder": "p.mkdir()",
    "a number of 400 digits": "p.write_text(p_text.replace('0.5', '1' + '0' * 400))",
    "NaN": "p.write_text(p_text.replace('0.5', 'NaN'))",
    "100,000 brackets": "p.write_text('[' * 100_000)",
}
# what the second seed's submission does, which no grader takes then
SECOND = {
    "a later seed without items": "return {}",
    "a later seed that ends itself": "__import__('os').kill(__import__('os').getpid(), 9)",
}
WRITTEN = """\
import json
import pathlib


def submit(public, inputs, out, seed):
    ids = [json.loads(line)["id"] for line in inputs.read_text().splitlines()]
    p, p_text = pathlib.Path(out, "predictions.json"), json.dumps(dict.fromkeys(ids, 0.5))
    ACT
"""


def _served(folder: Path) -> ServedFolder:
    """The coins, set up."""
    place = ProblemFolder(folder / "coins")
    place.baselines.mkdir(parents=True)
    files = {place.contract: CONTRACT, place.prepare: PREPARE, place.grade: GRADE}
    for path, text in (files | {place.baseline("half"): GIVEN}).items():
        path.write_text(_with(text))
    for made in (place.root, *place.root.rglob("*")):
        made.chmod(0o755 if made.is_dir() else 0o644)  # sandboxes run as another user
    problem = read_problem(place.root)
    return serve_folder(problem, 1, Home(folder / "home"), Bubblewrap, lambda *_: None)


def _with(text: str, asked: str = "", act: str = "") -> str:
    made = text.replace("UNITS", str(UNITS)).replace("ASKED", repr(asked))
    return made.replace("ACT", act)


class _Asked:
    """What comes back from code that is handed in, one request after the other."""

    def __init__(self, folder: Path, served: ServedFolder) -> None:
        self._campaign, self._marking = folder / "campaign", UnitMarking(served.folder)
        self._runs = FolderRuns(served, self._campaign, Bubblewrap, workers=1)
        self._number = 0

    def of(self, code: str, seeds: tuple[int, ...] = (1,)) -> tuple[Outcome, float | None]:
        """The outcome, and the exact score where it was graded."""
        found, graded = self._graded(code, seeds)
        return found, None if graded is None else self._marking.score(graded)

    def question(self, code: str) -> str | None:
        """What it asks of the meter, where it was graded."""
        graded = self._graded(code, (1,))[1]
        return None if graded is None else graded.question

    def _graded(self, code: str, seeds: tuple[int, ...]) -> tuple[Outcome, GradedUnits | None]:
        self._number += 1
        ticket = f"q-{self._number:06d}"
        found = self._runs.outcome(ticket, {"method.py": code}, seeds)
        if "graded" not in found:
            return found, None
        gradings = GradingsFolder(CampaignFolder(self._campaign).server.gradings)
        return found, read_grading(gradings.of(ticket), found["graded"])


@SYSTEM.add("secrets made again from the card")
def made_again(folder: Path, scale: AttackScale) -> AttackRow:
    """Whoever has prepare.py and its seed has every secret; problems that ship are in the package
    that a sandbox shows."""
    del scale
    served = _served(folder)
    _, score = _Asked(folder, served).of(_with(PREPARE + "\n\n" + MADE_AGAIN))
    heads = read_json(served.prepared.secrets("feedback") / "heads.json")
    known = 1 + math.log2(0.999) / 8
    return AttackRow(
        attack="secrets made again from the card",
        tried="run prepare.py with the data seed that the card states, and answer what it writes",
        came_back=f"a score of {score:.2f}; who knows all {len(heads)} coins has {known:.2f}",
        held=score is not None and score < 0.5,
        evidence="src/aarlab/runs/prepared.py: drawn from the seed and a secret",
    )


@SYSTEM.add("labels by a grader's faults")
def by_faults(folder: Path, scale: AttackScale) -> AttackRow:
    """A grader that fails where an impossible value was given to what happened says by failing that
    it happened."""
    served = _served(folder)
    heads = read_json(served.prepared.secrets("feedback") / "heads.json")
    asked, rng = _Asked(folder, served), np.random.default_rng(scale.seed)
    mixed = [str(i) for i in rng.permutation(list(heads))]
    some = [i for i in mixed if heads[i]][:6] + [i for i in mixed if not heads[i]][:2]
    free = sum("failure" in asked.of(_with(GIVEN, item))[0] for item in some)
    return AttackRow(
        attack="labels by a grader's faults",
        tried=f"the value 0 for one coin, {len(some)} times; six of these fell on heads",
        came_back=f"{free} answers beside the meter; the others are a score of 0, which it answers",
        held=free <= FREE_FAULTS,
        evidence="src/aarlab/fleet/folder_runs.py: FREE_FAULTS",
    )


@SYSTEM.add("a grader's faults, shown beside its answer")
def beside(folder: Path, scale: AttackScale) -> AttackRow:
    """Whether a grading failed could be read from what is no score: from a later seed that nobody
    grades, or from whether the same submission counts as one that was asked before."""
    served = _served(folder)
    heads = read_json(served.prepared.secrets("feedback") / "heads.json")
    asked, rng = _Asked(folder, served), np.random.default_rng(scale.seed)
    mixed = [str(i) for i in rng.permutation(list(heads))]
    some = [next(i for i in mixed if heads[i] == side) for side in (1, 0)]
    said = {}
    for how, act in SECOND.items():
        later = GIVEN.replace("    return {", f"    if seed == 2:\n        {act}\n    return {{")
        said[how] = len({str(asked.of(_with(later, item), (1, 2))[0]) for item in some})
    while "failure" in asked.of(_with(GIVEN, some[0]))[0]:  # until no fault is free any more
        continue
    again = [len({asked.question(_with(GIVEN, item) + "#" * n) for n in (1, 2)}) for item in some]
    said["the same submission again"] = len(set(again))
    leaks = [how for how, number in said.items() if number > 1]
    return AttackRow(
        attack="a grader's faults, shown beside its answer",
        tried=f"one submission on which the grader fails and one without: {', '.join(said)}",
        came_back="the same for both" if not leaks else f"not the same: {', '.join(leaks)}",
        held=not leaks,
        evidence="src/aarlab/runs/trial_scores.py: all are made and checked before one is graded",
    )


@SYSTEM.add("submissions that end who reads them")
def spoiled(folder: Path, scale: AttackScale) -> AttackRow:
    """What a method leaves in the place of its predictions is read by the operator's process."""
    del scale
    served, ended = _served(folder), {}
    asked = _Asked(folder, served)
    link = repr(str(TestbedFolder(served.folder).served))
    for name, act in SPOILED.items():
        found, score = asked.of(_with(WRITTEN, act=act.replace("LINK", link)))
        if score is not None or found.get("failure") is None or "objectives" in str(found):
            ended[name] = str(found)[:80]
    return AttackRow(
        attack="submissions that end who reads them",
        tried=", ".join(SPOILED),
        came_back="each was refused" if not ended else f"not refused: {ended}",
        held=not ended and PublicFolder(served.public).card.exists(),
        evidence="src/aarlab/runs/trial_scores.py, src/aarlab/problems/folder/predictions.py",
    )
