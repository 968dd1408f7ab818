"""Static vectors of texts: latent semantic analysis of a corpus (Deerwester et al. 1990). The chat teacher's eyes.

Fitted at set-up on unlabelled texts, so that the teacher owes nothing to the student's pretraining.
Legend: T texts, K dimensions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 128


def static_vectors(
    corpus: Sequence[str], texts: Sequence[str], seed: int = 0, *, characters: bool = False
) -> NDArray[np.float32]:
    """Vectors (T, K) of `texts`: TF-IDF of words, or of their `characters` (2 to 4 in a row), reduced by a truncated SVD that
    was fitted on `corpus`."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    of = {"analyzer": "char_wb", "ngram_range": (2, 4)} if characters else {}
    counter = TfidfVectorizer(sublinear_tf=True, min_df=3, **of)
    counts = counter.fit_transform(corpus)
    reducer = TruncatedSVD(min(DIMENSIONS, counts.shape[1] - 1), random_state=seed).fit(counts)
    return reducer.transform(counter.transform(texts)).astype(np.float32)
