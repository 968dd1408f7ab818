"""What models read of texts is kept on disk: whole, and in parts while it is read, so that a
reading that was stopped goes on where it was.

A batch is the indices of texts that are read together. Legend: T texts, L kept layers, D hidden
width, P numbers of a surprisal profile.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.files import open_whole
from aarlab.core.layout import FeaturesFolder
from aarlab.core.own_code import again, code_of, remember, stamped

REGISTRIES = ("aarlab.problems",)  # imported on the way to `aarlab.core.download`
PART_TEXTS = 250  # a part has at least so many texts: some seconds of reading
Progress = Callable[[int, int], None]
Heard = Callable[[str], None]  # receives the reason why features are computed again
Batch = Sequence[int]


@dataclass(frozen=True)
class Features:
    """The features of T texts from one forward pass: `hidden_LTD` (float16, mean over the text's
    tokens), `zero_shot_logit_T` and, of choices, `profile_TP` (surprisal; P = 0 for snippets)."""

    hidden_LTD: NDArray[np.float16]
    zero_shot_logit_T: NDArray[np.float32]
    profile_TP: NDArray[np.float32]


Read = Callable[[Sequence[Batch]], Iterable[Features]]
"""Batches -> the features of each, in the same order."""


def kept(
    cache: Path,
    key: str,
    module: str,
    batches: Sequence[Batch],
    read: Read,
    *,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda why: None,
) -> Features:
    """The features of the texts of all batches, in the order of their indices 0 to T - 1: from the
    cache if key and code match; otherwise they are read and cached. `module`: the root of the code
    that reads.

    Raises:
        Misconfigured: a feature is not finite.
    """
    code, store = code_of(module, alone=REGISTRIES), FeaturesFolder(cache / "features")
    name = stamped(key, code)
    path = store.whole(name)
    if not path.exists():
        if why := again(store.root, key, code, suffix=path.suffix):
            heard(why)
        remember(store.root, code)
        features = _read_in_parts(store, name, batches, read, progress)
        code.require_unchanged()
        write_features(path, features)
        for parts in store.root.glob(store.parts(f"{key}-*").name):
            shutil.rmtree(parts, ignore_errors=True)
    return _load(path)


def _load(path: Path) -> Features:
    with np.load(path) as stored:
        return Features(stored["hidden_LTD"], stored["favour_T"], stored["profile_TP"])


def write_features(path: Path, features: Features) -> None:
    """Write features to a file, completely or not at all."""
    with open_whole(path) as file:
        np.savez(
            file,
            hidden_LTD=features.hidden_LTD,
            favour_T=features.zero_shot_logit_T,
            profile_TP=features.profile_TP,
        )


def _read_in_parts(
    store: FeaturesFolder,
    name: str,
    batches: Sequence[Batch],
    read: Read,
    progress: Progress,
) -> Features:
    """The features of all batches. Parts that an earlier reading finished are taken from disk; the
    others are written as they are finished."""
    parts = _in_parts(batches)
    found = {n: _load(path) for n in range(len(parts)) if (path := store.part(name, n)).exists()}
    texts = [[i for batch in part for i in batch] for part in parts]
    done, of = sum(len(texts[n]) for n in found), sum(map(len, texts))
    progress(done, of)
    lacking = [n for n in range(len(parts)) if n not in found]
    work = iter(read([batch for n in lacking for batch in parts[n]]) if lacking else ())
    for n in lacking:
        features = []
        for batch in parts[n]:
            features.append(next(work))
            done += len(batch)
            progress(done, of)
        found[n] = _joined(features)
        _require_finite(found[n])
        write_features(store.part(name, n), found[n])
    order = np.argsort([i for part in texts for i in part])
    joined = _joined([found[n] for n in range(len(parts))])
    return Features(
        joined.hidden_LTD[:, order], joined.zero_shot_logit_T[order], joined.profile_TP[order]
    )


def _in_parts(batches: Sequence[Batch]) -> list[list[Batch]]:
    """The batches in their order, in parts of PART_TEXTS texts or a few more."""

    def cut() -> Iterator[list[Batch]]:
        part: list[Batch] = []
        for batch in batches:
            part.append(batch)
            if sum(map(len, part)) >= PART_TEXTS:
                yield part
                part = []
        if part:
            yield part

    return list(cut())


def _joined(features: Sequence[Features]) -> Features:
    return Features(
        np.concatenate([f.hidden_LTD for f in features], axis=1),
        np.concatenate([f.zero_shot_logit_T for f in features]),
        np.concatenate([f.profile_TP for f in features]),
    )


def _require_finite(features: Features) -> None:
    arrays = (features.hidden_LTD, features.zero_shot_logit_T, features.profile_TP)
    if not all(np.isfinite(x).all() for x in arrays):
        raise Misconfigured(
            "The student's hidden states are not finite. Delete AAR_HOME/cache/models and try "
            "again."
        )
