"""Read a `Task` from the public folder of a testbed. A method's process reads only these files.

<folder>/<split>.jsonl            id, prompt, first, second; or id, question, choice
<folder>/<split>/layer_<L>.npy    (N, C, D) float16, C = 2 choices of a pair or 1 to be judged alone
<folder>/<split>/favour.npy       (N, C) float32, the zero-shot logits
public/weak_probs.npy, critic_probs.npy    (T, N) float64, one row for each teacher seed
public/strong.json                         of a fine-tuned student: its preset's name and the share
                                           that a seed draws
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import InputsFolder, PublicFolder
from aarlab.core.records import AnyItem, SplitName
from aarlab.core.strict_json import read_json_lines
from aarlab.methods.method import STUDENT_SHARE, Inputs, Task, student_rows
from aarlab.models.student_contract import Question, Strong


@dataclass(frozen=True)
class States:
    """The student's states of N items: layer -> (N, C, D), z-scored over the student split;
    zero-shot logits (N, C), centred."""

    hidden: Mapping[int, NDArray[np.float16]]
    zero_shot_logit_NC: NDArray[np.float32]


def against_reference(values_NC: NDArray) -> NDArray:
    """Pairs (N, 2, ...) unchanged; single choices (N, 1, ...) as pairs whose first choice is
    zero. Zero is the average choice of the student split after z-scoring. So every method
    handles only pairs."""
    if values_NC.shape[1] == 2:
        return values_NC
    return np.concatenate([np.zeros_like(values_NC), values_NC], axis=1)


def write_states(folder: Path, split: SplitName, states: States) -> None:
    """Save the arrays of one split beside its published lines."""
    made = InputsFolder(folder)
    made.zero_shot_logits(split).parent.mkdir(parents=True, exist_ok=True)
    for layer, array in states.hidden.items():
        np.save(made.layer(split, layer), array)
    np.save(made.zero_shot_logits(split), states.zero_shot_logit_NC)


def same_states(folder: Path, split: SplitName, states: States) -> bool:
    """Whether these states are the saved ones, bit for bit."""
    made = InputsFolder(folder)
    saved = {p.stem for p in made.zero_shot_logits(split).parent.glob(made.layer(split, "*").name)}
    return saved == {made.layer(split, layer).stem for layer in states.hidden} and all(
        np.array_equal(np.load(path), array)
        for path, array in (
            (made.zero_shot_logits(split), states.zero_shot_logit_NC),
            *((made.layer(split, layer), array) for layer, array in states.hidden.items()),
        )
    )


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
        zero_shot_logit_N2=against_reference(states.zero_shot_logit_NC),
    )


def read_inputs(folder: Path, split: SplitName) -> Inputs:
    """The published items of a split and their arrays (those of pairs memory-mapped).

    Raises:
        Misconfigured: the testbed is incomplete; run the set-up again.
    """
    found = InputsFolder(folder)
    lines, zero_shot_logits = found.items(split), found.zero_shot_logits(split)
    if not lines.exists() or not zero_shot_logits.exists():
        raise Misconfigured(
            f"{folder} has no published split '{split}'. Run `aar demo` or `aar run` to set the "
            "testbed up."
        )
    rows = _rows(lines, lines.stat().st_mtime_ns)
    layers = sorted(zero_shot_logits.parent.glob(found.layer(split, "*").name))
    hidden = {int(p.stem.split("_")[1]): np.load(p, mmap_mode="r") for p in layers}
    return _inputs(rows, States(hidden, np.load(zero_shot_logits)))


@lru_cache(maxsize=4)
def _rows(lines: Path, changed: int) -> list[dict[str, str]]:
    """The rows of a file as it was changed last: each seed of a run reads the same ones."""
    del changed
    return read_json_lines(lines)


def take(inputs: Inputs, rows: NDArray[np.intp]) -> Inputs:
    """The given rows of some inputs, in memory."""
    return Inputs(
        ids=tuple(inputs.ids[i] for i in rows),
        questions=tuple(inputs.questions[i] for i in rows),
        choices=tuple(inputs.choices[i] for i in rows),
        hidden={layer: np.asarray(array)[rows] for layer, array in inputs.hidden.items()},
        zero_shot_logit_N2=inputs.zero_shot_logit_N2[rows],
    )


def questions_of(folder: Path, split: SplitName) -> list[Question]:
    """The published items of a split as a model reads them, in published order.

    Raises:
        Misconfigured: see `read_inputs`.
    """
    inputs = read_inputs(folder, split)
    return [
        Question(question, choices)
        for question, choices in zip(inputs.questions, inputs.choices, strict=True)
    ]


def _at(strong_socket: Path, rows: NDArray[np.intp]) -> Strong:
    from aarlab.models.remote import Remote

    return Remote(strong_socket, rows)


def load_task(
    public: Path,
    test_folder: Path,
    test_split: SplitName,
    seed: int,
    strong_socket: Path | None = None,
) -> Task:
    """The task of one seed, which draws the student items and the teacher whose weak labels they
    carry. `strong_socket`: the strong model's socket, if it can be fine-tuned."""
    student = read_inputs(public, "student")
    weak_TN, critic_TN = (np.load(PublicFolder(public).probs(name)) for name in ("weak", "critic"))
    share = (
        json.loads(strong.read_text())["student_share"]
        if (strong := PublicFolder(public).strong).exists()
        else STUDENT_SHARE
    )
    rows = student_rows(len(student), seed, share)
    teacher = seed % len(weak_TN)
    return Task(
        student=take(student, rows),
        test=read_inputs(test_folder, test_split),
        weak_probs_N=weak_TN[teacher, rows],
        critic_probs_N=critic_TN[teacher, rows],
        strong=None if strong_socket is None else _at(strong_socket, rows),
    )
