"""Ablated testbeds: a testbed in which the weak labels, or these and the student, say nothing about an item any more.

What a method still scores there it owes to neither: a shortcut in the texts, answers that came with the code, code that was
executed. Items, ids, hidden labels and anchors are the testbed's own.
Legend: N items, C choices an item, D features, T teacher seeds.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.problems.publish import PUBLISHED_SPLITS
from aarlab.runs.testbed import CLIP, Testbed

Ablation = Literal["teacherless", "ablated"]
WORDS: Mapping[Ablation, str] = {
    "teacherless": "weak labels dealt to other items; the student is kept",
    "ablated": "weak labels dealt to other items; the student's states and favour replaced by noise of the same moments",
}
SEED = 20261124  # one noise for all methods and seeds, as there is one student
VERSION = 1  # raise it when an ablation changes


def ablate(bed: Testbed, how: Ablation) -> Testbed:
    """The ablated testbed beside the testbed, made on the first call; it appears whole or not at all."""
    folder = bed.folder.with_name(f"{bed.folder.name}-{how}-{bed.fingerprint[:8]}.{VERSION}")
    if folder.exists():
        return Testbed(folder, from_cache=True)
    partial = Path(f"{folder}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _copy(bed, partial)
    rng = np.random.default_rng(SEED)
    _deal_weak_labels(bed, partial, rng)
    if how == "ablated":
        for split, where in PUBLISHED_SPLITS.items():
            for array in sorted((bed.folder / where / split).glob("*.npy")):
                _replace(partial / where / split / array.name, noise_like(np.load(array), rng))
    ready = partial / "private" / "ready.json"  # the published card stays as it is: the code is not told
    ready.unlink()
    facts = {"ablation": how, "version": VERSION, "of": bed.fingerprint}
    if bed.preset is not None:  # code that knew how texts are dealt to other items could deal them back
        facts["dealt_by"] = secrets.randbits(63)
    ready.write_text(json.dumps(facts))
    partial.rename(folder)
    return Testbed(folder, from_cache=False)


def _copy(bed: Testbed, folder: Path) -> None:
    """The published folders, hidden answers and anchors, as hard links; what is replaced is unlinked first. No store of what
    was told about the labels comes along: nobody is told of an ablated testbed."""
    for name in ("public", "sealed"):
        shutil.copytree(bed.folder / name, folder / name, copy_function=os.link)
    (folder / "private").mkdir(mode=0o700)
    for name in ("answers.json", "anchors.npz", "ready.json"):
        os.link(bed.private / name, folder / "private" / name)


def _deal_weak_labels(bed: Testbed, folder: Path, rng: np.random.Generator) -> None:
    """Both kinds of weak labels of every teacher go to other items, by one permutation a teacher."""
    weak_TN, critic_TN = (np.load(bed.public / f"{name}_probs.npy") for name in ("weak", "critic"))
    dealt_TN = np.stack([rng.permutation(weak_TN.shape[1]) for _ in weak_TN])
    for name, probs_TN in (("weak", weak_TN), ("critic", critic_TN)):
        _replace(folder / "public" / f"{name}_probs.npy", np.take_along_axis(probs_TN, dealt_TN, axis=1))


def noise_like(values_NC: NDArray, rng: np.random.Generator) -> NDArray:
    """Normal noise of the same shape, type, and mean and standard deviation of each feature; clipped as states are."""
    values = values_NC.astype(np.float64)
    noise = rng.normal(values.mean(axis=(0, 1)), values.std(axis=(0, 1)), values.shape)
    return (np.clip(noise, -CLIP, CLIP) if values.ndim == 3 else noise).astype(values_NC.dtype)


def _replace(path: Path, values: NDArray) -> None:
    path.unlink()
    np.save(path, values)
