"""The parts that methods are composed of: representation, label source, filter, weight, loss,
schedule, head.

Legend: N student pairs, M test pairs, D features, K sources of labels.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from aarlab.methods.method import Array, Inputs, Task
from aarlab.models.head_training import FittedLinear, LinearHead, Loss, cross_entropy

Pairs = NDArray[np.floating]  # (N, 2, D)
LAYER, L2 = 16, 1.0  # chosen on data seed 0, reported on others (LOG.md)
EPS = 1e-4


# --- representation -------------------------------------------------------------------------------


def represent(
    task: Task, layers: Sequence[int] = (LAYER,), rank: int | None = None
) -> tuple[Pairs, Pairs]:
    """Features of student and test pairs: the given layers side by side, optionally only their top
    principal components.

    A low-rank probe keeps the directions with the most variance and drops those in which label
    noise is fitted.
    """
    student, test = (_stack(inputs, layers) for inputs in (task.student, task.test))
    if rank is None:
        return student, test
    flat = student.reshape(-1, student.shape[2])
    centre_D = flat.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(flat - centre_D, rowvar=False))
    top_DR = vectors[:, -rank:]
    return (student - centre_D) @ top_DR, (test - centre_D) @ top_DR


def erase_zero_shot(task: Task, student: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """The features without the direction in which they vary with the student's own zero-shot
    judgement, so that a head cannot follow it (after Belrose et al. 2023, arXiv:2306.03819; here
    an orthogonal projection)."""
    zero_shot_N = task.student.zero_shot_logit_N
    direction_D = (student[:, 1] - student[:, 0]).T @ (zero_shot_N - zero_shot_N.mean())
    direction_D /= np.linalg.norm(direction_D) or 1.0
    erased = (x - (x @ direction_D)[..., None] * direction_D for x in (student, test))
    return next(erased), next(erased)


def _stack(inputs: Inputs, layers: Sequence[int]) -> Pairs:
    return np.concatenate([inputs.hidden[layer] for layer in layers], axis=2).astype(np.float64)


# --- label sources: each returns probabilities that `second` is better, shape (N,) ----------------


def product_labels(task: Task, trust: float = 1.0) -> Array:
    """Product of experts: weak logit plus `trust` times the standardised zero-shot logit (Hinton
    2002, section 2)."""
    zero_shot_logit_N = task.student.zero_shot_logit_N
    return expit(
        logit(np.clip(task.weak_probs_N, EPS, 1 - EPS))
        + trust * zero_shot_logit_N / zero_shot_logit_N.std()
    )


def noisy_channel_labels(task: Task, rounds: int = 20) -> Array:
    """The posterior of three annotators: the weak teacher, the same with a critic, and the
    zero-shot judgement."""
    zero_shot_logit_N = task.student.zero_shot_logit_N
    return noisy_channel(
        np.stack(
            [
                task.weak_probs_N > 0.5,
                task.critic_probs_N > 0.5,
                zero_shot_logit_N > np.median(zero_shot_logit_N),
            ]
        ),
        rounds,
    )


def noisy_channel(votes_KN: NDArray[np.bool_], rounds: int = 20) -> Array:
    """Posterior (N,) of the true label by EM over K binary annotators with a symmetric error rate
    each (Dawid & Skene 1979), which are taken to err independently."""
    signs_KN = np.where(votes_KN, 1.0, -1.0)
    posterior_N = votes_KN.mean(axis=0)
    for _ in range(rounds):
        right_K = np.clip(
            np.where(votes_KN, posterior_N, 1 - posterior_N).mean(axis=1), 0.5 + EPS, 1 - EPS
        )
        posterior_N = expit(logit(right_K) @ signs_KN)
    return posterior_N


def elicited_labels(
    task: Task, pairs_N2D: Pairs, seed: int, rounds: int = 3, l2: float = L2
) -> Array:
    """Unsupervised elicitation: labels that the strong model finds mutually predictable, without
    any weak label.

    Starts from the zero-shot judgement; each round predicts every label from the others
    (cross-fitting) and keeps the consensus of prediction and judgement. After Wen et al. 2025
    (arXiv:2506.10139), mutual predictability, with a probe in place of in-context prediction.
    """
    zero_shot_logit_N = task.student.zero_shot_logit_N
    own_N = zero_shot_logit_N / zero_shot_logit_N.std()
    labels_N = expit(2 * own_N)
    for r in range(rounds):
        labels_N = expit(
            own_N + logit(np.clip(cross_fit(pairs_N2D, labels_N, seed + r, l2=l2), EPS, 1 - EPS))
        )
    return labels_N


def self_trained_labels(
    pairs_N2D: Pairs, labels_N: Array, seed: int, rounds: int = 2, l2: float = L2
) -> Array:
    """Replace labels by the head's own cross-fitted predictions, `rounds` times (Lee 2013,
    pseudo-label)."""
    for r in range(rounds):
        labels_N = harden(cross_fit(pairs_N2D, labels_N, seed + r, l2=l2))
    return labels_N


def cross_fit(
    pairs_N2D: Pairs, labels_N: Array, seed: int, folds: int = 4, l2: float = L2
) -> Array:
    """Each pair's probability from a head that was not fitted on it, shape (N,)."""
    out_N = np.zeros(len(labels_N))
    for rows in np.array_split(np.random.default_rng(seed).permutation(len(labels_N)), folds):
        rest = np.setdiff1d(np.arange(len(labels_N)), rows)
        out_N[rows] = LinearHead(l2).fit(pairs_N2D[rest], labels_N[rest]).probs(pairs_N2D[rows])
    return out_N


