"""The student's trainable head: a linear or one-hidden-layer scorer of a pair, on frozen, z-scored
features, in numpy.

A pair's logit is f(second) - f(first), so swapping the two snippets swaps the answer. Burns et al.
2023 (section 4.1, ImageNet) train linear probes on frozen features as students in the same way.
Legend: N training pairs, M test pairs, D features, H hidden units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # its parts take half a second to import, and load when they are first used
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission

Array = NDArray[np.float64]
Loss = Callable[[Array, Array, float], tuple[Array, Array]]
"""(logits_N, targets_N, progress in 0..1) -> (loss_N, d loss / d logit, shape (N,))."""


def cross_entropy(logits_N: Array, targets_N: Array, progress: float) -> tuple[Array, Array]:
    """Binary cross-entropy against soft targets in 0..1."""
    del progress
    return np.logaddexp(0, logits_N) - targets_N * logits_N, scipy.special.expit(
        logits_N
    ) - targets_N


@dataclass(frozen=True)
class LinearHead:
    """L2-regularised linear scorer, fitted to convergence by L-BFGS. `l2` multiplies |w|^2 / 2
    (mean loss over N)."""

    l2: float = 1e-2
    max_iter: int = 100

    def fit(
        self,
        pairs_N2D: NDArray[np.floating],
        targets_N: Array,
        *,
        weights_N: Array | None = None,
        loss: Loss = cross_entropy,
        phases: int = 1,
    ) -> "FittedLinear":
        """Fit on soft targets in 0..1 with optional non-negative weights.

        A loss that depends on `progress` is fitted in `phases` rounds, each from the last one's
        solution.

        Raises:
            InvalidSubmission: the method gave arrays that do not fit each other or are not finite.
        """
        _check(pairs_N2D, targets_N, weights_N)
        x_ND = (pairs_N2D[:, 1] - pairs_N2D[:, 0]).astype(np.float64)
        share_N = (
            np.full(len(x_ND), 1 / len(x_ND)) if weights_N is None else weights_N / weights_N.sum()
        )
        w_D = np.zeros(x_ND.shape[1])
        for phase in range(phases):
            progress = (phase + 1) / phases

            def objective(w_D: Array, progress: float = progress) -> tuple[float, Array]:
                loss_N, grad_N = loss(x_ND @ w_D, targets_N, progress)
                value = share_N @ loss_N + 0.5 * self.l2 * w_D @ w_D
                return float(value), x_ND.T @ (share_N * grad_N) + self.l2 * w_D

            w_D = scipy.optimize.minimize(
                objective, w_D, jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter}
            ).x
        return FittedLinear(w_D)


@dataclass(frozen=True)
class FittedLinear:
    direction_D: Array

    def logits(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Logit that `second` is the better one, shape (M,)."""
        return (pairs_M2D[:, 1] - pairs_M2D[:, 0]).astype(np.float64) @ self.direction_D

    def probs(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Probability that `second` is the better one, shape (M,)."""
        return scipy.special.expit(self.logits(pairs_M2D))


def _check(pairs_N2D: NDArray[np.floating], targets_N: Array, weights_N: Array | None) -> None:
    if pairs_N2D.ndim != 3 or pairs_N2D.shape[1] != 2:
        raise InvalidSubmission(f"Features must have shape (N, 2, D), got {pairs_N2D.shape}.")
    if len(pairs_N2D) == 0:
        raise InvalidSubmission("No training item is left. Make the filter less strict.")
    for name, values in (("targets", targets_N), ("weights", weights_N)):
        if values is not None and (
            values.shape != (len(pairs_N2D),) or not np.isfinite(values).all()
        ):
            raise InvalidSubmission(
                f"{name} must be {len(pairs_N2D)} finite numbers, got shape {values.shape}."
            )
    if targets_N.min() < 0 or targets_N.max() > 1:
        raise InvalidSubmission(
            f"targets must lie in 0..1, got {targets_N.min():.3g}..{targets_N.max():.3g}."
        )
    if weights_N is not None and (weights_N.min() < 0 or weights_N.sum() <= 0):
        raise InvalidSubmission("weights must be non-negative and not all zero.")
