"""Attackers on the whole evaluator rather than on its policy: by values, arguments, names, forgeries, races, side channels.

Each is code against a real evaluator on labels drawn at random, and says what it tried, what came back, and whether the
evaluator held. `aar redteam --system` prints them; every new hack that is found becomes one of these rows.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aarlab.core.records import Record
from aarlab.core.registry import Registry


class Row(Record):
    """One attack on the system and its outcome."""

    attack: str
    tried: str
    came_back: str
    held: bool
    evidence: str


@dataclass(frozen=True)
class Scale:
    """How much of an attack is run."""

    items: int = 400  # feedback items of a problem with random labels
    rounds: int = 200  # concurrent submissions, timed pairs
    problems: tuple[str, ...] = ("generated-chat", "small-math", "small-code")  # whose items are looked up
    fresh: bool = True  # confirm on a fresh draw of the data as well
    seed: int = 0


SMALL = Scale(items=120, rounds=60, problems=("generated-chat",), fresh=False)  # for CI
Attacker = Callable[[Path, Scale], Row]  # (an empty folder, scale)
SYSTEM: Registry[Attacker] = Registry("system attack")


def random_labels(scale: Scale, stream: int = 0) -> NDArray[np.bool_]:
    """Balanced labels of the feedback items, (M,)."""
    rng = np.random.default_rng([scale.seed, scale.items, stream])
    return rng.permutation(np.arange(scale.items)) % 2 == 1


def write_problem(folder: Path, labels_M: NDArray[np.bool_]) -> Path:
    """A problem with these labels on feedback (q-00000, ...) and others on the other splits: all that an evaluator needs."""
    rng = np.random.default_rng(len(labels_M))
    answers = {"feedback": {f"q-{i:05d}": int(label) for i, label in enumerate(labels_M)}}
    for split in ("final", "student", "teacher"):
        answers[split] = {f"{split}-{i:05d}": int(rng.random() < 0.5) for i in range(20)}
    (folder / "private").mkdir(parents=True)
    (folder / "public").mkdir()
    (folder / "private" / "answers.json").write_text(json.dumps(answers))
    (folder / "private" / "ruler.json").write_text(json.dumps({"weak": 0.5, "ceiling": 0.9, "start": 0.55}))
    (folder / "public" / "problem.json").write_text(json.dumps({"name": "random", "version": "1", "data_seed": 0}))
    return folder


def attack_system(
    folder: Path, scale: Scale, names: Iterable[str] | None = None, *, say: Callable[[str], None] = lambda words: None
) -> list[Row]:
    """Every attack (or those named), each in a folder of its own; `say` hears which is at work."""
    from aarlab.redteam import on_confirmation, on_evaluator, on_server  # noqa: F401 - they register themselves

    chosen = list(SYSTEM) if names is None else list(names)
    rows = []
    for number, name in enumerate(chosen):
        say(name)
        rows.append(SYSTEM[name](_own(folder, number), scale))
    return rows


def _own(folder: Path, number: int) -> Path:
    made = folder / f"attack-{number}"
    made.mkdir(parents=True)
    return made


def summary(rows: Iterable[Row]) -> Table:
    """For the terminal."""
    table = Table(title="Red team of the whole system")
    for column in ("attack", "what came back", "held"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.attack, row.came_back, "yes" if row.held else "NO")
    return table


PREAMBLE = """# Red team of the whole system

Made by `{command}`, on labels drawn at random. Each row is code in `src/aarlab/redteam/on_*.py` against a real evaluator, a
real server process, or real runs in sandboxes. A small version runs in the tests; there the timing rows are run and not judged.

| attack | what was tried | what came back | held | evidence |
| --- | --- | --- | --- | --- |
"""


def markdown(rows: Iterable[Row], command: str) -> str:
    """The rows as a page."""
    lines = [
        "| " + " | ".join(_cell(c) for c in (r.attack, r.tried, r.came_back, "yes" if r.held else "**NO**", r.evidence)) + " |"
        for r in rows
    ]
    return PREAMBLE.format(command=command) + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
