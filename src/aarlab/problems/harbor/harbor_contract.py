"""The contract of a problem that was a Harbor task: what is submitted and measured, between which
ends, within which limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import HarborPackage
from aarlab.core.plain_text import read_text
from aarlab.problems.folder.folder_problem import FOLDER, TAKEN
from aarlab.problems.harbor.dockerfile import BuildPlan, top
from aarlab.problems.harbor.task_file import Environment, TaskFile
from aarlab.sandbox.bubblewrap import over_python

SUBMITTED_BYTES = 64 << 20
CARD_CHARACTERS = 200_000
OF_GRADER = ("/logs", "/tests")
RUNS = 3  # of scripts in one run of prepare.py: the baseline, and both that grade
CARD = "templates/card.txt"
SINGLE = (
    "One grading is one reward, so each split has one unit: no interval can be given, the meter's "
    "bound says nothing, and no claim can be confirmed. Final shows rewards, on five seeds."
)
CASES = (
    "Each test case is a unit. That cases are independent is an assumption: the package's author "
    "chose them, and one fault can fail several."
)
DEALT = "The test cases are dealt to feedback and to final by the data seed."
VALIDATED = (
    "Feedback is graded by {validation}, which you can run as well: `python harbor_task.py FOLDER` "
    "in public. Final is graded by hidden tests."
)
STATED = "task.toml, [metadata.reward]"
HEAD = "# Made by `aar import harbor`. Times, memory and the ends of the scale are the package's.\n"


@dataclass
class HarborTask:
    """A task that can be imported. `images`: of a docker engine, by what they are for."""

    package: HarborPackage
    settings: TaskFile
    built: BuildPlan
    tests: BuildPlan
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        named = self.settings.task.name if self.settings.task else self.package.root.name
        plain = re.sub("[^a-z0-9]+", "-", named.rpartition("/")[2].lower()).strip("-")
        return (plain if plain[:1].isalpha() else f"task-{plain}")[:40].strip("-")

    @property
    def artifacts(self) -> list[str]:
        """The places that are submitted; where none are declared, where the work is done."""
        named = [PurePosixPath(self.built.workdir) / a.source for a in self.settings.artifacts]
        return [str(path) for path in named] or [self.built.workdir]

    @property
    def folders(self) -> list[str]:
        """The top folders that its scripts may write to."""
        found = self.built.folders() | self.tests.folders() | {top(a) for a in self.artifacts}
        return sorted(found | set(OF_GRADER))

    @property
    def validation(self) -> str | None:
        """Where the environment has validation/val.sh."""
        return self._placed(self.package.validation)

    @property
    def start(self) -> str | None:
        """Where the environment has baseline/baseline.sh."""
        return self._placed(self.package.start)

    @property
    def cases(self) -> bool:
        """Whether test cases are what counts: no reward is described, and every script that grades
        runs pytest or writes a report in the format CTRF."""
        scripts = [self.package.test, *([self.package.validation] if self.validation else [])]
        known = all(re.search(r"\bpytest\b|ctrf\.json", read_text(script)) for script in scripts)
        return known and self.settings.metadata.reward is None

    @property
    def scale(self) -> tuple[float, float, float]:
        """(floor, best, worst) of the reward. An invalid submission has the worst."""
        reward = self.settings.metadata.reward
        if reward is None:
            return 0.0, 1.0, 0.0
        best, measured = reward.theoretical_best, reward.baseline_test or reward.baseline_validation
        higher = reward.direction == "higher_better"
        floor = measured.mean if measured else min(0.0, best - 1) if higher else best + 1
        return floor, best, min(0.0, floor) if higher else floor + (floor - best)

    def require_places(self) -> None:
        """Raises Misconfigured if what is submitted would lie where a sandbox has files."""
        for place in (*self.artifacts, self.built.workdir):
            folder = top(place)
            if not re.fullmatch(FOLDER, folder) or folder[1:] in TAKEN or folder in OF_GRADER:
                raise Misconfigured(
                    f"{self.package.settings}: what is submitted would lie in {place[:80]!r}, "
                    "where a sandbox has files of its own or of the grader. Use `artifacts` (and "
                    "a WORKDIR) such as /workspace/submission."
                )
        if over := over_python(self.folders):
            raise Misconfigured(
                f"{self.package.root}: its scripts write to {over}, and the Python that runs "
                "aarlab lies below it. Install aarlab elsewhere, or change the task."
            )

    def _placed(self, file: Path) -> str | None:
        if not file.is_file():
            return None
        name = PurePosixPath(file.relative_to(self.package.environment).as_posix())
        for kind, words, _ in reversed(self.built.steps):
            for source in words[:-1] if kind == "copy" else ():
                plain = PurePosixPath(source)
                if plain == name:
                    return words[-1] + name.name if words[-1].endswith("/") else words[-1]
                if plain in name.parents:
                    return str(PurePosixPath(words[-1]) / name.relative_to(plain))
        return None


def plan_of(task: HarborTask) -> dict[str, Any]:
    """What the helper beside the problem's code reads (harbor.json)."""
    _, best, worst = task.scale
    work, tests = task.settings.environment, task.settings.of_tests
    own = task.settings.verifier.env
    return {
        "artifacts": task.artifacts,
        "folders": task.folders,
        "environment": _part(task.built, work.env),
        "verifier": _part(task.tests, tests.env | own),
        "separate": task.settings.separate and task.package.tests_recipe.is_file(),
        "validation": task.validation,
        "start": task.start,
        "cases": task.cases,
        "best": best,
        "worst": worst,
        "image": bool(task.images),
    }


