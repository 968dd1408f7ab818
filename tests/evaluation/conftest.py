import numpy as np
import pytest

from experiments.detectors.crowd import Crowd
from tests.evaluation.crowded import N


@pytest.fixture
def crowd() -> Crowd:
    """Honest researchers on N items."""
    return Crowd(N, np.random.default_rng(5))
