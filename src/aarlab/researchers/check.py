"""The examination of a kind of researcher: what the author of one calls in one line."""

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
    Inside,
    Launch,
    Life,
    Researcher,
)

INSIDE = Inside(home=HOME, brief=BRIEF, data=DATA, socket=f"{GATE}/{SOCKET_NAME}")
SESSION = "5b1f3a52-0f6e-4a53-9c0e-7d3b6f2f7a11"
MOST_WORD = 128 * 1024 - 1  # bytes of one argument that Linux takes


def check_researcher(researcher: Researcher) -> None:
    """Raise unless a kind of researcher keeps the contract. It is not started: what it needs must be there (`require`).

    Raises:
        InvalidSubmission: what is wrong, in words.
        Misconfigured: what the kind needs is missing on this machine.
    """
    researcher.require()
    for mount in researcher.mounts():
        _demand(mount.source.exists(), f"mounts() names {mount.source}, which is not there")
        _demand(not mount.writable, f"mounts() would make {mount.source} writable; a researcher writes in its home alone")
        taken = any(mount.target == p or mount.target.startswith(f"{p}/") for p in (HOME, BRIEF, DATA, GATE, STRONG))
        _demand(mount.target.startswith("/") and not taken, f"mounts() has the target {mount.target}; choose another place")
    _check_brief(researcher)
    _check_launch(researcher)
    _check_ended(researcher)


def _demand(kept: bool, words: str) -> None:
    if not kept:
        raise InvalidSubmission(f"Not a researcher: {words}.")


def _brief(name: str) -> Brief:
    return Brief(name=name, direction="Look around.", family=None, seed=7, experiments=3, prompt=f"You are {name}. Begin.")


def _check_brief(researcher: Researcher) -> None:
    """One instance prepares all of a fleet, again at each resume; what it writes stays in its folder and can be read."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("ann", "bob", "ann2")]
        for folder in folders:
            folder.mkdir()
            researcher.prepare(folder, _brief(folder.name.removesuffix("2")))
        written = [{p.relative_to(f): p.read_text() for p in sorted(f.rglob("*")) if p.is_file()} for f in folders]
        researcher.prepare(folders[0], _brief("ann"))
        again = {p.relative_to(folders[0]): p.read_text() for p in sorted(folders[0].rglob("*")) if p.is_file()}
        beside = {p.name for p in Path(place).iterdir()} - {f.name for f in folders}
    _demand(bool(written[0]), "prepare() writes nothing, so the program cannot know what it is told")
    _demand(written[0] == written[2] == again, "prepare() writes something else the second time")
    _demand(written[0] != written[1], "prepare() writes the same for two researchers")
    _demand(not beside, f"prepare() writes outside of its folder: {', '.join(sorted(beside))}")


def _check_launch(researcher: Researcher) -> None:
    first = Life(incarnation=1, session=SESSION, begun=False)
    lives = [first, *(Life(incarnation=2, session=SESSION, begun=True, ended=e) for e in (None, *get_args(Ended)))]
    for life in lives:
        launch = researcher.launch(INSIDE, life)
        _demand(bool(launch.argv) and bool(launch.argv[0]), "launch() names no program")
        _demand(launch == researcher.launch(INSIDE, life), "launch() differs from one call to the next")
        _check_words(launch)
    moved = Inside(home="/a/home", brief="/a/brief", data="/a/data", socket="/a/gate/lab.sock")
    text = json.dumps(researcher.launch(moved, first).model_dump())
    fixed = [p for p in (HOME, f"{BRIEF}/", f"{GATE}/") if f'"{p}' in text]
    _demand(not fixed, f"launch() has fixed paths ({', '.join(fixed)}); take them from `inside`")


def _check_words(launch: Launch) -> None:
    for word in (*launch.argv, *launch.env.values()):
        _demand("\0" not in word, "launch() has a word with a NUL in it")
        _demand(
            len(word.encode()) <= MOST_WORD, "launch() has a word that is too long for Linux; put it into a file of the brief"
        )
    for name in launch.env:
        _demand(bool(name) and "=" not in name, f"launch() names the variable {name!r}")


def _check_ended(researcher: Researcher) -> None:
    """Whatever a program printed, and it may print anything, is told from its status and tail without failing."""
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
            told = researcher.ended(returncode, tail)
            _demand(
                told in get_args(Ended), f"ended({returncode}, {tail[:20]!r}) is {told!r}, none of {', '.join(get_args(Ended))}"
            )
    _demand(researcher.ended(137, "") == "crashed", "ended(137, '') must be crashed: a kill is not the end of its work")