def _part(plan: BuildPlan, env: Mapping[str, str]) -> dict[str, Any]:
    return {"workdir": plan.workdir, "steps": plan.steps, "env": dict(env)}


def contract_of(task: HarborTask) -> str:
    """problem.yaml.

    Raises:
        Misconfigured: the instruction is too long.
    """
    work, verifier = task.settings.environment, task.settings.verifier
    fields = {
        "name": task.name,
        "card": _card(task),
        "submission": {"kind": "artifact", "max_bytes": SUBMITTED_BYTES},
        "objectives": _objectives(task),
        "fixed": task.validation is not None,
        "grading": _limits(task, task.settings.of_tests, RUNS * verifier.timeout_sec, "tests"),
        "run": _limits(task, work, task.settings.agent.timeout_sec or 600.0, "environment"),
        "baselines": ["start"],
    }
    return HEAD + yaml.dump(fields, Dumper=_Blocks, sort_keys=False, allow_unicode=True, width=110)


class _Blocks(yaml.SafeDumper):
    """Texts of several lines as blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Blocks.add_representer(str, _block)


def _objectives(task: HarborTask) -> list[dict[str, Any]]:
    floor, best, worst = task.scale
    reward = task.settings.metadata.reward
    source = STATED if reward else "rewards are 0 to 1 by convention"
    stated, measured = {"value": floor, "source": source}, {"baseline": "start"}
    found = {
        "name": "reward",
        "unit": (reward.description if reward else "")[:200] or "reward",
        "direction": "higher" if best > worst else "lower",
        "range": sorted([worst, best]),
        "role": "shown" if task.cases else "climb",
        "floor": measured if task.start and not task.cases else stated,
        "ceiling": {"value": best, "source": source},
    }
    if not task.cases:
        return [found]
    passed = {
        "name": "passed",
        "unit": "share of test cases",
        "floor": measured,
        "ceiling": {"value": 1.0, "source": "every case is passed"},
    }
    return [passed, found]


def _limits(task: HarborTask, found: Environment, wall_s: float, which: str) -> dict[str, Any]:
    memory = found.memory_mb or task.settings.environment.memory_mb or 4096
    fields = {
        "wall_s": min(float(wall_s), 7 * 86_400.0),
        "memory_gib": round(min(max(memory / 1024, 0.25), 4096), 3),
        "cpus": float(min(found.cpus or task.settings.environment.cpus or 1, 1024)),
        "folders": task.folders,
    }
    return fields | ({"image": task.images[which]} if task.images else {})


def _card(task: HarborTask) -> str:
    text = read_text(task.package.instruction)
    if len(text) > CARD_CHARACTERS:
        raise Misconfigured(
            f"{task.package.instruction} has more than {CARD_CHARACTERS:,} characters. Shorten it."
        )
    explained = read_text(Path(__file__).parent / CARD).format(
        artifacts=", ".join(task.artifacts),
        example=task.artifacts[0].lstrip("/"),
        workdir=task.built.workdir,
        folders=", ".join(f for f in task.folders if f not in OF_GRADER),
        feedback=VALIDATED.format(validation=task.validation) if task.validation else DEALT,
        units=CASES if task.cases else SINGLE,
    )
    return "\n".join(line.rstrip() for line in (text + explained).splitlines()).strip() + "\n"
