"""Fine-tuned rows beside the frozen ones: the same items, seeds, weak labels and anchors, another way to train the student.

One run takes minutes on two cores, so each is kept as it comes. Legend: N student items, M test items, S seeds.
"""

import json
from collections.abc import Callable, Sequence
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


def lora_row(
    task: str, bed: Testbed, labels: Labels, seeds: Sequence[int], *, items: int, cache: Path, store: Path, say: Say
) -> LoraRow:
    """Run what is not kept yet, on the first `items` of each seed's student items; grade all.

    Raises:
        Misconfigured: the testbed was made with the double, which has no weights to tune.
    """
    if "smollm2" not in bed.folder.name:
        raise Misconfigured("Only the smollm2 student has weights to fine-tune. Drop `--student double`.")
    runs = [_kept(bed, labels, seed, items, cache, store, say) for seed in seeds]
    truth = truth_of([bed], "final")
    correct = np.stack([answers_M == truth.labels_M for answers_M, _ in runs])
    return LoraRow(
        task=task,
        labels=labels,
        items=items,
        accuracy=accuracy_measure(correct),
        pgr=pgr_measure(correct, weak_SM=truth.weak_SM, ceiling_SM=truth.ceiling_SM),
        seconds=mean_measure(np.array([s for _, s in runs]), resampled="seeds"),
    )


def _kept(
    bed: Testbed, labels: Labels, seed: int, items: int, cache: Path, store: Path, say: Say
) -> tuple[NDArray[np.bool_], float]:
    path = store / f"lora-{bed.fingerprint}-{labels}-{seed}-{items}.json"
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        answers_M, seconds = _run(bed, labels, seed, items, cache, say)
        path.write_text(json.dumps({"answers": answers_M.tolist(), "seconds": seconds}))
    kept = json.loads(path.read_text())
    return np.array(kept["answers"], dtype=bool), kept["seconds"]


def _run(bed: Testbed, labels: Labels, seed: int, items: int, cache: Path, say: Say) -> tuple[NDArray[np.bool_], float]:
    """Answers (M,) in the order of sorted ids, and seconds."""
    from aarlab.models import lora

    task = task_of(bed, "final", seed)
    truth = load_answers(bed.folder)["student"]
    rows = np.random.default_rng(seed).permutation(len(task.student))[:items]
    true_N = np.array([truth[i] for i in task.student.ids], dtype=np.float64)
    targets_N = true_N if labels == "truth" else (task.weak_probs_N > 0.5).astype(np.float64)
    started = perf_counter()
    asked = _asked(task.student)
    probs_M = lora.fine_tune(
        [asked[i] for i in rows],
        targets_N[rows],
        _asked(task.test),
        weights=smollm.ensure_weights(cache),
        spec=lora.LoraSpec(seed=seed),
        progress=lambda done, of: say(f"LoRA on {labels} labels, seed {seed}", done, of),
    )
    return (probs_M > 0.5)[np.argsort(np.array(task.test.ids))], perf_counter() - started


def _asked(inputs: Inputs) -> list[tuple[str, tuple[str, ...]]]:
    return list(zip(inputs.questions, inputs.choices, strict=True))
