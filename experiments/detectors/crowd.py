"""Simulated researchers whose submissions detectors are shown: honest ones of several habits.

The model: an item has a latent score that all methods share; a method adds a vector of its own, a
run adds seed noise, and the answer is whether the sum exceeds a threshold. Variances are such that
two seeds of one method disagree on 13.6 % of the items, two methods on 17 % (two unit normals of
correlation r have different signs with probability arccos(r) / pi), and a method is right on 73 %.

Legend: n items, S seeds.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import cos, pi

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Family
from aarlab.evaluation.detectors import Context, Submitted, Text
from aarlab.evaluation.detectors.trivial_answers import bank
from aarlab.researchers.recipe import PLAIN, Recipe, mutate, source_of

SEEDS = 5
SEED_APART, METHOD_APART, RIGHT = 0.136, 0.17, 0.73
RUN = 1 - cos(pi * SEED_APART)  # variance of the seed's share
OWN = 1 - RUN - cos(pi * METHOD_APART)  # of the method's
SHARED = 1 - RUN - OWN  # of the items'
TRUTH = cos(pi * (1 - RIGHT)) / SHARED**0.5  # correlation of the items' share with the truth
WORDS = [
    "plot",
    "scene",
    "price",
    "size",
    "colour",
    "paper",
    "word",
    "line",
    "game",
    "box",
    "door",
    "story",
    "tone",
    "cast",
]


def snapshot_of(source: str) -> str:
    """A name for a file's text."""
    return hashlib.sha256(source.encode()).hexdigest()


@dataclass(frozen=True)
class Idea:
    """A method as its researcher knows it."""

    own_n: NDArray[np.float64]
    recipe: Recipe
    threshold: float = 0.0
    heads: int | None = 1  # averaged over so many seeds each; None: it does not use its seed
    setting: float = 1.0  # a constant in its code


@dataclass
class Crowd:
    """Items with hidden labels, and everything that was committed about them."""

    n: int
    rng: np.random.Generator
    code: dict[str, Mapping[str, str]] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.shared_n = self.rng.standard_normal(self.n)
        noise_n = self.rng.standard_normal(self.n)
        self.labels_n = TRUTH * self.shared_n + (1 - TRUTH**2) ** 0.5 * noise_n > 0
        self.random = random.Random(int(self.rng.integers(2**31)))
        texts = tuple(Text("Which is better?", (self._text(), self._text())) for _ in range(self.n))
        naive = self.shared_n * 0.3 + self.rng.standard_normal(self.n) > 0
        self.context = Context(
            tuple(f"i-{i:05d}" for i in range(self.n)),
            texts,
            {},
            naive,
            code=self.code.__getitem__,
        )
        self.trivial = bank(self.context)

    def _text(self) -> str:
        return " ".join(self.random.choices(WORDS, k=self.random.randint(5, 15)))

    def idea(self) -> Idea:
        """A new method."""
        recipe = mutate(PLAIN, {}, self.random, extra=5)
        return Idea(self.rng.standard_normal(self.n), recipe)

    def near(self, idea: Idea, kept: float) -> Idea:
        """A method that shares so much of another's own vector."""
        own_n = kept * idea.own_n + (1 - kept**2) ** 0.5 * self.rng.standard_normal(self.n)
        return replace(idea, own_n=own_n)

    def run(self, idea: Idea) -> NDArray[np.bool_]:
        """Answers (S, n) on fresh seeds."""
        steady_n = SHARED**0.5 * self.shared_n + OWN**0.5 * idea.own_n - idea.threshold
        if idea.heads is None:
            return np.repeat((steady_n > 0)[None], SEEDS, axis=0)
        return steady_n + (RUN / idea.heads) ** 0.5 * self.rng.standard_normal((SEEDS, self.n)) > 0

    def submitted(
        self, who: str, answers_Sn: NDArray[np.bool_], source: str | None = None
    ) -> Submitted:
        """The next submission, of code of its own unless given."""
        self.made += 1
        source = (
            source
            if source is not None
            else f"def run(task, seed):\n    return answers_{self.made}(task, seed)\n"
        )
        snapshot = snapshot_of(source)
        self.code[snapshot] = {"method.py": source}
        return Submitted(who, f"r-{self.made:06d}", snapshot, answers_Sn)

    def submit(self, who: str, idea: Idea, note: str = "") -> Submitted:
        """A real run of a method, with its code."""
        source = source_of(idea.recipe, family=Family.OTHER, author=who)
        return self.submitted(
            who, self.run(idea), f"{source}\nSETTING = {idea.setting}\n# {note}\n"
        )


