"""A problem in a folder, set up: its data made by `prepare.py`, and submissions made by code, each
in a sandbox without network."""

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.core.files import folder_whole
from aarlab.core.layout import Home, PreparedFolder, PublicFolder
from aarlab.problems.folder.folder_problem import FolderProblem, Resources
from aarlab.problems.folder.predictions import read_ids
from aarlab.problems.folder.shipped_folders import SHIPPED
from aarlab.problems.secret_seed import secret_seed
from aarlab.runs.endings import Ending, ending_of
from aarlab.runs.folder_run import (
    BEGUN,
    METHOD,
    folder_sandbox,
    limits_of,
    run_once,
    weights_words,
)
from aarlab.runs.grading import read_units
from aarlab.runs.make_inside import PREDICTIONS
from aarlab.runs.written_code import write_code
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import MakeSandbox, Mount

SPLITS = ("feedback", "final")
INSIDE = "aarlab.runs.make_inside"


def prepare_in_secret(
    problem: FolderProblem, data_seed: int, home: Home, make_sandbox: MakeSandbox
) -> PreparedFolder:
    """As `prepare`, drawn by the data seed together with a secret of the state folder: whoever has
    prepare.py, which is open for a shipped problem, cannot make the grader's secrets again.

    Raises:
        Misconfigured, CouldNotBeRun: see `prepare` and `secret_seed`.
    """
    drawn_by = secret_seed(home, _whose(problem), data_seed)
    return prepare(problem, data_seed, home.problems, make_sandbox, drawn_by=drawn_by)


def prepare(
    problem: FolderProblem,
    data_seed: int,
    under: Path,
    make_sandbox: MakeSandbox,
    *,
    drawn_by: int | None = None,
) -> PreparedFolder:
    """The data of a problem for one data seed, made where they were not made before. `drawn_by`:
    what prepare.py gets as `seed`, where it is not the data seed.

    Raises:
        Misconfigured: prepare.py failed, or left out what a problem needs.
        CouldNotBeRun: the machine ended it.
    """
    found = PreparedFolder(under / f"{problem.key}-seed{data_seed}")
    if found.ready.exists():
        return found
    with folder_whole(found.root) as place:
        partial = PreparedFolder(place)
        for folder in (partial.public, partial.sealed, *map(partial.secrets, SPLITS)):
            folder.mkdir(parents=True)
        at = {"public": partial.public, "sealed": partial.sealed, "secret": partial.secret}
        seed = data_seed if drawn_by is None else drawn_by
        ended = _run(problem, problem.folder.root, problem.folder.prepare.name, seed, {}, at)(
            make_sandbox, problem.contract.grading
        )
        if ended is not None:
            raise _failed(problem, ended, problem.folder.prepare)
        try:
            _require_whole(problem, partial)
        except Misconfigured as error:  # names a file where it lies for the moment
            words = str(error).replace(f"{partial.root}/", f"{problem.folder.prepare} wrote ")
            raise Misconfigured(words) from error
        partial.ready.write_text("{}")
        partial.secret.chmod(0o700)
        if not found.ready.exists():  # else another process was faster, and keeps more beside them
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(found.root)
    return found


def _whose(problem: FolderProblem) -> str:
    """The name for which a seed is drawn. Any folder may take any name, and its prepare.py may show
    the seed that it gets: so the name alone stands for the problem that ships, and another folder
    has the seeds of its own place."""
    root, name = problem.folder.root, problem.contract.name
    return name if root.parent == SHIPPED else f"{root}|{name}"


@contextlib.contextmanager
def fresh_draw(
    problem: FolderProblem, home: Home, label: str, make_sandbox: MakeSandbox
) -> Iterator[PreparedFolder]:
    """The data of a problem drawn again, by a secret of the state folder and the label; they are
    deleted afterwards.

    Raises:
        Misconfigured, CouldNotBeRun: see `prepare` and `secret_seed`.
    """
    with scratch() as place:
        drawn_by = secret_seed(home, _whose(problem), label)
        yield prepare(problem, 0, place, make_sandbox, drawn_by=drawn_by)


@contextlib.contextmanager
def ablated(
    problem: FolderProblem,
    prepared: PreparedFolder,
    name: str,
    seed: int,
    make_sandbox: MakeSandbox,
) -> Iterator[PreparedFolder]:
    """The same data, of which an ablation of the problem's author has taken something out of what
    is public; it sees no secret. They are deleted afterwards.

    Raises:
        Misconfigured: the ablation failed, or left something else than plain files.
        CouldNotBeRun: the machine ended it.
    """
    with scratch() as place:
        made, code = PreparedFolder(place / name), problem.folder.ablation(name)
        for part in (prepared.public, prepared.sealed, prepared.secret):
            shutil.copytree(part, made.root / part.name)
        for own in (PublicFolder(made.public).card, PublicFolder(made.public).baselines):
            shutil.rmtree(own, ignore_errors=True)  # set-up's, and not the author's
            own.unlink(missing_ok=True)
        at, more = {"public": made.public}, ("--ablate",)
        ended = _run(problem, code.parent, code.name, seed, {}, at, more=more)(
            make_sandbox, problem.contract.grading
        )
        if ended is not None:
            raise _failed(problem, ended, code)
        _require_plain(made, code)
        show_as_set_up(made, prepared)
        yield made


