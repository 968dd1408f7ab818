"""Methods without one part of the library: what stands in the place of each part that can be taken
out. Parts without which nothing is learned (`train`, `learn`, `cross_fit`) cannot.

Legend: N student pairs, K sources of labels.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import aarlab.methods
from aarlab.core.errors import Misconfigured
from aarlab.core.python_file import load_file
from aarlab.methods import parts
from aarlab.methods.method import RunMethod

Given = Mapping[str, Any]  # the arguments of a call, by name


class Neutral(NamedTuple):
    """What stands in a part's place: as text, and as a function of what the part is called
    with."""

    words: str
    run: Callable[[Given], Any]


_weak = Neutral("the weak labels", lambda given: given["task"].weak_probs_N)
_same = Neutral("the labels as they are", lambda given: given["labels_N"])
_all = Neutral("all pairs", lambda given: np.arange(len(given["labels_N"])))
_plain_loss = Neutral("cross-entropy", lambda _: parts.cross_entropy)


def _one_head(given: Given) -> Any:
    fit = {name: given[name] for name in ("keep", "weights_N", "loss", "l2") if name in given}
    return parts.train(given["pairs_N2D"], given["labels_N"], **fit).probs(given["test_M2D"])


NEUTRAL: dict[str, Neutral] = {
    "represent": Neutral("one layer, all of it", lambda given: parts.represent(given["task"])),
    "erase_zero_shot": Neutral(
        "the features as they are", lambda given: (given["student"], given["test"])
    ),
    "product_labels": _weak,
    "noisy_channel_labels": _weak,
    "noisy_channel": Neutral("the mean vote", lambda given: given["votes_KN"].mean(axis=0)),
    "elicited_labels": _weak,
    "self_trained_labels": _same,
    "curriculum": _same,
    "harden": _same,
    "confident": _all,
    "agreeing": _all,
    "dense": _all,
    "co_teaching": _all,
    "confidence_weights": Neutral("equal weights", lambda given: np.ones(len(given["labels_N"]))),
    "auxiliary_confidence": _plain_loss,
    "generalised_cross_entropy": _plain_loss,
    "bagged": Neutral("one head", _one_head),
    "mean_difference": Neutral("a linear head", _one_head),
    "evolve_layers": Neutral("one layer", lambda _: (parts.LAYER,)),
}


def run_without(name: str, method: Path) -> RunMethod:
    """The `run` of a method file, for which one part of the library is taken out. What other parts
    do inside stays as it is.

    Raises:
        Misconfigured: there is no such part.
    """
    if name not in NEUTRAL:
        raise Misconfigured(f"'{name}' is no part that can be taken out: {', '.join(NEUTRAL)}.")
    original, neutral = inspect.signature(getattr(parts, name)), NEUTRAL[name]
    shown = ModuleType(parts.__name__, parts.__doc__)
    vars(shown).update(vars(parts))
    setattr(shown, name, lambda *a, **k: neutral.run(original.bind(*a, **k).arguments))
    sys.modules[parts.__name__] = aarlab.methods.parts = shown
    return load_file(method, "submitted_method").run
