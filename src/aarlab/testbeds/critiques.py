"""The critic's labels where the models are fine-tuned: the strong model learns to write critiques,
and the weak teacher to read them (Saunders et al. 2022, arXiv:2206.05802; McAleese et al. 2024,
arXiv:2407.00215).

One half of the teacher split trains the critic. The teacher that reads critiques learns from the
other half only: a critic writes better critiques of items that it was trained on, so a teacher that
learned from these would trust it too much. Legend: T teacher seeds, N student items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit

from aarlab.core.own_code import again, code_of, remember, stamped
from aarlab.core.progress_callback import Progress
from aarlab.core.records import AnyItem, SplitName
from aarlab.core.settings import KEYS, environment
from aarlab.methods.method import Array
from aarlab.models.critic import CriticProcess, Heard
from aarlab.models.results import digests, fingerprint, key
from aarlab.models.student_contract import Question
from aarlab.models.tuned.critique import without_verdict
from aarlab.models.workers import TuneJob, Workers

COUNTED = 1  # version number of the keys in older versions, so that their results are found
TRAINS, WRITES = "aarlab.models.tuned.grpo", "aarlab.models.tuned.write"
SEED = 0  # draws the halves, the training and the texts: one critic for any number of teachers


@dataclass(frozen=True)
class CriticLabels:
    """Probabilities (T, N) that the label is 1, one row for each teacher that reads critiques;
    and the critiques by item id, for half the teacher split and all other splits."""

    probs_TN: Array
    critiques: Mapping[str, str]


def critic_of(workers: Workers, store: Path) -> CriticProcess:
    """The critic of the preset's models, on the workers' devices; `store` keeps the models'
    fingerprints."""
    preset, folders, secret = workers.preset, workers.folders, set(KEYS.values())
    return CriticProcess(
        strong=folders["strong"],
        weak=folders["weak"],
        fingerprints=(fingerprint(folders["strong"], store), fingerprint(folders["weak"], store)),
        devices=workers.devices,
        dtype=preset.hardware.dtype,
        recipe=preset.critic_recipe,
        judge_tokens=preset.teacher_recipe.max_tokens,
        env={name: value for name, value in environment().items() if name not in secret}
        | {"HF_HUB_OFFLINE": "1"},
    )


def critic_labels(
    splits: Mapping[SplitName, Sequence[AnyItem]],
    *,
    workers: Workers,
    critic: CriticProcess,
    store: Path,
    seeds: Sequence[int],
    progress: Progress = lambda what, done, of: None,
) -> CriticLabels:
    """Train the critic, write critiques, and fine-tune teachers that read them. `store` caches each
    step.

    Raises:
        Transient, Misconfigured: a process failed; finished steps are cached and the next call
            resumes.
    """
    first, second = halves(splits["teacher"])
    read: dict[SplitName, Sequence[AnyItem]] = {**splits, "teacher": second}
    asked = [i for some in read.values() for i in some]
    workers.park()
    texts = _written(first, asked, critic, store, progress)
    critiques = {
        i.id: without_verdict(text, len(i.choices)) for i, text in zip(asked, texts, strict=True)
    }
    name = f"critiques-{key(texts=sorted(critiques.items()))[:16]}"
    workers.add_item_batch(
        name,
        {
            split: [replace(question_of(i), critique=critiques[i.id]) for i in some]
            for split, some in read.items()
        },
    )
    targets = np.array([i.label for i in second], dtype=np.float64)
    jobs = [TuneJob("weak", name, "teacher", targets, seed, answer=("student",)) for seed in seeds]
    return CriticLabels(
        np.stack([expit(answer["student"]) for answer in workers.map(jobs)]), critiques
    )


def halves(items: Sequence[AnyItem]) -> tuple[list[AnyItem], list[AnyItem]]:
    """The half that trains the critic and the half that trains the teacher. Each label is split
    evenly between them (up to one item); each half keeps the given order."""
    draw = np.random.default_rng(SEED)
    first: set[int] = set()
    for label in (0, 1):
        rows = draw.permutation([n for n, i in enumerate(items) if i.label == label])
        first |= set(rows[: (len(rows) + label) // 2].tolist())
    return [i for n, i in enumerate(items) if n in first], [
        i for n, i in enumerate(items) if n not in first
    ]


def question_of(item: AnyItem) -> Question:
    """An item as a model reads it, without a critique."""
    return Question(item.question, item.choices)


def _written(
    first: Sequence[AnyItem],
    asked: Sequence[AnyItem],
    critic: CriticProcess,
    store: Path,
    progress: Progress,
) -> tuple[str, ...]:
    """The unprocessed critiques of the `asked` items by a critic that was trained on the `first`
    items."""
    questions, labels = [question_of(i) for i in first], [i.label for i in first]
    every = [question_of(i) for i in asked]
    trained = key(critic=critic.identity, version=COUNTED, texts=digests(questions), labels=labels)
    written = key(critic=trained, texts=digests(every))
    steps, folder = _step(
        store, f"critic-{trained[:16]}", "critic: GRPO steps", (TRAINS,), progress
    )
    adapter = critic.train(folder, questions, labels, SEED, steps)
    steps, folder = _step(
        store, f"critiques-{written[:16]}", "critic: critiques", (TRAINS, WRITES), progress
    )
    return critic.write(folder, every, adapter, SEED, steps)


def _step(
    store: Path, key: str, what: str, modules: tuple[str, ...], progress: Progress
) -> tuple[Heard, Path]:
    """The progress callback and the folder of a step, which depends on the code of these
    modules."""
    code = code_of(*modules)
    folder = store / stamped(key, code)
    why = None if folder.exists() else again(store, key, code)
    remember(store, code)
    return partial(progress, f"{what} again, {why}" if why else what), folder
