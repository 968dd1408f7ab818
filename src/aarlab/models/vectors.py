"""Static vectors of texts: latent semantic analysis of a corpus (Deerwester et al. 1990). They are
the features of the teachers of chat and of users' own items.

They are fitted at set-up on unlabelled texts, so that the teacher does not depend on the student's
pretraining. Legend: T texts, K dimensions.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured

DIMENSIONS, SHARED = 128, 3  # a word counts if so many texts of the corpus have it
# Thai to Chinese: a sign is a word
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = rf"(?u)[{UNSPACED}]|\b[^\W{UNSPACED}][^\W{UNSPACED}]+\b"


def static_vectors(
    corpus: Sequence[str], texts: Sequence[str], *, characters: bool = False
) -> NDArray[np.float32]:
    """Vectors (T, K) of `texts`: TF-IDF of words, or of their `characters` (2 to 4 in a row),
    reduced by a truncated SVD that was fitted on `corpus`. In scripts without spaces between words
    each sign counts as one.

    Raises:
        Misconfigured: the corpus is too small: its texts share fewer than two words.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    of = {"analyzer": "char_wb", "ngram_range": (2, 4)} if characters else {"token_pattern": WORD}
    counter = TfidfVectorizer(sublinear_tf=True, **of)
    shared = Counter(word for text in corpus for word in set(counter.build_analyzer()(text)))
    if sum(count >= SHARED for count in shared.values()) < 2:
        raise Misconfigured(
            f"The teacher cannot be fitted: fewer than two words occur in at least {SHARED} of its "
            f"{len(corpus)} texts (of the teacher and student splits). Add items, or use longer "
            "texts."
        )
    counter.set_params(min_df=SHARED)
    counts = counter.fit_transform(corpus)
    reducer = TruncatedSVD(min(DIMENSIONS, counts.shape[1] - 1), random_state=0).fit(counts)
    return reducer.transform(counter.transform(texts)).astype(np.float32)