def harden(labels_N: Array) -> Array:
    """Probabilities to 0 or 1."""
    return (labels_N > 0.5).astype(np.float64)


# --- filters: each returns the indices to keep ----------------------------------------------------


def confident(labels_N: Array, share: float = 0.5) -> NDArray[np.intp]:
    """The `share` of pairs whose label is furthest from 0.5."""
    order = np.argsort(-np.abs(labels_N - 0.5), kind="stable")
    return np.sort(order[: max(10, round(share * len(order)))])


def agreeing(labels_N: Array, others_N: Array) -> NDArray[np.intp]:
    """The pairs on which two sources of labels agree (all pairs if fewer than ten do)."""
    keep = np.flatnonzero((labels_N > 0.5) == (others_N > 0.5))
    return keep if len(keep) >= 10 else np.arange(len(labels_N))


def dense(
    pairs_N2D: Pairs, labels_N: Array, share: float = 0.7, neighbours: int = 10
) -> NDArray[np.intp]:
    """The `share` of pairs whose label agrees most with the labels of their nearest neighbours
    (overlap density; Shin et al. 2024, arXiv:2412.03881)."""
    x_ND = pairs_N2D[:, 1] - pairs_N2D[:, 0]
    x_ND = x_ND / (np.linalg.norm(x_ND, axis=1, keepdims=True) + 1e-9)
    cosine_NN = x_ND @ x_ND.T
    np.fill_diagonal(cosine_NN, 0)
    neighbours = min(neighbours, len(x_ND) - 1)
    nearest_NK = np.argpartition(-np.abs(cosine_NN), neighbours, axis=1)[:, :neighbours]
    votes_NK = np.sign(np.take_along_axis(cosine_NN, nearest_NK, 1)) * (
        2 * labels_N[nearest_NK] - 1
    )
    agreement_N = (2 * labels_N - 1) * votes_NK.mean(axis=1)
    return np.sort(np.argsort(-agreement_N, kind="stable")[: max(10, round(share * len(labels_N)))])


# --- weights and losses ---------------------------------------------------------------------------


def confidence_weights(labels_N: Array, power: float = 1.0) -> Array:
    """|2p - 1| ** power, so that unsure labels count less."""
    return np.abs(2 * labels_N - 1) ** power + EPS


def auxiliary_confidence(alpha: float = 0.5) -> Loss:
    """(1 - a) CE(f, weak) + a CE(f, [f > t]), a ramped from 0 to `alpha` (Burns et al. 2023, eq.
    1); t balances classes."""

    def loss(logits_N: Array, targets_N: Array, progress: float) -> tuple[Array, Array]:
        a = alpha * progress
        own_N = (logits_N > np.median(logits_N)).astype(np.float64)
        return cross_entropy(logits_N, (1 - a) * targets_N + a * own_N, progress)

    return loss


def generalised_cross_entropy(q: float = 0.7) -> Loss:
    """(1 - p_y^q) / q for the target class, robust to label noise (Zhang & Sabuncu 2018, eq. 6),
    averaged over soft targets."""

    def loss(logits_N: Array, targets_N: Array, progress: float) -> tuple[Array, Array]:
        del progress
        p_N = np.clip(expit(logits_N), 1e-6, 1 - 1e-6)
        value_N = targets_N * (1 - p_N**q) / q + (1 - targets_N) * (1 - (1 - p_N) ** q) / q
        slope_N = -targets_N * p_N**q * (1 - p_N) + (1 - targets_N) * (1 - p_N) ** q * p_N
        return value_N, slope_N

    return loss


# --- what learns ----------------------------------------------------------------------------------


def learn(
    task: Task,
    labels_N: Array,
    seed: int,
    *,
    keep: NDArray[np.intp] | None = None,
    weights_N: Array | None = None,
    loss: Loss = cross_entropy,
) -> Array:
    """Train on the kept labels and return probabilities (M,) for the test items. The strong
    model is trained if it can be fine-tuned; otherwise a linear head on its frozen states is
    trained."""
    if task.strong is None:
        student, test = represent(task)
        return train(student, labels_N, keep=keep, weights_N=weights_N, loss=loss).probs(test)
    rows = np.arange(len(labels_N)) if keep is None else keep
    weights_n = None if weights_N is None else weights_N[rows]
    return task.strong.fine_tune(
        labels_N[rows], seed=seed, rows=rows, weights_n=weights_n, loss=loss
    ).test_probs_M