def show_as_set_up(made: PreparedFolder, served: PreparedFolder) -> None:
    """Put the card and the baselines beside other data of a problem, as set-up put them beside its
    own: code that reads one of them works on these data, too."""
    ours, theirs = PublicFolder(served.public), PublicFolder(made.public)
    shutil.copy(ours.card, theirs.card)
    shutil.copytree(ours.baselines, theirs.baselines)


def _failed(problem: FolderProblem, ended: Ending, code: Path) -> Exception:
    if ended.by_machine:
        return CouldNotBeRun(
            f"{code}: {ended.message}. Try again, or raise the limits "
            f"`grading` in {problem.folder.contract.name}.",
            failure=ended.failure,
        )
    words = ended.message.replace("The method", code.name).replace("answers", "data")
    return Misconfigured(f"{code}: {words}")


def _require_whole(problem: FolderProblem, made: PreparedFolder) -> None:
    """Plain files; units of both splits, none in both; inputs where predictions are submitted."""
    _require_plain(made, problem.folder.prepare)
    units = {split: read_units(made, split) for split in SPLITS}
    both = set(units["feedback"].values()) & set(units["final"].values())
    if both:
        shown = min(both).removeprefix("alone: ")[:80]
        raise Misconfigured(
            f"{problem.folder.prepare}: '{shown}' is a unit or a cluster of feedback and of final. "
            "What is confirmed must be new: put it into one of the two."
        )
    if problem.contract.submission.kind == "predictions":
        for split in SPLITS:
            if not made.inputs(split).is_file():
                raise Misconfigured(
                    f"{problem.folder.prepare}: it wrote no {made.inputs(split).name} into "
                    f"{made.inputs(split).parent.name}. Write the items that are to be answered, "
                    "one JSON object with an `id` on each line."
                )
            read_ids(made.inputs(split))


def _require_plain(made: PreparedFolder, code: Path) -> None:
    """Of what `code` wrote, nothing but files and folders: through a link, what is written beside
    the data or read of them would be elsewhere on this machine. And nothing under a name that
    set-up takes."""
    waiting = [made.root]
    while waiting:
        for path in sorted(map(Path, os.scandir(waiting.pop()))):
            kind, name = path.lstat().st_mode, path.relative_to(made.root).as_posix()
            if stat.S_ISDIR(kind):
                waiting.append(path)
            elif not stat.S_ISREG(kind):
                raise Misconfigured(f"{code}: {name[:80]!a} is no plain file. Write a copy.")
    shown = PublicFolder(made.public)
    for path, what in ((shown.card, "card"), (shown.baselines, "baselines")):
        if path.exists():
            raise Misconfigured(
                f"{code}: it wrote {path.name} into public, where the problem's {what} will be. "
                "Take another name."
            )


@contextlib.contextmanager
def submission(
    problem: FolderProblem,
    prepared: PreparedFolder,
    files: Mapping[str, str],
    split: str,
    seed: int,
    make_sandbox: MakeSandbox,
) -> Iterator[Path]:
    """What code submits for a split: a file with predictions, or a folder. It sees `public` and the
    split's inputs alone.

    Raises:
        InvalidSubmission: the code failed, or submitted nothing.
        CouldNotBeRun: the machine ended it.
    """
    with scratch() as place:
        code, out = place / "code", place / "out"
        write_code(code, files)
        out.mkdir()
        seen = {"public": prepared.public}
        if problem.contract.submission.kind == "predictions":
            seen["inputs"] = prepared.inputs(split)
        ended = _run(problem, code, METHOD, seed, seen, {"out": out})(
            make_sandbox, problem.contract.run
        )
        if ended is not None:
            kind = CouldNotBeRun if ended.by_machine else InvalidSubmission
            raise kind(ended.message.replace("answers", "submission"), failure=ended.failure)
        made = out / PREDICTIONS
        if problem.contract.submission.kind == "predictions" and not os.path.lexists(made):
            raise InvalidSubmission(
                "submit(public, inputs, out, seed) returned no predictions. Return {item id: "
                "value}."
            )
        yield made if problem.contract.submission.kind == "predictions" else out


def _run(
    problem: FolderProblem,
    code: Path,
    entry: str,
    seed: int,
    read: Mapping[str, Path],
    write: Mapping[str, Path],
    *,
    more: Sequence[str] = (),
) -> Callable[[MakeSandbox, Resources], Ending | None]:
    """One run of `make_inside`, which returns how it failed. `read`, `write`: the folders that the
    function gets, by argument; `more`: further arguments of `make_inside`."""

    def run(make_sandbox: MakeSandbox, limits: Resources) -> Ending | None:
        contract = problem.contract
        mounts = [
            Mount(code, "/code"),
            *(Mount(path, f"/{name}") for name, path in read.items()),
            *(Mount(path, f"/{name}", writable=True) for name, path in write.items()),
        ]
        with (
            scratch() as place,
            folder_sandbox(
                make_sandbox,
                f"made-{contract.name}",
                contract,
                limits,
                *mounts,
                Mount(place, "/begun", writable=True),
            ) as sandbox,
        ):
            argv = [sys.executable, "-m", INSIDE, "--seed", str(seed), *more]
            argv += ["--code", f"{sandbox.inside('/code')}/{entry}"]
            argv += ["--begun", f"{sandbox.inside('/begun')}/{BEGUN}"]
            argv += weights_words(contract, sandbox)
            for name in (*read, *write):
                argv += [f"--{name}", sandbox.inside(f"/{name}")]
            done, around = run_once(sandbox, argv, limits, place / BEGUN)
            if done.returncode == 0 and not done.limit and not done.timed_out:
                return None
            return ending_of(done, limits_of(limits), around)

    return run
