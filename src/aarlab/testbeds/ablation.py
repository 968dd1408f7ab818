"""Ablated testbeds: the weak labels, or the weak labels and the student, no longer carry
information about an item.

What a method still scores there comes from neither: it comes from shortcuts in the texts, from
answers inside the code, or from code that was executed. Items, ids, hidden labels and anchors are
unchanged. Legend: N items, C choices an item, D features, T teacher seeds.
"""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.own_code import DIGITS, code_of
from aarlab.problems.publish import PUBLISHED_SPLITS
from aarlab.testbeds.frozen_labels import CLIP
from aarlab.testbeds.testbed import Testbed

Ablation = Literal["teacherless", "ablated"]
"""teacherless: the weak labels are permuted over the items; the student is unchanged. ablated:
in addition, the student's states and zero-shot logits are replaced by noise with the same
moments."""
SEED = 20261124  # one noise for all methods and seeds, as there is one student


def ablate(bed: Testbed, how: Ablation) -> Testbed:
    """The ablated copy of a testbed, in a folder beside it. The first call makes it, completely
    or not at all."""
    code = code_of(alone=(__name__,))
    folder = bed.folder.with_name(
        f"{bed.folder.name}-{how}-{bed.fingerprint[:8]}.{code.digest[:DIGITS]}"
    )
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
    ready = TestbedFolder(
        partial
    ).ready  # the published card stays as it is: it does not name the code
    ready.unlink()
    facts = {"ablation": how, "code": code.model_dump(), "of": bed.fingerprint}
    if bed.preset is not None:  # code that knew the permutation of the texts could invert it
        facts["dealt_by"] = secrets.randbits(63)
    ready.write_text(json.dumps(facts))
    partial.rename(folder)
    return Testbed(folder, from_cache=False)


def _copy(bed: Testbed, folder: Path) -> None:
    """Copy the published folders, hidden answers and anchors as hard links; files to be replaced
    are unlinked first. The meter is not copied, because nothing is reported about an ablated
    testbed."""
    for name in ("public", "sealed"):
        shutil.copytree(bed.folder / name, folder / name, copy_function=os.link)
    TestbedFolder(folder).private.mkdir(mode=0o700)
    for path in (bed.answers, bed.groups, bed.anchors, bed.ready):
        os.link(path, TestbedFolder(folder).private / path.name)


def _deal_weak_labels(bed: Testbed, folder: Path, rng: np.random.Generator) -> None:
    """Both kinds of weak labels of every teacher go to other items, by one permutation a
    teacher."""
    weak_TN, critic_TN = (
        np.load(PublicFolder(bed.public).probs(name)) for name in ("weak", "critic")
    )
    dealt_TN = np.stack([rng.permutation(weak_TN.shape[1]) for _ in weak_TN])
    for name, probs_TN in (("weak", weak_TN), ("critic", critic_TN)):
        _replace(
            PublicFolder(TestbedFolder(folder).public).probs(name),
            np.take_along_axis(probs_TN, dealt_TN, axis=1),
        )


def noise_like(values_NC: NDArray, rng: np.random.Generator) -> NDArray:
    """Normal noise with the shape and type of `values_NC` and each feature's mean and standard
    deviation, clipped in the same way as states."""
    values = values_NC.astype(np.float64)
    noise = rng.normal(values.mean(axis=(0, 1)), values.std(axis=(0, 1)), values.shape)
    return (np.clip(noise, -CLIP, CLIP) if values.ndim == 3 else noise).astype(values_NC.dtype)


def _replace(path: Path, values: NDArray) -> None:
    path.unlink()
    np.save(path, values)