# --- heads and schedules --------------------------------------------------------------------------


def train(
    pairs_N2D: Pairs,
    labels_N: Array,
    *,
    keep: NDArray[np.intp] | None = None,
    weights_N: Array | None = None,
    loss: Loss = cross_entropy,
    l2: float = L2,
) -> FittedLinear:
    """A linear head on the kept pairs. Losses with a ramp are fitted in four phases."""
    rows = np.arange(len(labels_N)) if keep is None else keep
    phases = 1 if loss is cross_entropy else 4
    weights = None if weights_N is None else weights_N[rows]
    return LinearHead(l2).fit(
        pairs_N2D[rows], labels_N[rows], weights_N=weights, loss=loss, phases=phases
    )


def curriculum(
    pairs_N2D: Pairs, labels_N: Array, *, shares: Sequence[float] = (0.3, 0.6), l2: float = L2
) -> Array:
    """Easy to hard: train on the surest share, relabel the rest by the head so far, and widen
    (Bengio et al. 2009).

    Returns the relabelled probabilities, shape (N,).
    """
    labels_N = labels_N.copy()
    for share in shares:
        sure = confident(labels_N, share)
        unsure = np.setdiff1d(np.arange(len(labels_N)), sure)
        labels_N[unsure] = train(pairs_N2D, labels_N, keep=sure, l2=l2).probs(pairs_N2D[unsure])
    return labels_N


def co_teaching(
    pairs_N2D: Pairs, labels_N: Array, seed: int, *, drop: float = 0.3, l2: float = L2
) -> NDArray[np.intp]:
    """Two heads on disjoint halves each drop the pairs on which the other one's loss is largest
    (Han et al. 2018)."""
    halves = np.array_split(np.random.default_rng(seed).permutation(len(labels_N)), 2)
    kept = []
    for mine, other in (halves, halves[::-1]):
        logits = train(pairs_N2D, labels_N, keep=other, l2=l2).logits(pairs_N2D[mine])
        loss, _ = cross_entropy(logits, harden(labels_N)[mine], 1.0)
        kept.append(mine[np.argsort(loss, kind="stable")[: round((1 - drop) * len(mine))]])
    return np.sort(np.concatenate(kept))


def bagged(  # noqa: PLR0913 - each a part of the recipe
    pairs_N2D: Pairs,
    labels_N: Array,
    test_M2D: Pairs,
    seed: int,
    *,
    heads: int = 8,
    keep: NDArray[np.intp] | None = None,
    weights_N: Array | None = None,
    loss: Loss = cross_entropy,
    l2: float = L2,
) -> Array:
    """Mean probability of `heads` linear heads on bootstrap samples of the kept pairs (Breiman
    1996), shape (M,)."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(labels_N)) if keep is None else keep
    draws = [rng.choice(rows, size=len(rows)) for _ in range(heads)]
    fitted = (
        train(pairs_N2D, labels_N, keep=d, weights_N=weights_N, loss=loss, l2=l2) for d in draws
    )
    return np.mean([head.probs(test_M2D) for head in fitted], axis=0)


def mean_difference(pairs_N2D: Pairs, labels_N: Array, test_M2D: Pairs) -> Array:
    """Project on the difference of class means (Marks & Tegmark 2023, arXiv:2310.06824), shape
    (M,)."""
    signed_N1 = (2 * labels_N - 1)[:, None]
    direction_D = (signed_N1 * (pairs_N2D[:, 1] - pairs_N2D[:, 0])).mean(axis=0)
    score_M = (test_M2D[:, 1] - test_M2D[:, 0]) @ direction_D
    return expit(score_M / score_M.std())


def evolve_layers(
    task: Task, labels_N: Array, seed: int, *, generations: int = 4, population: int = 6
) -> tuple[int, ...]:
    """A set of layers evolved by mutation and truncation selection; fitness is the cross-fitted
    agreement of a head with labels that it has not seen, so no true label is used."""
    rng = np.random.default_rng(seed)
    layers = sorted(task.student.hidden)
    pool = [tuple([layer]) for layer in layers]
    fitness = partial(_layer_fitness, task, labels_N, seed)
    scored = {genes: fitness(genes) for genes in pool}
    for _ in range(generations):
        best = sorted(scored, key=scored.__getitem__, reverse=True)[: population // 2]
        parent = best[rng.integers(len(best))]
        child = tuple(sorted(set(parent) ^ {layers[rng.integers(len(layers))]}))
        if child and child not in scored:
            scored[child] = fitness(child)
    return max(scored, key=scored.__getitem__)


def _layer_fitness(task: Task, labels_N: Array, seed: int, genes: tuple[int, ...]) -> float:
    predicted = cross_fit(_stack(task.student, genes), labels_N, seed, folds=2)
    return float(((predicted > 0.5) == (labels_N > 0.5)).mean())
