"""All problems by name: those that ship, and a user's own items or file."""

import hashlib
from dataclasses import replace
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.registry import Registry
from aarlab.core.settings import expanded
from aarlab.problems.folder.folder_problem import no_problem
from aarlab.problems.from_file import from_file
from aarlab.problems.problem import Problem

# one is meant by such a name
FILES = (".json", ".csv", ".tsv", ".txt", ".parquet", ".gz", ".zip", ".zst", ".xlsx", ".jsonl")


class Problems(Registry[Problem]):
    """Problems by name; a name that ends in .jsonl is the path of a user's own items
    (`from_file`), one that ends in .py of a file that registers a problem. The version of such a
    problem has a digest of its file."""

    def __getitem__(self, name: str) -> Problem:
        if name.endswith(".py"):
            found, text = super().__getitem__(name), expanded(name, "the problem").read_bytes()
            digest = hashlib.sha256(text).hexdigest()[:8]
            return replace(found, version=f"{found.version}-{digest}")
        if not name.endswith(".jsonl"):
            if Path(name).expanduser().is_dir():
                raise Misconfigured(no_problem(Path(name).expanduser()))
            if name.lower().endswith(FILES) or "/" in name:
                raise Misconfigured(
                    f"{name} is not a .jsonl file. Write your own items as JSON lines (one object "
                    "on each line) in a file whose name ends in .jsonl, or name a problem: "
                    f"{', '.join(sorted(self))}."
                )
            return super().__getitem__(name)
        found = from_file(name)
        if found.name in self:
            raise Misconfigured(
                f"The file {name} has the same name as the problem '{found.name}'. Rename the "
                "file.",
                name=name,
            )
        return found


PROBLEMS = Problems("problem")
