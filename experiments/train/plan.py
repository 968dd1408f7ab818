"""The presets: which shape, how long, which rungs.

Legend: S steps of a repetition, of which the first is not timed.
"""

from dataclasses import dataclass

from aarlab.models.cost import Shape
from aarlab.models.preset import Recipe
from experiments.train.agree import BFLOAT16, FLOAT32, Limits
from experiments.train.shapes import QWEN3_4B, SMALLEST, TINY

ALL = ("a", "b", "b1", "b2", "b3")


@dataclass(frozen=True)
class Plan:
    """One preset. On a GPU rungs run one after another, since memory holds one; on a CPU they take
    turns."""

    shape: Shape
    rank: int
    mean_tokens: float
    batch: int
    steps: int
    repetitions: int
    pack_tokens: tuple[int, ...]
    rungs: tuple[str, ...]
    test_items: int
    limits: Limits
    limit_s: float
    gpu: bool = False

    @property
    def recipe(self) -> Recipe:
        """The study's, of this rank and batch; no warm-up and a high rate, so that few steps move
        the loss."""
        return Recipe(
            rank=self.rank, alpha=self.rank, batch=self.batch, epochs=1, warmup=0.0, rate=1e-3
        )


PLANS = {
    "cpu": Plan(TINY, 8, 100, 32, 3, 3, (1024,), ("a", "b", "b1", "b2"), 96, FLOAT32, 600),
    "ci": Plan(SMALLEST, 4, 24, 8, 3, 1, (96,), ("a", "b", "b2"), 16, FLOAT32, 60),
    "h200": Plan(
        QWEN3_4B,
        32,
        1000,
        32,
        4,
        1,
        (16384, 32768),
        ("b3", "a", "b2", "b1", "b"),
        128,
        BFLOAT16,
        530,
        gpu=True,
    ),
}
"""`cpu`: 5.5 M weights in six layers, head a tenth of them as in the 4B. `ci`: seconds, for its
verdict only. `h200`: the true shapes with random weights, also on an H100 of 80 GB."""
