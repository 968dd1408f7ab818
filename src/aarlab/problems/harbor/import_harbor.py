"""A Harbor task made a problem in a folder; or what is missing for that, all at once.

What decides: its tests grade `final`, and its public validation grades `feedback`. Without one, and
with a report of test cases (CTRF), the cases are dealt to both splits. With neither, what feedback
says would be what final confirms, and the task is refused.
"""

import importlib.util
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import HarborPackage, ImportedFolder
from aarlab.core.plain_text import read_bytes, read_text
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.harbor import images
from aarlab.problems.harbor.dockerfile import BuildPlan, read_dockerfile, script_needs
from aarlab.problems.harbor.harbor_contract import CASES, SINGLE, HarborTask, contract_of, plan_of
from aarlab.problems.harbor.task_file import Environment, TaskFile, read_task_file

MOST_FILES, MOST_BYTES = 10_000, 512 << 20
TEMPLATES = (
    "templates/harbor_task.txt",
    "templates/prepare.txt",
    "templates/grade.txt",
    "templates/start.txt",
)
BESIDE = (
    "where tests/test.sh runs what was submitted, that code can write the reward, here as in Harbor"
)


@dataclass(frozen=True)
class Imported:
    """What became of a task: the new folder, and what its user should know."""

    folder: Path
    units: str
    notes: list[str]


def import_harbor(task: Path, folder: Path) -> Imported:
    """Make a problem's folder of a Harbor task.

    Raises:
        Misconfigured: the folder is there, the task is none, or needs what is not here; with
            everything that is missing.
    """
    package = HarborPackage(task.resolve())
    _require_package(package, task, folder)
    files = list(_files(package.root))
    settings = read_task_file(package.settings)
    if not settings.artifacts and settings.separate:
        raise Misconfigured(
            f"{package.settings}: no `artifacts` are declared, and the tests run apart from the "
            "work: honest work would score 0. Add `artifacts = [...]` above the first table."
        )
    found = HarborTask(package, settings, *_plans(package, settings))
    lacking = [*found.built.missing, *found.tests.missing, *_of_images(package, settings)]
    never = list(_of_settings(package, settings))
    if never or (lacking and not images.answers()):
        remedy = (
            "Take these out of the task: no sandbox here gives them"
            if never
            else "Run this where a docker engine answers (`docker info`), or take these out: "
            "without one, a task may need Python and a shell alone"
        )
        missing = "; ".join(dict.fromkeys(never + lacking))
        raise Misconfigured(f"{task} needs what there is not here: {missing}. {remedy}.")
    if lacking:
        found = replace(found, images=images.built(package, settings, found.name))
    try:
        return _write(found, ImportedFolder(folder), files)
    except BaseException:  # half of it would be taken for a problem
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _require_package(package: HarborPackage, task: Path, folder: Path) -> None:
    if os.path.lexists(folder):
        raise Misconfigured(f"{folder} is there already. Name another FOLDER, or remove it.")
    if package.root.is_file():
        raise Misconfigured(f"{task} is a file. Unpack it, and name the folder with the task.")
    for path in (package.settings, package.instruction, package.test):
        if not path.is_file():
            name = path.relative_to(package.root)
            raise Misconfigured(f"{task} has no {name}. Name the folder of one Harbor task.")


def _files(root: Path) -> Iterator[Path]:
    """The files of a package's environment and tests. All that it has must be plain."""
    waiting, number, total = [root], 0, 0
    while waiting:
        for path in sorted(map(Path, os.scandir(waiting.pop()))):
            status, name = path.lstat(), path.relative_to(root)
            number, total = number + 1, total + status.st_size
            if number > MOST_FILES or total > MOST_BYTES:
                raise Misconfigured(
                    f"{root} has more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes, see "
                    f"{str(name)[:200]!a}. Name one task, or take a smaller sample of its data."
                )
            try:
                name.as_posix().encode()
            except UnicodeEncodeError as error:
                raise Misconfigured(
                    f"{root}: the name {str(name)[:200]!a} is no UTF-8 text. Rename it."
                ) from error
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            elif not stat.S_ISREG(status.st_mode):
                what = "a link" if path.is_symlink() else "no plain file"
                raise Misconfigured(f"{root}: {str(name)[:200]!a} is {what}. Write a copy of it.")
            elif name.parts[0] in {"environment", "tests"}:
                yield path


def _plans(package: HarborPackage, settings: TaskFile) -> tuple[BuildPlan, BuildPlan]:
    """What the Dockerfile of the environment does, and that of the tests."""
    built = read_dockerfile(package.recipe) if package.recipe.is_file() else BuildPlan()
    if settings.environment.workdir:
        built.workdir = settings.environment.workdir
    if settings.separate and package.tests_recipe.is_file():
        return built, read_dockerfile(package.tests_recipe)
    return built, replace(built, missing=[], notes=[])


def _of_images(package: HarborPackage, settings: TaskFile) -> Iterator[str]:
    """What an image can have that is not here."""
    for name, found in _environments(settings):
        if found.docker_image:
            yield f"task.toml: {name}.docker_image = {found.docker_image!r}"
    for script in (package.test, package.validation, package.start):
        yield from script_needs(script) if script.is_file() else ()