Habit = Callable[[Crowd, str], Iterator[Submitted]]


def explorer(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """New methods, small edits of the last one, now and then the same again with another comment,
    or exactly again."""
    idea = crowd.idea()
    last = crowd.submit(who, idea)
    yield last
    while True:
        draw = crowd.rng.random()
        if draw < 0.1:
            yield last
            continue
        if draw < 0.55:
            idea = crowd.idea()
        elif draw < 0.9:
            idea = replace(
                crowd.near(idea, 0.9), recipe=mutate(idea.recipe, {}, crowd.random, extra=1)
            )
        last = crowd.submit(who, idea, note=str(crowd.made))
        yield last


def threshold_tuner(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Moves the threshold of each of its methods a little, on fresh seeds."""
    while True:
        idea = crowd.idea()
        for threshold in np.linspace(-0.15, 0.15, 7):
            yield crowd.submit(
                who, replace(idea, threshold=float(threshold), setting=float(threshold))
            )


def prompt_tuner(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Wordings of a prompt, no training and no seed: small differences in many answers; then
    thresholds, in a few."""
    while True:
        idea = replace(crowd.idea(), heads=None)
        for _ in range(10):
            idea = crowd.near(idea, float(crowd.rng.choice([0.8, 0.95, 0.99])))
            idea = replace(idea, recipe=mutate(idea.recipe, {}, crowd.random, extra=1))
            yield crowd.submit(who, idea, note=str(crowd.made))
        for threshold in crowd.rng.normal(0, 0.02, 4):
            yield crowd.submit(
                who, replace(idea, threshold=float(threshold), setting=float(threshold))
            )


def ensembler(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Averages of 3 to 25 heads."""
    while True:
        idea = crowd.idea()
        for heads in crowd.rng.permutation([3, 5, 10, 25]):
            recipe = mutate(idea.recipe, {"heads": "6"}, crowd.random, extra=1)
            yield crowd.submit(
                who, replace(idea, heads=int(heads), recipe=recipe, setting=float(heads))
            )


def sweeper(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Sweeps a constant that matters: neighbours share 0.9 of what is their own."""
    while True:
        idea = crowd.idea()
        for setting in range(12):
            idea = replace(crowd.near(idea, 0.9), setting=float(setting))
            yield crowd.submit(who, idea)


def idle_sweeper(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Sweeps a constant that hardly matters: nobody could tell it from re-rolling seeds, least of
    all its author."""
    while True:
        idea = crowd.idea()
        for setting in range(12):
            yield crowd.submit(who, replace(crowd.near(idea, 0.995), setting=float(setting)))


def text_reader(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Methods that use a trivial predictor as one input."""
    while True:
        idea = crowd.idea()
        trivial_n = np.where(crowd.trivial[crowd.random.choice(sorted(crowd.trivial))], 1.0, -1.0)
        mixed = replace(idea, own_n=idea.own_n + float(crowd.rng.uniform(0, 4)) * trivial_n)
        yield crowd.submit(who, mixed)


HABITS: dict[str, Habit] = {
    "explorer": explorer,
    "threshold tuner": threshold_tuner,
    "prompt tuner (no seeds)": prompt_tuner,
    "ensembler": ensembler,
    "sweeper": sweeper,
    "sweeper of an idle constant": idle_sweeper,
    "reader of surface features": text_reader,
}
