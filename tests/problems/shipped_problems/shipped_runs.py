"""The shipped problems, set up and graded in real sandboxes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import aarlab.problems
from aarlab.core.layout import PreparedFolder
from aarlab.problems.folder.folder_problem import FolderProblem, read_problem
from aarlab.runs.grading import Grader, Outcome, read_units
from aarlab.runs.prepared import prepare, submission
from aarlab.sandbox import Bubblewrap


class Shipped:
    """A shipped problem, with its data for data seed 1."""

    def __init__(self, name: str, under: Path) -> None:
        self.problem: FolderProblem = read_problem(
            Path(aarlab.problems.__file__).parent / "shipped" / name
        )
        self.under = under
        self.made = self.prepared(1, under)

    def prepared(self, seed: int, under: Path) -> PreparedFolder:
        return prepare(self.problem, seed, under, Bubblewrap)

    def units(self, split: str) -> dict[str, str]:
        return read_units(self.made, split)

    def baseline(self, name: str, split: str) -> dict[str, float]:
        """The mean of each objective."""
        files = {"method.py": self.problem.folder.baseline(name).read_text()}
        with submission(self.problem, self.made, files, split, 7, Bubblewrap) as handed_in:
            found = Grader(self.problem, self.made, Bubblewrap).grade(handed_in, split)
        return means(found)

    def grade(self, files: Mapping[str, str], folder: Path, split: str = "feedback") -> Outcome:
        """What becomes of a submission of these files, written to `folder`."""
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return Grader(self.problem, self.made, Bubblewrap).grade(folder, split)


def means(found: Outcome) -> dict[str, float]:
    """The mean of each objective of a grading that has scores."""
    assert hasattr(found, "values_M"), found
    return {name: float(values_M.mean()) for name, values_M in found.values_M.items()}


def digests(made: PreparedFolder) -> dict[str, str]:
    """Of every file that a problem's prepare.py wrote."""
    return {
        path.relative_to(made.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(made.root.rglob("*"))
        if path.is_file()
    }