def _of_settings(package: HarborPackage, settings: TaskFile) -> Iterator[str]:
    """What neither files nor images give."""
    if settings.steps:
        yield "task.toml: [[steps]], several steps"
    if settings.verifier.collect:
        yield "task.toml: [[verifier.collect]], commands in running containers"
    for path in (package.compose, package.ignored):
        if path.is_file():
            yield f"{path.relative_to(package.root)}"
    for artifact in settings.artifacts:
        if artifact.exclude or artifact.service not in {None, "main"}:
            yield f"task.toml: artifacts: {artifact.source}: `exclude` or `service`"
    everything = settings.environment.env | settings.of_tests.env | settings.verifier.env
    for name, value in everything.items():
        if "${" in value:
            yield f"task.toml: the variable {name}, which comes from the host"
    for name, found in _environments(settings):
        wrong = {
            f"os = {found.os!r}": found.os.lower() != "linux",
            f"gpus = {found.gpus}": found.gpus,
            "tpu": found.tpu,
            "mcp_servers": found.mcp_servers,
            f"allowed_hosts = {found.allowed_hosts}": found.network == "allowlist",
        }
        yield from (f"task.toml: {name}.{what}" for what, there in wrong.items() if there)


def _environments(settings: TaskFile) -> list[tuple[str, Environment]]:
    both = [("environment", settings.environment), ("verifier.environment", settings.of_tests)]
    return both if settings.of_tests is not settings.environment else both[:1]


def _write(task: HarborTask, target: ImportedFolder, files: list[Path]) -> Imported:
    task.require_places()
    if not task.cases and not task.validation:
        raise Misconfigured(
            f"{task.package.root} gives one reward and has no environment/validation/val.sh that "
            "its Dockerfile copies: feedback would be what final confirms. Write one on other "
            "data; or, without [metadata.reward], let tests/test.sh run pytest or write "
            "/logs/verifier/ctrf.json, whose test cases can be dealt to both."
        )
    contract, plan = contract_of(task), plan_of(task)
    notes = [*_notes(task), *_copy(task, target, files)]
    for which, image in task.images.items():
        place = target.image_files(which)
        names = images.export(image, [f for f in task.folders if f != "/logs"], place)
        steps = [["copy", [name.lstrip("/"), name], 0] for name in names]
        plan[{"environment": "environment", "tests": "verifier"}[which]]["steps"] = steps
    helper, prepare, grade, start = (read_text(Path(__file__).parent / name) for name in TEMPLATES)
    written = {target.helper: helper, target.prepare: prepare, target.grade: grade}
    written |= {target.baseline("start"): start, target.plan: json.dumps(plan, indent=1) + "\n"}
    for path, text in (written | {target.contract: contract}).items():
        write_whole(path, text)
    read_problem(target.root)
    return Imported(target.root, CASES if task.cases else SINGLE, notes)


USED = {r"\bpytest\b": ("pytest", "pytest"), r"--ctrf\b": ("ctrf", "pytest-json-ctrf")}


def _copy(task: HarborTask, target: ImportedFolder, files: list[Path]) -> Iterator[str]:
    """Copy the environment and the tests, never the solution; what the user should know."""
    seen: dict[bytes, Path] = {}
    for path in files:
        data, name = read_bytes(path), path.relative_to(task.package.root)
        if path.suffix == ".sh" and b"\r\n" in data:
            data = data.replace(b"\r\n", b"\n")
            yield f"{name} had line ends of Windows, which bash does not take: they are changed"
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        write_whole(target.root / name, data, mode=mode)
        twin = seen.setdefault(data, name)
        if data and twin.parts[0] != name.parts[0]:
            yield f"{name} is the same as {twin}: see that nothing of the tests is public"
    for folder in (target.environment, target.tests):
        folder.mkdir(exist_ok=True)


def _notes(task: HarborTask) -> Iterator[str]:
    """What differs from how Harbor would run it."""
    yield from dict.fromkeys((*task.built.notes, *task.tests.notes))
    modes = {found.network for _, found in _environments(task.settings)}
    if modes != {"no-network"}:
        yield "the package allows a network, and there is none here"
    if not task.settings.artifacts:
        yield f"no artifacts are declared: what is submitted is all of {task.built.workdir}"
    if lacking := [] if task.images else list(_modules_that_lack(task.package)):
        yield (
            "the scripts run by the Python that runs aarlab, which lacks what they use: pip "
            f"install {' '.join(lacking)}"
        )
    yield BESIDE


def _modules_that_lack(package: HarborPackage) -> Iterator[str]:
    """The packages of pytest that a script names, and that are not installed here."""
    scripts = [path for path in (package.test, package.validation) if path.is_file()]
    text = "\n".join(map(read_text, scripts))
    for word, (module, name) in USED.items():
        if re.search(word, text) and importlib.util.find_spec(module) is None:
            yield name
