"""The student's trainable head: a linear or one-hidden-layer scorer of a pair, on frozen, z-scored features, in numpy.

A pair's logit is f(second) - f(first), so swapping the two snippets swaps the answer. Burns et al. 2023 (section 4.1,
ImageNet) train linear probes on frozen features as students in the same way.
Legend: N training pairs, M test pairs, D features, H hidden units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from aarlab.core.errors import InvalidSubmission

Array = NDArray[np.float64]
Loss = Callable[[Array, Array, float], tuple[Array, Array]]
"""(logits_N, targets_N, progress in 0..1) -> (loss_N, d loss / d logit, shape (N,))."""


def cross_entropy(logits_N: Array, targets_N: Array, progress: float) -> tuple[Array, Array]:
    """Binary cross-entropy against soft targets in 0..1."""
    del progress
    return np.logaddexp(0, logits_N) - targets_N * logits_N, expit(logits_N) - targets_N


@dataclass(frozen=True)
class LinearHead:
    """L2-regularised linear scorer, fitted to convergence by L-BFGS. `l2` multiplies |w|^2 / 2 (mean loss over N)."""

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

        A loss that depends on `progress` is fitted in `phases` rounds, each from the last one's solution.

        Raises:
            InvalidSubmission: the method gave arrays that do not fit each other or are not finite.
        """
        _check(pairs_N2D, targets_N, weights_N)
        x_ND = (pairs_N2D[:, 1] - pairs_N2D[:, 0]).astype(np.float64)
        share_N = np.full(len(x_ND), 1 / len(x_ND)) if weights_N is None else weights_N / weights_N.sum()
        w_D = np.zeros(x_ND.shape[1])
        for phase in range(phases):
            progress = (phase + 1) / phases

            def objective(w_D: Array, progress: float = progress) -> tuple[float, Array]:
                loss_N, grad_N = loss(x_ND @ w_D, targets_N, progress)
                value = share_N @ loss_N + 0.5 * self.l2 * w_D @ w_D
                return float(value), x_ND.T @ (share_N * grad_N) + self.l2 * w_D

            w_D = minimize(objective, w_D, jac=True, method="L-BFGS-B", options={"maxiter": self.max_iter}).x
        return FittedLinear(w_D)


