"""Bootstrap intervals. Every figure that the project shows comes through here as a `Measure`.

Legend: M test items, S seeds, B bootstrap draws.
"""

import numpy as np
from numpy.typing import NDArray

from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Measure

DRAWS = 1_000
Correct = NDArray[np.bool_]  # (S, M): was item m answered correctly by seed s


def _measure(estimate: float, draws_B: NDArray[np.float64], *, n: int, resampled: str) -> Measure:
    lower, upper = np.quantile(draws_B, [0.025, 0.975])
    return Measure(estimate=float(estimate), lower=float(lower), upper=float(upper), n=n, resampled=resampled)


def _resampled_mean(rng: np.random.Generator, correct_SM: Correct, weights_BM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean accuracy under B draws of seeds (with replacement) and given multinomial weights of items; shape (B,)."""
    seeds = len(correct_SM)
    counts_BS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights_BM))
    per_seed_BS = weights_BM @ correct_SM.T.astype(np.float64)
    return (per_seed_BS * counts_BS).sum(axis=1) / seeds


def _item_weights(rng: np.random.Generator, items: int, draws: int) -> NDArray[np.float64]:
    return rng.multinomial(items, np.full(items, 1 / items), size=draws) / items


def accuracy_measure(correct_SM: Correct, *, seed: int = 0, draws: int = DRAWS) -> Measure:
    """Mean accuracy over seeds and items, with a bootstrap interval over both. `correct_SM`: (S, M) of bool."""
    rng = np.random.default_rng(seed)
    weights_BM = _item_weights(rng, correct_SM.shape[1], draws)
    draws_B = _resampled_mean(rng, correct_SM, weights_BM)
    return _measure(correct_SM.mean(), draws_B, n=correct_SM.shape[1], resampled="items and seeds")


def pgr_measure(correct_SM: Correct, *, weak_SM: Correct, ceiling_SM: Correct, seed: int = 0, draws: int = DRAWS) -> Measure:
    """PGR with a bootstrap interval paired over items, and over the seeds of the method and of both anchors.

    All three arrays are (S, M) over the same M items in the same order; S may differ. Item weights are shared by the
    three, so the errors that they have in common cancel.

    Raises:
        Misconfigured: the ceiling does not exceed the weak accuracy.
    """
    rng = np.random.default_rng(seed)
    weights_BM = _item_weights(rng, correct_SM.shape[1], draws)
    accuracy_B, weak_B, ceiling_B = (_resampled_mean(rng, x, weights_BM) for x in (correct_SM, weak_SM, ceiling_SM))
    estimate = performance_gap_recovered(float(correct_SM.mean()), weak=float(weak_SM.mean()), ceiling=float(ceiling_SM.mean()))
    usable = ceiling_B > weak_B
    draws_B = (accuracy_B - weak_B)[usable] / (ceiling_B - weak_B)[usable]
    return _measure(estimate, draws_B, n=correct_SM.shape[1], resampled="items, seeds and anchors")


def mean_measure(values_N: NDArray[np.float64], *, seed: int = 0, draws: int = DRAWS, resampled: str) -> Measure:
    """The mean of N values with a bootstrap interval over them; `resampled` names what a value is."""
    rng = np.random.default_rng(seed)
    draws_B = _item_weights(rng, len(values_N), draws) @ values_N
    return _measure(float(np.mean(values_N)), draws_B, n=len(values_N), resampled=resampled)
