"""What the search researcher believes about recipes that were not tried.

All that is known of a recipe's score is an interval: an improvement of j steps says from where to
where, anything else says below what. The belief is a Gaussian process over recipes; what is not
observed inside an interval is drawn by Gibbs sampling (data augmentation; Albert & Chib 1993), and
the next recipe is the best of one draw (Thompson 1933). Legend: R tried recipes, C candidates, D
dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Array = NDArray[np.float64]

SPREAD = 0.15  # standard deviation of recipes' PGR around their mean
NOISE = 0.03  # standard deviation of a PGR given the belief
MEAN_SPREAD = 0.2  # standard deviation of the mean around the level at the start
POWER = 4  # of the share of equal options: how recipes interact
SWEEPS, KEPT = 30, 300  # Gibbs sweeps; the latest recipes that are looked at


@dataclass(frozen=True)
class TriedRecipe:
    """A tried recipe, and the interval of PGR in which its score lies."""

    recipe: tuple[str, ...]  # one option of each dimension, in one order
    low: float
    high: float


def draw(
    seen: Sequence[TriedRecipe], candidates: Sequence[tuple[str, ...]], start: float, seed: int
) -> Array:
    """One draw of the candidates' PGR from what is believed after all that was seen, (C,).
    `start`: PGR of the level at the start."""
    rng, kept = np.random.default_rng(seed), _kept(seen)
    prior_CC = _covariance(candidates, candidates)
    if not kept:
        return start + _gaussian(np.zeros(len(candidates)), prior_CC, rng)
    tried = [one.recipe for one in kept]
    cov_RR, cov_CR = _covariance(tried, tried), _covariance(candidates, tried)
    gain_RR = np.linalg.solve(cov_RR + NOISE**2 * np.eye(len(tried)), cov_RR).T
    root_RR = _root(cov_RR - gain_RR @ cov_RR)
    low_R, high_R = (
        np.array([getattr(one, end) for one in kept]) - start for end in ("low", "high")
    )
    score_R = np.where(np.isfinite(low_R), low_R, high_R)
    for _ in range(SWEEPS):
        belief_R = gain_RR @ score_R + root_RR @ rng.standard_normal(len(tried))
        score_R = _within(belief_R, low_R, high_R, rng)
    weight_RC = np.linalg.solve(cov_RR + NOISE**2 * np.eye(len(tried)), cov_CR.T)
    return start + _gaussian(weight_RC.T @ score_R, prior_CC - cov_CR @ weight_RC, rng)


def _kept(seen: Sequence[TriedRecipe]) -> list[TriedRecipe]:
    """The latest improvements, and the latest of the others that say anything."""
    better = [one for one in seen if np.isfinite(one.low)][-KEPT // 2 :]
    rest = [one for one in seen if not np.isfinite(one.low) and np.isfinite(one.high)]
    return better + rest[-(KEPT - len(better)) :]


def _covariance(one: Sequence[tuple[str, ...]], other: Sequence[tuple[str, ...]]) -> Array:
    """Of two sets of recipes: what all share, each option's own part, and their interaction."""
    names = {option: n for n, option in enumerate({o for r in (*one, *other) for o in r})}
    a_RD, b_CD = (np.array([[names[o] for o in r] for r in rows]) for rows in (one, other))
    share_RC = (a_RD[:, None] == b_CD[None]).mean(axis=2)
    return MEAN_SPREAD**2 + SPREAD**2 * (0.5 * share_RC + 0.5 * share_RC**POWER)


def _within(mean_R: Array, low_R: Array, high_R: Array, rng: np.random.Generator) -> Array:
    """A Gaussian draw around each mean, given that it lies in its interval."""
    below_R, above_R = (ndtr((end - mean_R) / NOISE) for end in (low_R, high_R))
    share_R = below_R + rng.random(len(mean_R)) * (above_R - below_R)
    drawn_R = mean_R + NOISE * ndtri(np.clip(share_R, 1e-12, 1 - 1e-12))
    return np.clip(drawn_R, low_R, high_R)


def _gaussian(mean_C: Array, cov_CC: Array, rng: np.random.Generator) -> Array:
    return mean_C + _root(cov_CC) @ rng.standard_normal(len(mean_C))


def _root(cov: Array) -> Array:
    """A square root of a covariance whose least eigenvalues may be below 0 by rounding."""
    values, vectors = np.linalg.eigh(cov)
    return vectors * np.sqrt(np.clip(values, 0, None))
