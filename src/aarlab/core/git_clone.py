"""What is wrong with a folder of data that was cloned with git, not downloaded from the hub."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from aarlab.core.errors import Misconfigured

POINTER, POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1024


def refuse_pointer(path: Path, n_bytes: int) -> None:
    """Refuse a file of a clone that stands for one which git did not fetch."""
    if n_bytes < POINTER_BYTES and path.read_bytes().startswith(POINTER):
        raise Misconfigured(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in that clone, "
            "or download the file from the hub.",
            path=path,
        )


def as_on_github(folder: Path, patterns: Sequence[str]) -> str:
    """Of a folder that lacks these files: that it is laid out as on GitHub, if it is."""
    names = {pattern.rsplit("/", 1)[-1] for pattern in patterns}
    other = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if any(fnmatch(path.name, name) for name in names if name.strip("*.")) and path.is_file()
    )
    cloned = [
        name
        for name in (".git", ".github", "setup.py", "pyproject.toml", "requirements.txt")
        if (folder / name).exists()
    ]
    if not other and not cloned:
        return ""
    found = f"it has {other[0]}" if other else f"it has {cloned[0]}"
    return f" This looks like the layout of GitHub's repository ({found}), not the hub's."
