"""Speed of the one-time feature step and of one experiment, as ratios in one run on one process.

Run: `make benchmarks` (needs the student's weights: 95 MB once). No test asserts a time.
"""

import random
import time
from collections.abc import Callable, Sequence

import torch

from aarlab.bench.controls import task_of
from aarlab.core.settings import home
from aarlab.methods.library import METHODS
from aarlab.models import smollm, smollm_weights
from aarlab.problems import PROBLEMS
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare

SNIPPETS, CHOICES = 320, 128
Batches = list[list[int]]


def rate(forward: Callable, asked: Sequence[tuple[str, str]], batches: Batches) -> float:
    """Texts a second over the given batches, after one batch of warm-up."""
    forward([asked[i] for i in batches[-1]])
    started = time.perf_counter()
    for batch in batches:
        forward([asked[i] for i in batch])
    return len(asked) / (time.perf_counter() - started)


def plain(texts: int, batch: int = 32) -> Batches:
    """Batches in the order of the data: what a first version does."""
    return [list(range(at, min(at + batch, texts))) for at in range(0, texts, batch)]


def ours(asked: Sequence[tuple[str, str]]) -> Batches:
    """Batches of similar length."""
    weights = smollm_weights.ensure_weights(home().cache)
    return smollm._batches(smollm._lengths(weights, asked))


def drawn(problem: str, count: int) -> list[tuple[str, str]]:
    """That many (question, choice) of the problem, at random."""
    items = PROBLEMS[problem].build(home().cache, 1)
    return random.Random(0).sample([(i.question, c) for i in items for c in i.choices], count)


def snippets() -> None:
    asked = drawn("small-chat", SNIPPETS)
    weights = smollm_weights.ensure_weights(home().cache)
    smollm._load(smollm.TextReader("states of snippets", weights, 1))
    found = {"logits known": rate(smollm._forward_states, asked, ours(asked))}
    smollm._load(smollm.TextReader("snippets", weights, 1))
    found["by length (ours)"] = rate(smollm._forward_snippets, asked, ours(asked))
    found["in order"] = rate(smollm._forward_snippets, asked, plain(len(asked)))
    model = smollm._worker["model"]
    other = torch.float32 if model.dtype == torch.bfloat16 else torch.bfloat16
    smollm._worker["model"] = model.to(other)
    found[f"by length, {other}"] = rate(smollm._forward_snippets, asked, ours(asked))
    show("snippets a second, small-chat", found)


def choices() -> None:
    asked = drawn("small-math", CHOICES)
    example = PROBLEMS["small-math"].example
    weights = smollm_weights.ensure_weights(home().cache)
    vocabulary = tuple(c for _, c in asked)
    smollm._load(smollm.TextReader("choices", weights, 1, example, vocabulary))
    found = {"occurring tokens (ours)": rate(smollm._forward_choices, asked, ours(asked))}
    smollm._worker["occurring"] = torch.arange(len(smollm._worker["model"].lm_head.weight))
    found["whole vocabulary"] = rate(smollm._forward_choices, asked, ours(asked))
    smollm._load(smollm.TextReader("choices", weights, 1, "", vocabulary))
    again = [(example + q, c) for q, c in asked]
    found["example read again each time"] = rate(smollm._forward_choices, again, ours(again))
    show("choices a second, small-math", found)


def experiments() -> None:
    """Seconds of one run of every method on small-chat's cached states, on one thread."""
    bed = prepare(
        "small-chat", 1, home=home(), student=student.smollm2(home(), 2), progress=lambda *_: None
    )
    task = task_of(bed, "final", 1)
    took = {}
    for name in sorted(METHODS):
        started = time.perf_counter()
        METHODS[name].run(task, 1)
        took[name] = time.perf_counter() - started
    print("seconds an experiment, small-chat")
    for name, seconds in sorted(took.items(), key=lambda pair: -pair[1]):
        print(f"  {name:24s} {seconds:6.2f}  {seconds / took['naive']:5.1f} x naive")


def show(title: str, found: dict[str, float]) -> None:
    """The first is ours; the others as ratios to it."""
    first = next(iter(found.values()))
    print(title)
    for name, value in found.items():
        print(f"  {name:32s} {value:8.1f}  ours is {first / value:4.2f} x")


if __name__ == "__main__":
    torch.set_num_threads(1)
    snippets()
    choices()
    experiments()
