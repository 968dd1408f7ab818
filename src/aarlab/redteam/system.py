"""Attackers on the whole evaluator rather than on its policy: by values, arguments, names,
forgeries, races, side channels.

Each is code against a real evaluator on labels drawn at random, and says what it tried, what came
back, and whether the evaluator held. `aar redteam --system` prints them; every new hack that is
found becomes one of these rows.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.markdown import Markdown, table_row
from aarlab.core.records import Record
from aarlab.core.registry import Registry


class AttackRow(Record):
    """One attack on the system and its outcome."""

    attack: str
    tried: str
    came_back: str
    held: bool
    evidence: str


@dataclass(frozen=True)
class AttackScale:
    """How much of an attack is run."""

    items: int = 400  # feedback items of a problem with random labels
    rounds: int = 200  # concurrent submissions, timed pairs
    # whose items are looked up
    problems: tuple[str, ...] = ("generated-chat", "small-math", "small-code")
    fresh: bool = True  # confirm on a fresh draw of the data as well
    seed: int = 0


SMALL = AttackScale(items=120, rounds=60, problems=("generated-chat",), fresh=False)  # for CI
Attacker = Callable[[Path, AttackScale], AttackRow]  # (an empty folder, scale)
SYSTEM: Registry[Attacker] = Registry("system attack")


def random_labels(scale: AttackScale, stream: int = 0) -> NDArray[np.bool_]:
    """Balanced labels of the feedback items, (M,)."""
    rng = np.random.default_rng([scale.seed, scale.items, stream])
    return rng.permutation(np.arange(scale.items)) % 2 == 1


def write_problem(folder: Path, labels_M: NDArray[np.bool_]) -> Path:
    """A problem with these labels on feedback (q-00000, ...) and others on the other splits: all
    that an evaluator needs."""
    rng = np.random.default_rng(len(labels_M))
    answers = {"feedback": {f"q-{i:05d}": int(label) for i, label in enumerate(labels_M)}}
    for split in ("final", "student", "teacher"):
        answers[split] = {f"{split}-{i:05d}": int(rng.random() < 0.5) for i in range(20)}
    made = TestbedFolder(folder)
    made.private.mkdir(parents=True)
    made.public.mkdir()
    made.answers.write_text(json.dumps(answers))
    made.stated_anchors.write_text(json.dumps({"weak": 0.5, "ceiling": 0.9, "start": 0.55}))
    PublicFolder(made.public).card.write_text(
        json.dumps({"name": "random", "version": "1", "data_seed": 0})
    )
    return folder


def summary(
    rows: Iterable[AttackRow],
    title: str = "Red team of the whole system",
    caption: str | None = None,
) -> Table:
    """For the terminal."""
    table = Table(title=title, caption=caption)
    for column in ("attack", "what came back", "held"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.attack, row.came_back, "yes" if row.held else "NO")
    return table


HELD, NOT_HELD = "yes", Markdown("**NO**")
PREAMBLE = """# Red team of the whole system

Made by `{command}`, on labels drawn at random. Each row is code in `src/aarlab/redteam`
against a real evaluator, a real server process, or real runs in sandboxes. A small version runs
in the tests; there the timing rows are run and not judged.

| attack | what was tried | what came back | held | evidence |
| --- | --- | --- | --- | --- |
"""


def markdown(rows: Iterable[AttackRow], command: str) -> str:
    """The rows as a page."""
    lines = [
        table_row((r.attack, r.tried, r.came_back, HELD if r.held else NOT_HELD, r.evidence))
        for r in rows
    ]
    return PREAMBLE.format(command=command) + "\n".join(lines) + "\n"
