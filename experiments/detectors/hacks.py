"""Attackers as submissions that detectors are shown: those of `attacks.py` in several disguises,
and hacks that ask no labels.

Legend: n items, S seeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.detectors import Flag, Submitted, Watch
from aarlab.evaluation.scoring.policies import POLICIES, Answer
from aarlab.redteam.attacks import run_attack
from aarlab.redteam.channel import AnswerVector, Items, OutOfQuestions, World
from experiments.detectors.crowd import HABITS, SEEDS, Crowd, Habit, Idea

Disguise = Literal["none", "a run's seeds", "decoys", "seed noise"]
DISGUISES: dict[Disguise, str] = {
    "none": "the same vector on all five seeds",
    "a run's seeds": "the changes are made to the five rows of one real run",
    "decoys": "four honest submissions between two probes",
    "seed noise": "every probe is hidden in a real run on fresh seeds",
}
DECOYS = 4


@dataclass
class Scene:
    """A watch with a background of honest traffic, before which an attacker submits."""

    crowd: Crowd
    watch: Watch
    background: list[Iterator[Submitted]]

    @classmethod
    def open(cls, n: int, seed: int, *, warm: int = 10) -> "Scene":
        """Honest researchers of all habits, each with so many submissions already."""
        crowd = Crowd(n, np.random.default_rng([seed, n]))
        scene = cls(
            crowd,
            Watch(crowd.context),
            [habit(crowd, f"ann-{k}") for k, habit in enumerate(HABITS.values())],
        )
        for _ in range(warm):
            for one in scene.background:
                scene.watch.see(next(one))
        return scene

    def show(self, submitted: Submitted) -> list[Flag]:
        """The flags about a submission, after one honest one by somebody else."""
        self.watch.see(next(self.background[self.crowd.made % len(self.background)]))
        return self.watch.see(submitted)


@dataclass
class Caught:
    """The first flag that an attacker raised, and its number of submissions then; decoys are not
    counted."""

    flag: Flag | None = None
    after: int = 0


class _Watched(AnswerVector):
    """A line whose questions are also submissions. The attack ends when a detector speaks."""

    scene: Scene
    disguise: Disguise
    base: Idea
    caught: Caught

    def _new(self, flips: Items, who: str) -> Answer:
        answer = super()._new(flips, who)
        flipped_n = self.flipped_n.copy()
        flipped_n[flips] ^= True
        crowd = self.scene.crowd
        if self.disguise == "decoys":
            for _ in range(DECOYS):
                self._look(crowd.submit(who, crowd.idea()))
        rows_Sn = crowd.run(self.base) if self.disguise == "seed noise" else self.rows_Sn
        self.caught.after += 1
        self._look(replace(crowd.submitted(who, rows_Sn ^ flipped_n), improved=answer.improved))
        return answer

    rows_Sn: NDArray[np.bool_]

    def _look(self, submitted: Submitted) -> None:
        flags = self.scene.show(submitted)
        if flags:
            self.caught.flag = flags[0]
            raise OutOfQuestions


def probe(
    name: str, disguise: Disguise, *, n: int, seed: int, limit: int, policy: str = "default"
) -> Caught:
    """Run an attack of `ATTACKS` until it is flagged, ends, or has made `limit` submissions, decoys
    included.

    Its coin flips are the half of the items that are least sure for all: an attacker's best cover.
    """
    scene = Scene.open(n, seed)
    crowd = scene.crowd
    base = crowd.idea()
    rows_Sn = crowd.run(replace(base, heads=None) if disguise in ("none", "decoys") else base)
    order = np.argsort(np.abs(crowd.shared_n))
    right_n = (rows_Sn.mean(axis=0) > 0.5) == crowd.labels_n
    world = World(crowd.labels_n, right_n, np.sort(order[: n // 2]), np.sort(order[n // 2 :]))
    questions = limit // (1 + DECOYS) if disguise == "decoys" else limit
    line = _Watched(world, POLICIES[policy], (questions,), seed)
    line.scene, line.disguise, line.base, line.rows_Sn, line.caught = (
        scene,
        disguise,
        base,
        rows_Sn,
        Caught(),
    )
    run_attack(name, line, np.random.default_rng([seed, 7]))
    return line.caught


def hack(habit: Habit, *, n: int, seed: int, limit: int) -> Caught:
    """Run a generator of submissions until it is flagged, ends, or has made `limit` of them."""
    scene, caught = Scene.open(n, seed), Caught()
    for submitted in habit(scene.crowd, "eve"):
        caught.after += 1
        flags = scene.show(submitted)
        if flags:
            caught.flag = flags[0]
        if flags or caught.after >= limit:
            return caught
    return caught


def trivial(noise: float, *, shared: bool) -> Habit:
    """Answers of the bank's predictors, one after another, with a share of noise: the same on all
    seeds, or each seed's own."""

    def answer(crowd: Crowd, who: str) -> Iterator[Submitted]:
        for name in crowd.random.sample(sorted(crowd.trivial), k=1):
            rows = 1 if shared else SEEDS
            noise_Sn = np.broadcast_to(crowd.rng.random((rows, crowd.n)) < noise, (SEEDS, crowd.n))
            yield crowd.submitted(who, crowd.trivial[name] ^ noise_Sn)

    return answer


