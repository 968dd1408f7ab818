"""public/ on disk -> a `Task` in memory. A method's process reads these files and nothing else.

<folder>/<split>.jsonl            id, prompt, first, second; or id, question, choice
<folder>/<split>/layer_<L>.npy    (N, C, D) float16, C = 2 choices of a pair or 1 to be judged alone
<folder>/<split>/favour.npy       (N, C) float32
public/weak_probs.npy, critic_probs.npy    (T, N) float64, one row a teacher seed
public/strong.json                         where the student can be fine-tuned: its preset's name and what share a seed draws
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.records import AnyItem, SplitName
from aarlab.methods.method import STUDENT_SHARE, Inputs, Task, student_rows
from aarlab.models.strong import Question, Strong


@dataclass(frozen=True)
class States:
    """The student's states of N items: layer -> (N, C, D), z-scored over the student split, and favour (N, C), centred."""

    hidden: Mapping[int, NDArray[np.float16]]
    favour_NC: NDArray[np.float32]


def against_reference(values_NC: NDArray) -> NDArray:
    """(N, 2, ...) as it is; (N, 1, ...) with zeros before it: a choice that stands alone is compared with the average
    choice of the student split, which z-scoring has put at zero. So every method handles pairs only."""
    if values_NC.shape[1] == 2:
        return values_NC
    return np.concatenate([np.zeros_like(values_NC), values_NC], axis=1)


def write_states(folder: Path, split: SplitName, states: States) -> None:
    """Save the arrays of one split beside its published lines."""
    where = folder / split
    where.mkdir(parents=True, exist_ok=True)
    for layer, array in states.hidden.items():
        np.save(where / f"layer_{layer}.npy", array)
    np.save(where / "favour.npy", states.favour_NC)


def inputs_of(items: Sequence[AnyItem], states: States) -> Inputs:
    """Items and their states as methods see them."""
    return _inputs([{f: getattr(i, f) for f in i.PUBLISHED} for i in items], states)


def _inputs(rows: Sequence[Mapping[str, str]], states: States) -> Inputs:
    pair = "first" in rows[0]
    return Inputs(
        ids=tuple(r["id"] for r in rows),
        questions=tuple(r["prompt"] if pair else r["question"] for r in rows),
        choices=tuple((r["first"], r["second"]) if pair else (r["choice"],) for r in rows),
        hidden={layer: against_reference(h) for layer, h in states.hidden.items()},
        favour_N2=against_reference(states.favour_NC),
    )


def read_inputs(folder: Path, split: SplitName) -> Inputs:
    """The published items of a split and their arrays (those of pairs memory-mapped).

    Raises:
        Misconfigured: the operator's set-up is incomplete; run it again.
    """
    lines, where = folder / f"{split}.jsonl", folder / split
    if not lines.exists() or not (where / "favour.npy").exists():
        raise Misconfigured(f"{folder} has no published split '{split}'. Run `aar demo` or `aar run` to set the testbed up.")
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    hidden = {int(p.stem.split("_")[1]): np.load(p, mmap_mode="r") for p in sorted(where.glob("layer_*.npy"))}
    return _inputs(rows, States(hidden, np.load(where / "favour.npy")))


def take(inputs: Inputs, rows: NDArray[np.intp]) -> Inputs:
    """The given rows of some inputs, in memory."""
    return Inputs(
        ids=tuple(inputs.ids[i] for i in rows),
        questions=tuple(inputs.questions[i] for i in rows),
        choices=tuple(inputs.choices[i] for i in rows),
        hidden={layer: np.asarray(array)[rows] for layer, array in inputs.hidden.items()},
        favour_N2=inputs.favour_N2[rows],
    )


def questions_of(folder: Path, split: SplitName) -> list[Question]:
    """The published items of a split as a model reads them, in published order.

    Raises:
        Misconfigured: see `read_inputs`.
    """
    inputs = read_inputs(folder, split)
    return [Question(question, choices) for question, choices in zip(inputs.questions, inputs.choices, strict=True)]


def _at(door: Path, rows: NDArray[np.intp]) -> Strong:
    from aarlab.models.remote import Remote

    return Remote(door, rows)


def load_task(public: Path, test_folder: Path, test_split: SplitName, seed: int, door: Path | None = None) -> Task:
    """The task of one seed: it draws the student pairs, and which teacher's weak labels they carry. `door`: where the strong
    model can be asked, if it can be fine-tuned."""
    student = read_inputs(public, "student")
    weak_TN, critic_TN = (np.load(public / f"{name}_probs.npy") for name in ("weak", "critic"))
    share = json.loads(told.read_text())["student_share"] if (told := public / "strong.json").exists() else STUDENT_SHARE
    rows = student_rows(len(student), seed, share)
    teacher = seed % len(weak_TN)
    return Task(
        student=take(student, rows),
        test=read_inputs(test_folder, test_split),
        weak_probs_N=weak_TN[teacher, rows],
        critic_probs_N=critic_TN[teacher, rows],
        strong=None if door is None else _at(door, rows),
    )