@dataclass(frozen=True)
class FittedLinear:
    direction_D: Array

    def logits(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Logit that `second` is the better one, shape (M,)."""
        return (pairs_M2D[:, 1] - pairs_M2D[:, 0]).astype(np.float64) @ self.direction_D

    def probs(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Probability that `second` is the better one, shape (M,)."""
        return expit(self.logits(pairs_M2D))


def _check(pairs_N2D: NDArray[np.floating], targets_N: Array, weights_N: Array | None) -> None:
    if pairs_N2D.ndim != 3 or pairs_N2D.shape[1] != 2:
        raise InvalidSubmission(f"Features must have shape (N, 2, D), got {pairs_N2D.shape}.")
    if len(pairs_N2D) == 0:
        raise InvalidSubmission("No training pair is left. Loosen the filter.")
    for name, values in (("targets", targets_N), ("weights", weights_N)):
        if values is not None and (values.shape != (len(pairs_N2D),) or not np.isfinite(values).all()):
            raise InvalidSubmission(f"{name} must be {len(pairs_N2D)} finite numbers, got shape {values.shape}.")
    if targets_N.min() < 0 or targets_N.max() > 1:
        raise InvalidSubmission(f"targets must lie in 0..1, got {targets_N.min():.3g}..{targets_N.max():.3g}.")
    if weights_N is not None and (weights_N.min() < 0 or weights_N.sum() <= 0):
        raise InvalidSubmission("weights must be non-negative and not all zero.")


@dataclass(frozen=True)
class MlpHead:
    """One hidden layer of H ReLU units plus a linear skip, Adam on minibatches; heavier and noisier than the linear head."""

    hidden: int = 64
    l2: float = 1e-3
    epochs: int = 10
    rate: float = 1e-3
    batch: int = 32

    def fit(
        self,
        pairs_N2D: NDArray[np.floating],
        targets_N: Array,
        *,
        seed: int,
        weights_N: Array | None = None,
        loss: Loss = cross_entropy,
    ) -> "FittedMlp":
        """Fit on soft targets in 0..1; the seed draws the start and the order of the minibatches.

        Raises:
            InvalidSubmission: the method gave arrays that do not fit each other or are not finite.
        """
        _check(pairs_N2D, targets_N, weights_N)
        rng = np.random.default_rng(seed)
        z_N2D = pairs_N2D.astype(np.float32)
        importance_N = np.ones(len(z_N2D)) if weights_N is None else weights_N * len(weights_N) / weights_N.sum()
        width = z_N2D.shape[2]
        params = [
            rng.normal(0, width**-0.5, (width, self.hidden)).astype(np.float32),
            np.zeros(self.hidden, np.float32),
            rng.normal(0, self.hidden**-0.5, self.hidden).astype(np.float32),
            np.zeros(width, np.float32),
        ]
        adam = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
        steps = self.epochs * -(-len(z_N2D) // self.batch)
        step = 0
        for _ in range(self.epochs):
            for rows in np.array_split(rng.permutation(len(z_N2D)), -(-len(z_N2D) // self.batch)):
                step += 1
                logits, hidden_b2H = _mlp(params, z_N2D[rows])
                _, grad = loss(logits, targets_N[rows], step / steps)
                signal = (grad * importance_N[rows] / len(rows)).astype(np.float32)
                _adam(params, _mlp_grads(params, z_N2D[rows], hidden_b2H, signal, self.l2), adam, step, self.rate)
        return FittedMlp(params)


@dataclass(frozen=True)
class FittedMlp:
    params: list[NDArray[np.float32]]

    def logits(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Logit that `second` is the better one, shape (M,)."""
        return _mlp(self.params, pairs_M2D.astype(np.float32))[0].astype(np.float64)

    def probs(self, pairs_M2D: NDArray[np.floating]) -> Array:
        """Probability that `second` is the better one, shape (M,)."""
        return expit(self.logits(pairs_M2D))


def _mlp(params: list, z_b2D: NDArray) -> tuple[NDArray, NDArray]:
    enter_DH, bias_H, leave_H, skip_D = params
    hidden_b2H = np.maximum(z_b2D @ enter_DH + bias_H, 0)
    score_b2 = hidden_b2H @ leave_H + z_b2D @ skip_D
    return score_b2[:, 1] - score_b2[:, 0], hidden_b2H


def _mlp_grads(params: list, z_b2D: NDArray, hidden_b2H: NDArray, signal_b: NDArray, l2: float) -> list:
    """Gradients by the chain rule; the signal enters with + for `second` and - for `first`."""
    signed_b2 = signal_b[:, None] * np.array([-1, 1], np.float32)
    back_b2H = signed_b2[..., None] * params[2] * (hidden_b2H > 0)
    flat = z_b2D.reshape(-1, z_b2D.shape[2])
    grads = [
        flat.T @ back_b2H.reshape(len(flat), -1),
        back_b2H.sum((0, 1)),
        np.einsum("bp,bph->h", signed_b2, hidden_b2H),
        np.einsum("bp,bpd->d", signed_b2, z_b2D),
    ]
    return [g + l2 * p for g, p in zip(grads, params, strict=True)]


def _adam(params: list, grads: list, state: list, step: int, rate: float) -> None:
    """One Adam step in place (Kingma & Ba 2015, algorithm 1; beta 0.9 and 0.999)."""
    for p, g, (m, v) in zip(params, grads, state, strict=True):
        m += 0.1 * (g - m)
        v += 0.001 * (g * g - v)
        p -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
