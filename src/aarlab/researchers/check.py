"""The check of a kind of researcher, which its author calls in one line."""

import json
import tempfile
from pathlib import Path
from typing import get_args

from aarlab.core.errors import InvalidSubmission
from aarlab.researchers.researcher import (
    BRIEF,
    DATA,
    GATE,
    HOME,
    SOCKET_NAME,
    STRONG,
    Brief,
    Ended,
    IncarnationStart,
    Inside,
    Launch,
    Researcher,
)

INSIDE = Inside(home=HOME, brief=BRIEF, data=DATA, socket=f"{GATE}/{SOCKET_NAME}")
SESSION = "5b1f3a52-0f6e-4a53-9c0e-7d3b6f2f7a11"
MOST_WORD = 128 * 1024 - 1  # bytes of one argument that Linux takes


def check_researcher(researcher: Researcher) -> None:
    """Check that a kind of researcher keeps the contract. Nothing is started, but what the kind
    needs must be installed (`require`).

    Raises:
        InvalidSubmission: the kind breaks the contract; the message says how.
        Misconfigured: something that the kind needs is missing on this machine.
    """
    researcher.require()
    for mount in researcher.mounts():
        _demand(mount.source.exists(), f"mounts() names {mount.source}, which does not exist")
        _demand(
            not mount.writable,
            f"mounts() makes {mount.source} writable; a researcher may write only in its home",
        )
        taken = any(
            mount.target == p or mount.target.startswith(f"{p}/")
            for p in (HOME, BRIEF, DATA, GATE, STRONG)
        )
        _demand(
            mount.target.startswith("/") and not taken,
            f"mounts() has the target {mount.target}; choose an absolute path that is not used",
        )
    _check_brief(researcher)
    _check_launch(researcher)
    _check_ended(researcher)


def _demand(kept: bool, message: str) -> None:
    if not kept:
        raise InvalidSubmission(f"Not a researcher: {message}.")


def _brief(name: str) -> Brief:
    return Brief(
        name=name,
        direction="Look around.",
        family=None,
        seed=7,
        experiments=3,
        prompt=f"You are {name}. Begin.",
    )


def _check_brief(researcher: Researcher) -> None:
    """One instance prepares every researcher of a fleet, and again at each resume. It must write
    the same readable files each time, and only in the given folder."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("ann", "bob", "ann2")]
        for folder in folders:
            folder.mkdir()
            researcher.prepare(folder, _brief(folder.name.removesuffix("2")))
        written = [
            {p.relative_to(f): p.read_text() for p in sorted(f.rglob("*")) if p.is_file()}
            for f in folders
        ]
        researcher.prepare(folders[0], _brief("ann"))
        again = {
            p.relative_to(folders[0]): p.read_text()
            for p in sorted(folders[0].rglob("*"))
            if p.is_file()
        }
        beside = {p.name for p in Path(place).iterdir()} - {f.name for f in folders}
    _demand(bool(written[0]), "prepare() writes nothing, so the program gets no instructions")
    _demand(written[0] == written[2] == again, "prepare() writes different files the second time")
    _demand(written[0] != written[1], "prepare() writes the same files for two researchers")
    _demand(not beside, f"prepare() writes outside its folder: {', '.join(sorted(beside))}")


def _check_launch(researcher: Researcher) -> None:
    first = IncarnationStart(incarnation=1, session=SESSION, begun=False)
    starts = [
        first,
        *(
            IncarnationStart(incarnation=2, session=SESSION, begun=True, ended=e)
            for e in (None, *get_args(Ended))
        ),
    ]
    for start in starts:
        launch = researcher.launch(INSIDE, start)
        _demand(bool(launch.argv) and bool(launch.argv[0]), "launch() names no program")
        _demand(
            launch == researcher.launch(INSIDE, start),
            "launch() returns another result on the second call",
        )
        _check_words(launch)
    moved = Inside(home="/a/home", brief="/a/brief", data="/a/data", socket="/a/gate/lab.sock")
    text = json.dumps(researcher.launch(moved, first).model_dump())
    fixed = [p for p in (HOME, f"{BRIEF}/", f"{GATE}/") if f'"{p}' in text]
    _demand(not fixed, f"launch() uses fixed paths ({', '.join(fixed)}); take paths from `inside`")


def _check_words(launch: Launch) -> None:
    for word in (*launch.argv, *launch.env.values()):
        _demand("\0" not in word, "launch() has an argument that contains NUL")
        _demand(
            len(word.encode()) <= MOST_WORD,
            "launch() has an argument that is too long for Linux; write it to a file of the brief",
        )
    for name in launch.env:
        _demand(bool(name) and "=" not in name, f"launch() names the variable {name!r}")


def _check_ended(researcher: Researcher) -> None:
    """`ended` must return a valid value for any exit status and any output."""
    tails = (
        "",
        "\n",
        "{",
        '{"type":"result"}',
        "[" * 50_000,
        '{"type":"result","api_error_status":[1]}\nnull\n7\n""',
        "\x00\ud800",
    )
    for returncode in (0, 1, 2, 130, 137, 143, -9):
        for tail in tails:
            how = researcher.ended(returncode, tail)
            _demand(
                how in get_args(Ended),
                f"ended({returncode}, {tail[:20]!r}) is {how!r}, none of "
                f"{', '.join(get_args(Ended))}",
            )
    _demand(
        researcher.ended(137, "") == "crashed",
        "ended(137, '') must be 'crashed': a killed program has not finished its work",
    )
