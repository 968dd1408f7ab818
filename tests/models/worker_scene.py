"""Tiny models, a batch of pairs and a preset, for tests of workers: every process here is a real
one."""

from pathlib import Path

import numpy as np

from aarlab.core.hub import ModelSource
from aarlab.models.preset import Hardware, Preset, Recipe
from aarlab.models.student_contract import Question

WORDS = ["red", "blue", "green", "tea", "sun", "rain", "good", "bad", "long", "short"]
RECIPE = Recipe(batch=8, epochs=2, rank=4, max_tokens=512)
N, M = 40, 12


def questions(n: int, seed: int) -> list[Question]:
    """Pairs of texts of different lengths."""
    rng = np.random.default_rng(seed)
    return [
        Question(
            f"which {rng.choice(WORDS)}",
            tuple(" ".join(rng.choice(WORDS, rng.integers(3, 12))) for _ in "AB"),
        )
        for _ in range(n)
    ]


STUDENT, TEST = questions(N, 1), questions(M, 2)
ITEM_BATCH = {"student": STUDENT, "feedback": TEST}


def models(folder: Path) -> Path:
    """Two tiny models in folder/weak and folder/strong."""
    from tests.models.tiny_models import make_tiny  # imports torch: 3 s for who collects tests

    texts = [t for q in STUDENT for t in (q.question, *q.choices)]
    for seed, name in enumerate(("weak", "strong")):
        make_tiny(folder / name, seed=seed, layers=2, width=32, texts=texts)
    return folder


def preset(folder: Path, *devices: str, recipe: Recipe = RECIPE) -> Preset:
    """Of those models; a checkpoint after every step."""
    sources = {name: ModelSource(name=name, folder=folder / name) for name in ("weak", "strong")}
    hardware = Hardware(devices=devices or ("cpu",), dtype="float32", checkpoint_s=1e-6)
    return Preset(name="tiny", recipe=recipe, hardware=hardware, **sources)


def quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""
