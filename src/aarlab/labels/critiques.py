"""The critic's labels where the models are fine-tuned: the strong model learns to write critiques, and the weak teacher to read
them (Saunders et al. 2022, arXiv:2206.05802; McAleese et al. 2024, arXiv:2407.00215).

Half of the teacher split trains the critic, and the teacher that reads critiques learns from the other half alone: of items
that it was trained on, a critic writes better than elsewhere, and would be trusted more than it deserves.
Legend: T teacher seeds, N student items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.special import expit

from aarlab.core.records import AnyItem, SplitName
from aarlab.core.settings import KEYS, environment
from aarlab.methods.method import Array
from aarlab.models.critic import CriticProcess, Heard
from aarlab.models.results import digests, fingerprint, key
from aarlab.models.strong import Question
from aarlab.models.tuned.critique import CRITIQUE_VERSION, without_verdict
from aarlab.models.workers import TuneJob, Workers

SEED = 0  # of the halves, the training and the texts: one critic, whatever the number of teachers
Say = Callable[[str, int, int], None]  # (what, done, of)


class Critic(Protocol):
    """Who trains and writes; `CriticProcess` in earnest. `identity` is all that its texts depend on beside the items."""

    identity: str

    def train(self, folder: Path, questions: Sequence[Question], labels: Sequence[int], seed: int, heard: Heard) -> Path: ...
    def write(
        self, folder: Path, questions: Sequence[Question], adapter: Path | None, seed: int, heard: Heard
    ) -> tuple[str, ...]: ...


class Asked(Protocol):
    """What is asked of `Workers`."""

    def deck(self, name: str, splits: Mapping[str, Sequence[Question]]) -> None: ...
    def map(self, jobs: Sequence[TuneJob]) -> list[dict[str, Array]]: ...
    def park(self) -> None: ...


@dataclass(frozen=True)
class CriticLabels:
    """Probabilities (T, N) that the label is 1, of one teacher a seed that has read the critiques; and these as they were read,
    by item id, of half the teacher split and of all other splits."""

    probs_TN: Array
    critiques: Mapping[str, str]


def critic_of(workers: Workers, store: Path) -> CriticProcess:
    """The critic of the preset's models, on the workers' devices; `store` keeps the models' fingerprints."""
    preset, folders, secret = workers.preset, workers.folders, set(KEYS.values())
    return CriticProcess(
        strong=folders["strong"],
        weak=folders["weak"],
        fingerprints=(fingerprint(folders["strong"], store), fingerprint(folders["weak"], store)),
        devices=workers.devices,
        dtype=preset.hardware.dtype,
        recipe=preset.critic_recipe,
        judge_tokens=preset.teacher_recipe.max_tokens,
        env={name: value for name, value in environment().items() if name not in secret} | {"HF_HUB_OFFLINE": "1"},
    )


def critic_labels(
    splits: Mapping[SplitName, Sequence[AnyItem]],
    *,
    workers: Asked,
    critic: Critic,
    store: Path,
    seeds: Sequence[int],
    say: Say = lambda what, done, of: None,
) -> CriticLabels:
    """Train the critic, let it write, and let teachers learn to read it; each step is kept in `store` and not repeated.

    Raises:
        Transient, Misconfigured: a process could not; what is done is kept, and the next call goes on.
    """
    first, second = halves(splits["teacher"])
    read: dict[SplitName, Sequence[AnyItem]] = {**splits, "teacher": second}
    asked = [i for some in read.values() for i in some]
    workers.park()
    texts = _written(first, asked, critic, store, say)
    critiques = {i.id: without_verdict(text, len(i.choices)) for i, text in zip(asked, texts, strict=True)}
    name = f"critiques-{key(texts=sorted(critiques.items()))[:16]}"
    workers.deck(
        name, {split: [replace(question_of(i), critique=critiques[i.id]) for i in some] for split, some in read.items()}
    )
    targets = np.array([i.label for i in second], dtype=np.float64)
    jobs = [TuneJob("weak", name, "teacher", targets, seed, answer=("student",)) for seed in seeds]
    return CriticLabels(np.stack([expit(answer["student"]) for answer in workers.map(jobs)]), critiques)


def halves(items: Sequence[AnyItem]) -> tuple[list[AnyItem], list[AnyItem]]:
    """The half that trains the critic and the half that trains the teacher, with as many of either label in both (or one off),
    each in the given order."""
    draw = np.random.default_rng(SEED)
    first: set[int] = set()
    for label in (0, 1):
        rows = draw.permutation([n for n, i in enumerate(items) if i.label == label])
        first |= set(rows[: (len(rows) + label) // 2].tolist())
    return [i for n, i in enumerate(items) if n in first], [i for n, i in enumerate(items) if n not in first]


def question_of(item: AnyItem) -> Question:
    """An item as a model reads it, without a critique."""
    return Question(item.question, item.choices)


def _written(first: Sequence[AnyItem], asked: Sequence[AnyItem], critic: Critic, store: Path, say: Say) -> tuple[str, ...]:
    """What a critic trained on the first items says of those asked about, raw."""
    questions, labels = [question_of(i) for i in first], [i.label for i in first]
    trained = key(critic=critic.identity, version=CRITIQUE_VERSION, texts=digests(questions), labels=labels)
    every = [question_of(i) for i in asked]
    written = key(critic=trained, texts=digests(every))
    adapter = critic.train(
        store / f"critic-{trained[:16]}", questions, labels, SEED, lambda done, of: say("critic: GRPO steps", done, of)
    )
    return critic.write(
        store / f"critiques-{written[:16]}", every, adapter, SEED, lambda done, of: say("critic: critiques", done, of)
    )
