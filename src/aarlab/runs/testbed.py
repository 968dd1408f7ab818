"""Set-up of a testbed: problem -> published items, features, weak labels and anchors. Each step is kept and not repeated.

Legend: T snippets, N pairs, S seeds, M test pairs.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Item, SplitName
from aarlab.core.settings import Home
from aarlab.labels.anchors import SEEDS, ceiling_correct, weak_correct
from aarlab.labels.teacher import TEACHER_LAYER, Teacher, TeacherView, train_teacher
from aarlab.methods.method import Inputs
from aarlab.problems import PROBLEMS
from aarlab.problems.publish import PUBLISHED_SPLITS, publish
from aarlab.runs.data import write_inputs

Say = Callable[[str, int, int], None]  # (what, done, of): progress of one step
TESTS: tuple[SplitName, ...] = ("feedback", "final")


@dataclass(frozen=True)
class Extracted:
    """Hidden states by layer (T, D) and favour (T,), of snippets in the order that they were given."""

    hidden: dict[int, NDArray[np.float16]]
    favour_T: NDArray[np.float32]
    fingerprint: str


Extract = Callable[[Sequence[str], Say], Extracted]


@dataclass(frozen=True)
class Testbed:
    """A problem that is set up: where its folders are, and whether they were there already."""

    folder: Path
    from_cache: bool

    @property
    def public(self) -> Path:
        return self.folder / "public"

    @property
    def sealed(self) -> Path:
        return self.folder / "sealed" / "inputs"

    @property
    def private(self) -> Path:
        return self.folder / "private"


def prepare(problem: str, data_seed: int, *, home: Home, extract: Extract, say: Say) -> Testbed:
    """Set a problem up, or find it set up.

    Raises:
        Misconfigured, Transient: see the problem's `build` and the model's `extract`.
    """
    chosen = PROBLEMS[problem]
    folder = home.problems / f"{problem}-v{chosen.version}-seed{data_seed}"
    ready = folder / "private" / "ready.json"
    if ready.exists():
        return Testbed(folder, from_cache=True)
    say("download and pair rated snippets", 0, 1)
    items = chosen.build(home.cache, data_seed)
    publish(chosen, items, folder, data_seed=data_seed)
    extracted = extract([text for i in items for text in (i.first, i.second)], say)
    say("weak labels and anchors", 0, 1)
    _label(items, extracted, folder)
    say("weak labels and anchors", 1, 1)
    ready.write_text(json.dumps({"features": extracted.fingerprint, "items": _digest(items)}))
    return Testbed(folder, from_cache=False)


def _digest(items: Sequence[Item]) -> str:
    return hashlib.sha256("".join(i.model_dump_json() for i in items).encode()).hexdigest()


def _label(items: Sequence[Item], extracted: Extracted, folder: Path) -> None:
    rows = {split: np.flatnonzero([i.split == split for i in items]) for split in ("teacher", "student", *TESTS)}
    labels_N = np.array([i.label for i in items])
    views = {split: _view(extracted, r) for split, r in rows.items()}
    inputs = {split: _inputs(items, extracted, r) for split, r in rows.items() if split != "teacher"}
    teachers = [train_teacher(views["teacher"], labels_N[rows["teacher"]], seed) for seed in range(SEEDS)]
    for split, given in inputs.items():
        write_inputs(folder / PUBLISHED_SPLITS[split], split, given)
    np.save(folder / "public" / "weak_probs.npy", np.stack([t.weak_probs(views["student"]) for t in teachers]))
    np.save(folder / "public" / "critic_probs.npy", np.stack([t.critic_probs(views["student"]) for t in teachers]))
    np.savez(folder / "private" / "anchors.npz", **_anchors(teachers, views, inputs, rows, labels_N))


def _anchors(
    teachers: Sequence[Teacher],
    views: dict[str, TeacherView],
    inputs: dict[str, Inputs],
    rows: dict[str, NDArray[np.intp]],
    labels_N: NDArray[np.int_],
) -> dict[str, NDArray[np.bool_]]:
    """Correctness of both anchors on both test splits; items in the order of their sorted ids."""
    arrays: dict[str, NDArray[np.bool_]] = {}
    for split in TESTS:
        truth_M = labels_N[rows[split]]
        order = np.argsort(np.array(inputs[split].ids))
        ceiling = ceiling_correct(
            inputs["student"], labels_N[rows["student"]], inputs[split], truth_M, range(1000, 1000 + SEEDS)
        )
        arrays[f"{split}_weak_SM"] = weak_correct(teachers, views[split], truth_M)[:, order]
        arrays[f"{split}_ceiling_SM"] = ceiling[:, order]
    return arrays


def _pairs(values: NDArray, rows: NDArray[np.intp]) -> NDArray:
    return values.reshape(-1, 2, *values.shape[1:])[rows]


def _view(extracted: Extracted, rows: NDArray[np.intp]) -> TeacherView:
    favour_N2 = _pairs(extracted.favour_T, rows)
    return TeacherView(_pairs(extracted.hidden[TEACHER_LAYER], rows), favour_N2[:, 1] - favour_N2[:, 0])


def _inputs(items: Sequence[Item], extracted: Extracted, rows: NDArray[np.intp]) -> Inputs:
    return Inputs(
        ids=tuple(items[i].id for i in rows),
        texts=tuple((items[i].first, items[i].second) for i in rows),
        hidden={layer: _pairs(h, rows) for layer, h in extracted.hidden.items() if layer != TEACHER_LAYER},
        favour_N2=_pairs(extracted.favour_T, rows),
    )
