"""Files from the package index, taken at set-up and checked by SHA-256. None of their content is
committed."""

import hashlib
import subprocess
import sys
from pathlib import Path

from aarlab.core.errors import Misconfigured, Transient


def from_package_index(
    requirement: str, *, filename: str, sha256: str, cache: Path, source: bool = False
) -> Path:
    """The path of one distribution file of `requirement` ("name==version"), downloaded by pip
    without dependencies.

    A file that is in `cache` already is checked and used; nothing is asked of the network then.

    Raises:
        Transient: pip could not download it; the message has its last output.
        Misconfigured: the file's SHA-256 is not the expected one; delete it or find out who changed
            it.
    """
    path = cache / filename
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _pip_download(requirement, cache, source=source)
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no such file"
    if found != sha256:
        raise Misconfigured(
            f"{path} has SHA-256 {found}, expected {sha256}. Delete the file and try again.",
            path=path,
        )
    return path


def _pip_download(requirement: str, cache: Path, *, source: bool) -> None:
    kind = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        *kind,
        "-d",
        str(cache),
        requirement,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise Transient(
            f"Could not download {requirement}: {reason[0]} Check the network and try again."
        )
