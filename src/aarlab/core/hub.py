"""Files from the model hub, or from a folder laid out like it: DIR/<owner>/<name>/<files as
upstream>.

Beside the files of `cache/hub/<kind>s/<owner>/<name>/` lies `<name>.source.json`: the revision that
was asked for, the commit that it led to, and the SHA-256 of every file. What is not as recorded is
refused: a testbed of other files is another testbed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.git_clone import as_on_github, refuse_pointer
from aarlab.core.records import Record
from aarlab.core.settings import data_from, hub_reachable_by_choice
from aarlab.core.strict_json import read_json

Kind = Literal["dataset", "model"]
MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer*")
LARGE = 1 << 28  # bytes from which a file whose size and time have not changed is not hashed again
FOLDER = "folder"  # stands for the commit of a local folder that does not say which commit it is


@dataclass(frozen=True)
class Source:
    """A data set of the hub: which files of it are needed, and under which licence they are."""

    name: str  # "owner/name"
    # a branch, a commit, or its first 7 to 39 digits: the hub is asked which commit begins so, and
    # the whole one is recorded and used
    revision: str
    licence: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class HubSnapshot:
    """Checked files of one repository. `sha256`: by path relative to `folder`, in order."""

    name: str
    folder: Path
    commit: str
    sha256: dict[str, str]


class ModelSource(Record):
    """A causal language model in Hugging Face's format."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Its name on the model hub, or what a local folder is to be called in tables."""
    revision: str = "main"
    """Branch, tag or commit. The resolved commit is recorded; a set-up that resolves to another
    commit fails."""
    folder: Path | None = None
    """A local folder to take instead of asking the hub."""


class _File(Record):
    sha256: str
    size: int
    mtime_ns: int


class _Recorded(Record):
    """source.json: what was found at the first use."""

    name: str
    revision: str
    commit: str
    files: dict[str, _File]


def dataset(source: Source, cache: Path) -> HubSnapshot:
    """The data set's files: from the folder of `--from DIR` if it has them, else from the cache,
    else from the hub.

    Raises:
        Transient, Misconfigured: see `snapshot`.
    """
    return snapshot(
        source.name,
        source.revision,
        kind="dataset",
        patterns=source.patterns,
        cache=cache,
        local=data_from(),
    )


def ensure_model(source: ModelSource, cache: Path) -> Path:
    """The folder of a causal language model in Hugging Face's format: weights in safetensors,
    configuration and tokenizer.

    Raises:
        Misconfigured: its local folder does not hold a model.
        Transient, Misconfigured: see `snapshot`.
    """
    folder = source.folder
    if folder is None:
        local = data_from()
        found = snapshot(
            source.name,
            source.revision,
            kind="model",
            patterns=MODEL_FILES,
            cache=cache,
            local=local,
        )
        folder = found.folder
    if not (folder / "config.json").is_file():
        raise Misconfigured(
            f"{folder} has no config.json. Give the folder of a model in Hugging Face's format."
        )
    if index := next(iter(sorted(folder.glob("*.safetensors.index.json"))), None):
        listed = read_json(index, "Download it again.")
        shards = set(listed["weight_map"].values())
        if gaps := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise Misconfigured(
                f"{folder} has no {', '.join(gaps)}, which {index.name} names: it was copied in "
                "part.",
                missing=gaps,
            )
    return folder


def snapshot(
    name: str,
    revision: str,
    *,
    kind: Kind,
    patterns: Sequence[str],
    cache: Path,
    local: Path | None,
) -> HubSnapshot:
    """The files of a repository that match `patterns`, checked. `local`/<owner>/<name> is used in
    place if it is there; files that were downloaded before are used without asking the network.

    Raises:
        Transient: the hub could not be reached, or may not be used (HF_HUB_OFFLINE).
        Misconfigured: the hub does not have it, a pattern matches no file, a file differs from its
            record, or `revision` resolves to another commit than before.
    """
    folder = cache / "hub" / f"{kind}s" / name
    note = folder.with_name(f"{folder.name}.source.json")
    if local is not None and (local / name).is_dir():
        folder, note = local / name, note.with_name(f"{folder.name}.local.source.json")
        _refuse_gaps(folder, patterns)
        return _checked(name, revision, _commit_of(folder), folder, patterns, note)
    recorded = _read(note)
    if (
        recorded is None
        or not (revision == recorded.revision or _names(revision, recorded.commit))
        or _missing(folder, recorded, patterns)
    ):
        commit = _download(name, revision, kind, patterns, folder, recorded)
        _refuse_gaps(folder, patterns)
    else:
        commit = recorded.commit
    return _checked(name, revision, commit, folder, patterns, note)


