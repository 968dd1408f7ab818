"""How a testbed's features are made: by the real student of the small preset, or by the double that needs no weights."""

import hashlib
from collections.abc import Sequence

from aarlab.core.settings import Home
from aarlab.models import double, smollm
from aarlab.runs.testbed import Extract, Extracted, Say


def real(home: Home, workers: int) -> Extract:
    """SmolLM2-135M-Instruct, frozen, over `workers` processes."""

    def extract(texts: Sequence[str], say: Say) -> Extracted:
        say("student: weights", 0, 1)
        smollm.ensure_weights(home.cache)
        features = smollm.extract(
            texts, cache=home.cache, workers=workers, progress=lambda done, of: say("student: hidden states", done, of)
        )
        return Extracted(dict(zip(smollm.LAYERS, features.hidden_LTD, strict=True)), features.favour_T, "SmolLM2-135M")

    return extract


def counting(texts: Sequence[str], say: Say) -> Extracted:
    """The deterministic double: milliseconds, no download. For tests and for trying the path out."""
    say("double: features", 0, 1)
    hidden_LTD, favour_T = double.features(texts)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return Extracted(dict(zip(double.LAYERS, hidden_LTD, strict=True)), favour_T, f"double {digest[:12]}")