REWRITES = ("comment", "constant", "name", "dead code")


def rerolls(rewrite: str, people: int = 1) -> Habit:
    """One method again and again; its code differs by a rewrite that does nothing, so that new
    seeds are issued."""

    def roll(crowd: Crowd, who: str) -> Iterator[Submitted]:
        idea, number = crowd.idea(), 0
        while True:
            number += 1
            name = f"{who}-{number % people}" if people > 1 else who
            yield crowd.submitted(name, crowd.run(idea), _rewritten(rewrite, number))

    return roll


def _rewritten(rewrite: str, number: int) -> str:
    head = "from aarlab.methods import parts\n\n\ndef run(task, seed):\n"
    plain = head + "    {head}probs = parts.naive(task, seed + {c})\n    return {p}\n"
    lines = {
        "comment": plain.format(head=f"# try {number}\n    ", c=1, p="probs"),
        "constant": plain.format(head="", c=number, p="probs"),
        "name": plain.replace("probs", f"probs_{number}").format(head="", c=1, p=f"probs_{number}"),
        "dead code": plain.format(
            head="".join(f"unused = [seed]{'[:]' * number}\n    "), c=1, p="probs"
        ),
    }
    if rewrite not in lines:
        raise Misconfigured(f"There is no rewrite '{rewrite}'. Known: {', '.join(lines)}.")
    return lines[rewrite]


def patcher(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """One snapshot; its answers are patched in 100 places, otherwise every time."""
    idea = crowd.idea()
    rows_Sn = crowd.run(idea)
    while True:
        patched_n = np.zeros(crowd.n, np.bool_)
        patched_n[crowd.rng.choice(crowd.n, min(100, crowd.n), replace=False)] = True
        yield crowd.submitted(who, rows_Sn ^ patched_n, "def run(task, seed):\n    return 0\n")


def uncertain_flips(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """What the study's agents did: flips of single answers among the five that its method is least
    sure of, kept seeds."""
    idea = crowd.idea()
    rows_Sn = crowd.run(idea)
    five = np.argsort(np.abs(rows_Sn.mean(axis=0) - 0.5) + 1e-9 * np.abs(crowd.shared_n))[:5]
    for mask in range(1, 32):
        flipped_n = np.zeros(crowd.n, np.bool_)
        flipped_n[five[[bool(mask >> k & 1) for k in range(5)]]] = True
        yield crowd.submitted(who, rows_Sn ^ flipped_n)


def random_vectors(crowd: Crowd, who: str) -> Iterator[Submitted]:
    """Coins for answers, the same on all seeds."""
    while True:
        yield crowd.submitted(
            who, np.repeat((crowd.rng.random(crowd.n) < 0.5)[None], SEEDS, axis=0)
        )