def _checked(
    name: str, revision: str, commit: str, folder: Path, patterns: Sequence[str], note: Path
) -> HubSnapshot:
    """The snapshot after comparing its files with their record; new files are recorded."""
    recorded = _read(note) or _Recorded(name=name, revision=revision, commit=commit, files={})
    if recorded.commit != commit:
        raise _moved(name, revision, commit, recorded, folder, note)
    files = {
        path: _looked_at(folder / path, recorded.files.get(path))
        for path in _matching(folder, patterns)
    }
    for path, found in files.items():
        refuse_pointer(folder / path, found.size)
        if (known := recorded.files.get(path)) is not None and known.sha256 != found.sha256:
            raise Misconfigured(
                f"{folder / path} has SHA-256 {found.sha256}, but had {known.sha256} when it was "
                f"first used: it was changed or copied in part. Restore it; or delete {note} to "
                "use the new file for new testbeds.",
                path=folder / path,
            )
        if known is None and (stated := _etag(folder, path)) not in {None, found.sha256}:
            raise Misconfigured(
                f"{folder / path} has SHA-256 {found.sha256}, but the hub gives {stated}: it was "
                "changed or copied in part. Delete it and download it again.",
                path=folder / path,
            )
    if files != {path: recorded.files.get(path) for path in files}:
        written = recorded.model_copy(update={"files": {**recorded.files, **files}})
        write_whole(note, written.model_dump_json(indent=1))
    return HubSnapshot(name, folder, commit, {path: file.sha256 for path, file in files.items()})


