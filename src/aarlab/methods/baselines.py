"""The four classic baselines of the study, naive with its own hyper-parameters tuned, and
zero-shot.

Each is the shortest statement of its idea; the parts are in `parts.py`.
"""

import numpy as np
from scipy.special import expit

from aarlab.core.records import Family
from aarlab.methods import parts
from aarlab.methods.method import METHODS, Array, Task, method
from aarlab.methods.mutual_predictability import elicit_in_context

BASELINES = ("naive", "confident", "elicitation", "critic", "zero-shot")
# seeds of reported runs are counted from here; teachers and rows are drawn by them
FIRST_SEED = 2001
TUNED_L2 = (0.1, 0.3, 1.0, 3.0, 10.0)
TUNED_LAYERS = (12, 16, 20)


@method(
    "naive",
    family=Family.OTHER,
    cites="Burns et al. 2023, arXiv:2312.09390, section 3: weak labels, trained on as if true",
)
def naive(task: Task, seed: int, *, layer: int | None = None, l2: float | None = None) -> Array:
    """Train on hard weak labels. With a layer or an L2, a head on frozen states is trained with
    these, whatever the student."""
    labels_N = parts.harden(task.weak_probs_N)
    if layer is None and l2 is None:
        return parts.learn(task, labels_N, seed)
    student, test = parts.represent(task, (parts.LAYER if layer is None else layer,))
    return parts.train(student, labels_N, l2=parts.L2 if l2 is None else l2).probs(test)


@method(
    "naive-tuned",
    family=Family.OTHER,
    cites="naive with the layer and L2 that suit it best, so that no rival wins by L2",
)
def naive_tuned(task: Task, seed: int) -> Array:
    """Of TUNED_LAYERS x TUNED_L2, the setting with the best naive accuracy on small-chat, data seed
    0 (`make select`)."""
    return naive(task, seed, layer=16, l2=10.0)


@method(
    "confident",
    family=Family.DATA_FILTERING,
    cites="the study's baseline: train on confident weak labels only",
)
def confident(task: Task, seed: int) -> Array:
    """Train on the half of the weak labels that is furthest from 0.5."""
    keep = parts.confident(task.weak_probs_N, share=0.5)
    return parts.learn(task, parts.harden(task.weak_probs_N), seed, keep=keep)


@method(
    "elicitation", family=Family.UNSUPERVISED_ELICITATION, cites="Wen et al. 2025, arXiv:2506.10139"
)
def elicitation(task: Task, seed: int) -> Array:
    """Train on labels that the student finds mutually predictable, starting from its zero-shot
    judgement; no weak label."""
    if task.strong is None:
        student, _ = parts.represent(task)
        labels_N = parts.elicited_labels(task, student, seed)
    else:
        labels_N = elicit_in_context(task, seed)
    return parts.learn(task, parts.harden(labels_N), seed)


@method(
    "critic",
    family=Family.OTHER,
    cites="Saunders et al. 2022, arXiv:2206.05802; here the critique is one number",
)
def critic(task: Task, seed: int) -> Array:
    """Train on the labels of the teacher that has read the student's judgement and learned how far
    to trust it."""
    return parts.learn(task, parts.harden(task.critic_probs_N), seed)


@method(
    "zero-shot",
    family=Family.UNSUPERVISED_ELICITATION,
    cites="the student's own judgement, no training and no weak label",
)
def zero_shot(task: Task, seed: int) -> Array:
    """The sign of the student's own judgement, scaled to a probability."""
    del seed
    zero_shot_logit_M = task.test.zero_shot_logit_N
    return expit(zero_shot_logit_M / np.abs(zero_shot_logit_M).mean())


def source_of(name: str, **arguments: float) -> str:
    """A method file that runs a registered method: what a sandbox is given.

    Raises:
        Misconfigured: there is no such method.
    """
    run = METHODS[name].run
    passed = "".join(f", {k}={v!r}" for k, v in arguments.items())
    return (
        f"from {run.__module__} import {run.__name__}\n\n\n"
        f"def run(task, seed):\n    return {run.__name__}(task, seed{passed})\n"
    )
