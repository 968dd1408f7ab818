"""public/ on disk -> a `Task` in memory. A method's process reads these files and nothing else.

<folder>/<split>.jsonl            id, first, second
<folder>/<split>/layer_<L>.npy    (N, 2, D) float16
<folder>/<split>/favour.npy       (N, 2) float32
public/weak_probs.npy, critic_probs.npy    (T, N) float64, one row a teacher seed
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.records import SplitName
from aarlab.methods.method import Inputs, Task, student_rows


def write_inputs(folder: Path, split: SplitName, inputs: Inputs) -> None:
    """Save the arrays of one split beside its published lines."""
    where = folder / split
    where.mkdir(parents=True, exist_ok=True)
    for layer, array in inputs.hidden.items():
        np.save(where / f"layer_{layer}.npy", array)
    np.save(where / "favour.npy", inputs.favour_N2)


def read_inputs(folder: Path, split: SplitName) -> Inputs:
    """The published items of a split and their arrays (memory-mapped).

    Raises:
        Misconfigured: the operator's set-up is incomplete; run it again.
    """
    lines, where = folder / f"{split}.jsonl", folder / split
    if not lines.exists() or not (where / "favour.npy").exists():
        raise Misconfigured(f"{folder} has no published split '{split}'. Run `aar bench` to set the testbed up.")
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    hidden = {int(p.stem.split("_")[1]): np.load(p, mmap_mode="r") for p in sorted(where.glob("layer_*.npy"))}
    return Inputs(
        ids=tuple(r["id"] for r in rows),
        texts=tuple((r["first"], r["second"]) for r in rows),
        hidden=hidden,
        favour_N2=np.load(where / "favour.npy"),
    )


def take(inputs: Inputs, rows: NDArray[np.intp]) -> Inputs:
    """The given rows of some inputs, in memory."""
    return Inputs(
        ids=tuple(inputs.ids[i] for i in rows),
        texts=tuple(inputs.texts[i] for i in rows),
        hidden={layer: np.asarray(array)[rows] for layer, array in inputs.hidden.items()},
        favour_N2=inputs.favour_N2[rows],
    )


def load_task(public: Path, test_folder: Path, test_split: SplitName, seed: int) -> Task:
    """The task of one seed: it draws the student pairs, and which teacher's weak labels they carry."""
    student = read_inputs(public, "student")
    weak_TN, critic_TN = (np.load(public / f"{name}_probs.npy") for name in ("weak", "critic"))
    rows = student_rows(len(student), seed)
    teacher = seed % len(weak_TN)
    return Task(
        student=take(student, rows),
        test=read_inputs(test_folder, test_split),
        weak_probs_N=weak_TN[teacher, rows],
        critic_probs_N=critic_TN[teacher, rows],
    )
