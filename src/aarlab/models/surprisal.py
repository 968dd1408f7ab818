"""How surprised a language model is by the tokens of a worked answer: a profile of fixed width, and
a judgement.

A wrong step shows as a few tokens of high surprisal that the question does not explain.
Probabilities are normalised over the tokens that occur in the problem's choices (a few hundred),
which costs a hundredth of the full vocabulary. Legend: t tokens of one choice, P numbers of its
profile.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TOP = 8  # extreme tokens that are kept by value, most extreme first


@dataclass(frozen=True)
class TokenReading:
    """What a model says of each token of one choice, shape (t,) each; nats."""

    surprisal_t: Array  # -log p(token | question, tokens before)
    entropy_t: Array  # of the distribution that the token was drawn from
    rank_t: Array  # how many tokens were likelier

    @property
    def excess_t(self) -> Array:
        """Surprisal above what the model expected: surprisal - entropy."""
        return self.surprisal_t - self.entropy_t


def profile(reading: TokenReading) -> Array:
    """The token series of one choice as P numbers: extremes, moments and counts, compressed by a
    signed logarithm."""
    series = (reading.surprisal_t, reading.excess_t, np.log1p(reading.rank_t))
    numbers = np.concatenate([_summary(s) for s in series])
    return np.sign(numbers) * np.log1p(np.abs(numbers))


def _summary(series_t: Array) -> Array:
    """The TOP largest values (short series are padded with their smallest), mean, deviation,
    smallest, last, counts."""
    largest = np.sort(series_t)[::-1][:TOP]
    top = np.pad(largest, (0, TOP - len(largest)), mode="edge")
    moments = [series_t.mean(), series_t.std(), series_t.min(), series_t[-1]]
    return np.concatenate(
        [top, moments, [(series_t > limit).sum() for limit in (0.5, 1.0, 2.0, 4.0)]]
    )


def zero_shot_logit(reading: TokenReading) -> float:
    """The zero-shot judgement that a choice is right: minus its largest excess surprisal."""
    return -float(reading.excess_t.max())
