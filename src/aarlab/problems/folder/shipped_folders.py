"""The problems in folders that ship with aarlab, and the folder that a name stands for."""

from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import ProblemFolder
from aarlab.problems.folder.folder_problem import FolderProblem, read_problem

SHIPPED = Path(__file__).parents[1] / "shipped"


def shipped_folders() -> dict[str, Path]:
    """The folders of shipped problems, by name."""
    found = sorted(SHIPPED.iterdir())
    return {path.name: path for path in found if ProblemFolder(path).contract.is_file()}


def is_folder_problem(name: str) -> bool:
    """Whether a campaign's `problem` is one in a folder: a shipped name, or a path with a
    contract."""
    if "/" not in name and name in shipped_folders():
        return True
    return ProblemFolder(Path(name).expanduser()).contract.is_file()


def problem_of(name: str) -> FolderProblem:
    """The problem that a shipped name or the path of a folder stands for; a name without a slash
    that is shipped is that one.

    Raises:
        Misconfigured: there is no such problem, or its folder is wrong.
    """
    known = shipped_folders()
    if "/" not in name and name in known:
        return read_problem(known[name])
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise Misconfigured(
            f"There is no folder {name}, and no shipped problem of this name. Shipped are: "
            f"{', '.join(known)}. `aar problem list` shows all."
        )
    return read_problem(folder)
