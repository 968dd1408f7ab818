"""A control: how well the labels can be predicted without understanding. Its accuracy is kept for
the operator.

One logistic regression on counts of short character sequences, and one on length alone, are trained
on the true labels of the teacher and student splits and tested on the final split. Both should be
near one half.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aarlab.core.errors import Misconfigured
from aarlab.core.records import AnyItem, Pair

if TYPE_CHECKING:
    from scipy import sparse

GRAMS = (2, 4)  # characters
FEATURES = 2**16
STRENGTH = 10.0  # inverse of the L2 penalty


def shortcut_accuracy(items: Sequence[AnyItem]) -> dict[str, float]:
    """Accuracy of both controls on the final split, whole and by part: `characters`,
    `characters_id`, `length_ood`, ...

    A pair is read as the difference of its texts, a single choice without its question.

    Raises:
        Misconfigured: there is no labelled item to learn from, or none to be asked about.
    """
    # half a second to import, and every command imports the problems
    from sklearn.linear_model import LogisticRegression

    known = [i for i in items if i.split in ("teacher", "student")]
    asked = [i for i in items if i.split == "final"]
    if not known or not asked:
        raise Misconfigured(
            "The control of shortcuts needs items in the teacher or student split and in the "
            "final one."
        )
    truth = np.array([i.label for i in asked])
    found: dict[str, float] = {}
    for name, features in (("characters", _characters), ("length", _length)):
        model = LogisticRegression(C=STRENGTH, max_iter=1_000).fit(
            features(known), [i.label for i in known]
        )
        right = model.predict(features(asked)) == truth
        found[name] = float(right.mean())
        for part in sorted({i.part for i in asked}):
            found[f"{name}_{part}"] = float(right[[i.part == part for i in asked]].mean())
    return found


def _characters(items: Sequence[AnyItem]) -> "sparse.csr_array":
    """Unit vectors (N, FEATURES) of the choices' character counts; of a pair, the second's less the
    first's."""
    from scipy import sparse
    from sklearn.feature_extraction.text import HashingVectorizer

    vectors = HashingVectorizer(
        analyzer="char",
        ngram_range=GRAMS,
        n_features=FEATURES,
        alternate_sign=False,
        lowercase=False,
    )
    last, first = (
        sparse.csr_array(vectors.transform(texts))
        for texts in (
            [i.choices[-1] for i in items],
            [i.choices[0] if isinstance(i, Pair) else "" for i in items],
        )
    )
    return last - first


def _length(items: Sequence[AnyItem]) -> np.ndarray:
    """(N, 1): the log of the choice's length in characters; of a pair, the second's less the
    first's."""
    logs = [[np.log1p(len(text)) for text in i.choices] for i in items]
    return np.array([[each[-1] - (each[0] if len(each) > 1 else 0.0)] for each in logs])
