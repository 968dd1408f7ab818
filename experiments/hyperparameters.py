"""How the fixed hyper-parameters of the student's head were chosen: the ceiling, by layer and L2,
on the selection seed alone.

Run: `make select`. The rule is one standard error (Breiman et al. 1984, section 3.4.3): of all L2
whose ceiling is within a standard error of the best, the largest. Naive's PGR stands beside it,
because it moves with L2 alone. Nothing here is a result.
"""

import numpy as np

from aarlab.bench.controls import task_of
from aarlab.bench.spec import TASKS
from aarlab.core.settings import home
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.models.head_training import LinearHead
from aarlab.models.smollm import LAYERS
from aarlab.problems.problem import SELECTION_SEED
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.testbed import Testbed

L2 = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SEEDS = (1, 2, 3)


def table(bed: Testbed) -> None:
    """Ceiling accuracy and naive PGR on `final`, a line a layer and L2."""
    answers = load_answers(bed.folder)
    with np.load(bed.private / "anchors.npz") as anchors:
        weak = anchors["final_weak_SM"].mean()
    for layer in LAYERS:
        for l2 in L2:
            ceiling, naive = np.mean(
                [accuracies(bed, answers, layer, l2, seed) for seed in SEEDS], axis=0
            )
            print(
                f"  layer {layer:2d}  L2 {l2:5g}  ceiling {ceiling:.3f}  naive PGR "
                f"{(naive - weak) / (ceiling - weak):5.2f}"
            )


def accuracies(
    bed: Testbed, answers: dict, layer: int, l2: float, seed: int
) -> tuple[float, float]:
    """Of a head on true labels and of one on weak labels."""
    task = task_of(bed, "final", seed)
    right_M = np.array([answers["final"][i] == 1 for i in task.test.ids])
    true_N = np.array([float(answers["student"][i]) for i in task.student.ids])
    targets = (true_N, (task.weak_probs_N > 0.5).astype(float))
    states, test = (x.hidden[layer].astype(float) for x in (task.student, task.test))
    ceiling, naive = (
        ((LinearHead(l2).fit(states, t).probs(test) > 0.5) == right_M).mean() for t in targets
    )
    return ceiling, naive


if __name__ == "__main__":
    for name in TASKS:
        print(f"{name}, data seed {SELECTION_SEED}")
        reader = student.smollm2(home(), workers=2)
        table(prepare(name, SELECTION_SEED, home=home(), student=reader, progress=lambda *_: None))
