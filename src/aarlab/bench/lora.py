"""Fine-tuned rows beside the frozen ones: the same items, seeds, weak labels and anchors, another way to train the student.

One run takes minutes on two cores, so each is kept as it comes. Legend: N student items, M test items, S seeds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from aarlab.bench.measure import task_of
from aarlab.bench.record import Labels, LoraRow
from aarlab.bench.table import truth_of
from aarlab.core.errors import Misconfigured
from aarlab.core.intervals import accuracy_measure, mean_measure, pgr_measure
from aarlab.evaluation.answers import load_answers
from aarlab.methods.method import Inputs
from aarlab.models import smollm
from aarlab.runs.testbed import Testbed

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LoraRun:
    """One fine-tuning: which labels, on the first `items` of the seed's student items in the seed's order."""

    bed: Testbed
    labels: Labels
    seed: int
    items: int

    @property
    def file(self) -> str:
        return f"lora-{self.bed.fingerprint}-{self.labels}-{self.seed}-{self.items}.json"


def lora_row(task: str, runs: Sequence[LoraRun], *, cache: Path, store: Path, say: Say) -> LoraRow:
    """Run what is not kept yet, and grade all: runs of one testbed and one kind of labels.

    Raises:
        Misconfigured: the testbed was made with the double, which has no weights to tune.
    """
    first = runs[0]
    if "smollm2" not in first.bed.folder.name:
        raise Misconfigured("Only the smollm2 student has weights to fine-tune. Take it as the student.")
    answered = [_kept(run, cache, store, say) for run in runs]
    truth = truth_of([first.bed], "final")
    correct = np.stack([answers_M == truth.labels_M for answers_M, _ in answered])
    return LoraRow(
        task=task,
        labels=first.labels,
        items=first.items,
        accuracy=accuracy_measure(correct),
        pgr=pgr_measure(correct, weak_SM=truth.weak_SM, ceiling_SM=truth.ceiling_SM),
        seconds=mean_measure(np.array([s for _, s in answered]), resampled="seeds"),
    )


def _kept(run: LoraRun, cache: Path, store: Path, say: Say) -> tuple[NDArray[np.bool_], float]:
    path = store / run.file
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        answers_M, seconds = _answer(run, cache, say)
        path.write_text(json.dumps({"answers": answers_M.tolist(), "seconds": seconds}))
    kept = json.loads(path.read_text())
    return np.array(kept["answers"], dtype=bool), kept["seconds"]


def _answer(run: LoraRun, cache: Path, say: Say) -> tuple[NDArray[np.bool_], float]:
    """Answers (M,) in the order of sorted ids, and seconds."""
    from aarlab.models import lora

    task = task_of(run.bed, "final", run.seed)
    truth = load_answers(run.bed.folder)["student"]
    rows = np.random.default_rng(run.seed).permutation(len(task.student))[: run.items]
    true_N = np.array([truth[i] for i in task.student.ids], dtype=np.float64)
    targets_N = true_N if run.labels == "truth" else (task.weak_probs_N > 0.5).astype(np.float64)
    asked = _asked(task.student)
    started = perf_counter()
    probs_M = lora.fine_tune(
        [asked[i] for i in rows],
        targets_N[rows],
        _asked(task.test),
        weights=smollm.ensure_weights(cache),
        spec=lora.LoraSpec(seed=run.seed),
        progress=partial(say, f"LoRA on {run.labels} labels, seed {run.seed}"),
    )
    return (probs_M > 0.5)[np.argsort(np.array(task.test.ids))], perf_counter() - started


def _asked(inputs: Inputs) -> list[tuple[str, tuple[str, ...]]]:
    return list(zip(inputs.questions, inputs.choices, strict=True))
