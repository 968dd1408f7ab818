"""The baselines of a testbed: run like any method, graded like any submission, kept in private/baselines.npz."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import SplitName
from aarlab.evaluation.answers import load_answers
from aarlab.evaluation.grade import grade
from aarlab.methods.baselines import TUNED_L2, TUNED_LAYERS, source_of
from aarlab.runs.engine import METHOD_FILE, LocalEngine

NAMES = ("naive", "confident", "elicitation", "critic", "zero-shot")
TUNED = "naive-tuned"
WHOLE = "fine-tuned"
SEEDS = (2001, 2002, 2003, 2004, 2005)
SPLITS: tuple[SplitName, ...] = ("feedback", "final")
Correct = NDArray[np.bool_]
Progress = Callable[[str, int, int], None]


def measure_baselines(engine: LocalEngine, private: Path, say: Progress, seeds: tuple[int, ...] = SEEDS) -> dict[str, Correct]:
    """Correctness of every baseline, keyed `<split>/<name>`, each (S, M) with items in the order of sorted ids.

    Naive is tuned as hard as its rivals are: of all its settings, the one with the best exact `feedback` accuracy. Where the
    student can be fine-tuned, that is one setting beside those of the heads on its frozen states.
    """
    answers = load_answers(private.parent)
    sources = {name: source_of(name) for name in NAMES}
    settings = {f"{layer}/{l2}": source_of("naive", layer=layer, l2=l2) for layer in TUNED_LAYERS for l2 in TUNED_L2}
    if engine.testbed.preset is not None:
        settings[WHOLE] = sources["naive"]
    tuned = _graded(engine, settings, "feedback", answers, seeds, say)
    best = max(tuned, key=lambda name: tuned[name].mean())
    sources[TUNED] = settings[best]
    found: dict[str, Correct] = {}
    for split in SPLITS:
        for name, correct in _graded(engine, sources, split, answers, seeds, say).items():
            found[f"{split}/{name}"] = correct
    np.savez(private / "baselines.partial.npz", **found)
    (private / "baselines.partial.npz").replace(private / "baselines.npz")
    (private / "naive_tuned.txt").write_text(best)
    return found


def _graded(
    engine: LocalEngine,
    sources: Mapping[str, str],
    split: SplitName,
    answers: Mapping[str, Mapping[str, int]],
    seeds: tuple[int, ...],
    say: Progress,
) -> dict[str, Correct]:
    runs = {name: engine.pool.submit(engine.run, {METHOD_FILE: text}, split, seeds) for name, text in sources.items()}
    graded: dict[str, Correct] = {}
    for done, (name, run) in enumerate(runs.items(), start=1):
        predictions = {int(seed): by_id for seed, by_id in run.result().answers.items()}
        graded[name] = grade(predictions, answers[split], seeds)
        say(f"baselines on {split}", done, len(runs))
    return graded


def tuned_naive(private: Path) -> dict[str, str]:
    """The snapshot of naive with the setting that `measure_baselines` chose on `feedback`: what a confirmation must beat."""
    setting = (private / "naive_tuned.txt").read_text().strip()
    if setting == WHOLE:
        return {METHOD_FILE: source_of("naive")}
    layer, l2 = setting.split("/")
    return {METHOD_FILE: source_of("naive", layer=int(layer), l2=float(l2))}


def load_baselines(private: Path) -> dict[str, Correct]:
    """What `measure_baselines` kept."""
    with np.load(private / "baselines.npz") as stored:
        return {name: stored[name] for name in stored.files}
