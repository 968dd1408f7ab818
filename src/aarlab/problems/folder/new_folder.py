"""A new problem in a folder, as an example that runs at once and is to be changed."""

from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.layout import ProblemFolder
from aarlab.core.plain_text import read_text
from aarlab.core.records import Record
from aarlab.problems.folder.folder_problem import PROBLEM_NAME, Kind

TEMPLATES: dict[Kind, tuple[str, ...]] = {  # contract, prepare, grade, and baselines
    "predictions": (
        "templates/predictions/contract.txt",
        "templates/predictions/prepare.txt",
        "templates/predictions/grade.txt",
        "templates/predictions/baselines/mean.txt",
        "templates/predictions/baselines/linear.txt",
    ),
    "program": (
        "templates/program/contract.txt",
        "templates/program/prepare.txt",
        "templates/program/grade.txt",
        "templates/program/baselines/upwards.txt",
        "templates/program/baselines/halves.txt",
    ),
    "artifact": (
        "templates/artifact/contract.txt",
        "templates/artifact/prepare.txt",
        "templates/artifact/grade.txt",
        "templates/artifact/baselines/one-centre.txt",
        "templates/artifact/baselines/some-points.txt",
    ),
}


class _Named(Record):
    name: str = PROBLEM_NAME


def write_new(name: str, kind: Kind, folder: Path) -> list[Path]:
    """Write a folder that `aar problem check` admits as it is; returns its files.

    Raises:
        Misconfigured: the name cannot be one, or the folder is there.
    """
    try:
        _Named(name=name)
    except ValueError as error:
        raise Misconfigured(
            f"'{name}' cannot be a problem's name. Use lower-case letters, digits and hyphens, a "
            "letter first, 40 at most."
        ) from error
    if folder.exists():
        raise Misconfigured(f"{folder} is there already. Name another --dir, or remove it.")
    problem = ProblemFolder(folder)
    sources = [Path(__file__).parent / template for template in TEMPLATES[kind]]
    targets = [problem.contract, problem.prepare, problem.grade]
    targets += [problem.baseline(source.stem) for source in sources[len(targets) :]]
    for source, target in zip(sources, targets, strict=True):
        write_whole(target, read_text(source).replace("name: NAME", f"name: {name}", 1))
    return targets