def _looked_at(path: Path, known: _File | None) -> _File:
    stat = path.stat()
    if (
        known
        and stat.st_size >= LARGE
        and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    ):
        return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return _File(sha256=digest, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _read(note: Path) -> _Recorded | None:
    if not note.exists():
        return None
    try:
        return _Recorded.model_validate_json(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Misconfigured(
            f"{note} is damaged: {error}. Delete it, and the folder beside it.", path=note
        ) from error


def _matching(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Paths relative to the folder, in order; nothing of what the hub's client keeps in
    `.cache`."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(
        p
        for p in found
        if not p.startswith(".cache/") and any(fnmatch(p, pattern) for pattern in patterns)
    )


def _gaps(folder: Path, patterns: Sequence[str]) -> list[str]:
    """The patterns without a file; of a model's, where any file may be missing that it has no use
    for, the necessary ones."""
    needed = (
        ("config.json", "*.safetensors", "tokenizer*")
        if tuple(patterns) == MODEL_FILES
        else patterns
    )
    return [pattern for pattern in needed if not _matching(folder, [pattern])]


def _names(revision: str, commit: str) -> bool:
    """Whether a revision is this commit, or its first 7 digits or more."""
    return re.fullmatch("[0-9a-f]{7,40}", revision) is not None and commit.startswith(revision)


def _missing(folder: Path, recorded: _Recorded | None, patterns: Sequence[str]) -> list[str]:
    """The patterns without a file, and the recorded files of these patterns that are gone."""
    known = [
        p
        for p in (recorded.files if recorded else ())
        if any(fnmatch(p, pattern) for pattern in patterns)
    ]
    return _gaps(folder, patterns) + [p for p in known if not (folder / p).is_file()]


def _refuse_gaps(folder: Path, patterns: Sequence[str]) -> None:
    if gaps := _gaps(folder, patterns):
        raise Misconfigured(
            f"{folder} has no file {', '.join(gaps)}.{as_on_github(folder, gaps)} Copy the files "
            "there as the model hub lays them out, with their names.",
            missing=gaps,
        )


def _moved(
    name: str, revision: str, commit: str, recorded: _Recorded, folder: Path, note: Path
) -> Misconfigured:
    return Misconfigured(
        f"{name} at revision {revision} is commit {commit}, but commit {recorded.commit} "
        f"(revision {recorded.revision}) was used before. Set revision {recorded.commit} to keep "
        f"that commit; or delete {note} and {folder} to use the new commit for new testbeds.",
        commit=commit,
    )


def _commit_of(folder: Path) -> str:
    """The commit that the hub's client noted when it downloaded into this folder; FOLDER if it was
    not it that did."""
    notes = sorted((folder / ".cache" / "huggingface" / "download").rglob("*.metadata"))
    commits = {note.read_text(encoding="utf-8").splitlines()[0] for note in notes}
    return commits.pop() if len(commits) == 1 else FOLDER


def _etag(folder: Path, path: str) -> str | None:
    """The SHA-256 that the hub's client noted for a file when it downloaded it; None if it did not,
    or noted another hash."""
    note = folder / ".cache" / "huggingface" / "download" / f"{path}.metadata"
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    return lines[1] if len(lines) > 1 and re.fullmatch("[0-9a-f]{64}", lines[1]) else None


def _download(
    name: str,
    revision: str,
    kind: Kind,
    patterns: Sequence[str],
    folder: Path,
    recorded: _Recorded | None,
) -> str:
    """Download what is missing; the commit that the revision leads to. A broken download is
    continued by the next call."""
    missing = _missing(folder, recorded, patterns) or [*patterns]
    if not hub_reachable_by_choice():
        raise _unreachable(name, missing, "HF_HUB_OFFLINE is set.")
    try:
        from huggingface_hub import HfApi, errors, snapshot_download
    except ImportError as error:
        raise Misconfigured("The hub's client is missing: pip install 'aarlab[study]'.") from error
    try:
        info = HfApi().dataset_info if kind == "dataset" else HfApi().model_info
        about = info(name, revision=whole_commit(name, revision, kind), files_metadata=True)
        commit = str(about.sha)
        if recorded is not None and recorded.commit != commit:
            raise _moved(
                name,
                revision,
                commit,
                recorded,
                folder,
                folder.with_name(f"{folder.name}.source.json"),
            )
        snapshot_download(
            name, repo_type=kind, revision=commit, local_dir=folder, allow_patterns=list(patterns)
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise Misconfigured(
            f"The hub does not offer {kind} {name} at revision {revision}: {_first_line(error)}"
        ) from error
    # HTTPError is of the HTTP library that the client uses
    except (OSError, errors.HTTPError) as error:  # type: ignore
        raise _unreachable(name, missing, _first_line(error)) from error
    for path, stated in _stated(about.siblings or [], patterns):
        if _looked_at(folder / path, None).sha256 != stated:
            (folder / path).unlink()
            raise Transient(
                f"{path} of {name} was downloaded incompletely and was removed. Try again."
            )
    return commit


def whole_commit(name: str, revision: str, kind: Kind) -> str:
    """The commit that begins so; a branch, a tag and a whole commit are left as they are: the hub
    takes no shortened ones.

    Raises:
        Misconfigured: no commit of the repository begins so, or several do.
    """
    if not shortened(revision):
        return revision
    from huggingface_hub import HfApi

    commits = HfApi().list_repo_commits(name, repo_type=kind)
    found = sorted({c.commit_id for c in commits if c.commit_id.startswith(revision)})
    if len(found) != 1:
        raise Misconfigured(
            f"{len(found)} commits of {kind} {name} begin with {revision}; one is needed. Give the "
            "whole commit, or put the files into a folder (--from DIR).",
            revision=revision,
        )
    return found[0]


def shortened(revision: str) -> bool:
    """Whether it is the beginning of a commit."""
    return re.fullmatch("[0-9a-f]{7,39}", revision) is not None


def _stated(siblings: Sequence[Any], patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of the wanted files for which the hub gives one: files that it stores
    outside git."""
    for file in siblings:
        lfs: Mapping[str, str] | None = file.lfs
        if lfs and any(fnmatch(file.rfilename, pattern) for pattern in patterns):
            yield file.rfilename, lfs["sha256"]


def _unreachable(name: str, missing: Sequence[str], why: str) -> Transient:
    owner, _, short = name.partition("/")
    return Transient(
        f"{', '.join(missing)} of {name} cannot be downloaded: {why} Try again; or put the files "
        f"into a folder as DIR/{owner}/{short}/... and give --from DIR (AAR_DATA_FROM).",
        missing=list(missing),
    )


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{lines[0].rstrip('.') if lines else type(error).__name__}."
