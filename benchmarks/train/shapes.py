"""What a fine-tuning must compute at least: operations and seconds of a shape, counted from its layers.

Legend: N items, T tokens, L layers, D width. FLOP count a multiplication and an addition as two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LABEL_POSITIONS = 2  # of an item: its label word, then the end of the text
H200_FLOPS = 790e12  # measured bf16 matrix products of 8192 x 8192 x 8192 on random data (the datasheet says 989e12)
H100_FLOPS = 798e12  # the same on one H100


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with tied embeddings, and the rank of adapters on all seven linear maps of each layer."""

    kind: str  # "qwen3" or "qwen2"
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    rank: int = 32

    @property
    def _maps(self) -> list[tuple[int, int]]:
        """(in, out) of the seven linear maps of a layer."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = [(self.width, queries), (self.width, keys), (self.width, keys), (queries, self.width)]
        return [*attention, (self.width, self.inner), (self.width, self.inner), (self.inner, self.width)]

    @property
    def body(self) -> int:
        """Frozen weights of the linear maps: what a token is multiplied with, embeddings and head aside."""
        return self.layers * sum(i * o for i, o in self._maps)

    @property
    def adapters(self) -> int:
        return self.layers * sum(self.rank * (i + o) for i, o in self._maps)

    @property
    def head(self) -> int:
        return self.width * self.vocabulary

    def attention(self, lengths_N: NDArray[np.int64]) -> float:
        """FLOP of causal scores and of their weighted sums, forward: 2 products x 2 x half the square, each layer."""
        return 2.0 * self.layers * self.heads * self.head_dim * float(np.sum(np.square(lengths_N.astype(np.float64))))

    def forward(self, lengths_N: NDArray[np.int64], *, head_positions: int = 0) -> float:
        """FLOP of reading items of so many tokens, with the head at `head_positions` positions in all."""
        weights = 2.0 * (self.body + self.adapters) * float(lengths_N.sum())
        return weights + self.attention(lengths_N) + 2.0 * self.head * head_positions

    def training(self, lengths_N: NDArray[np.int64], *, head_everywhere: bool = False, recompute: bool = False) -> float:
        """FLOP of forward and backward over items of so many tokens. The base is frozen: gradients pass through it (dX), and
        only the adapters get their own (dW). Attention's backward is counted as twice its forward. `recompute` adds one forward
        pass of the body, which gradient checkpointing takes."""
        tokens = float(lengths_N.sum())
        backward = 2.0 * self.body * tokens + 4.0 * self.adapters * tokens + 2.0 * self.attention(lengths_N)
        positions = tokens if head_everywhere else LABEL_POSITIONS * len(lengths_N)
        again = self.forward(lengths_N) if recompute else 0.0
        return self.forward(lengths_N) + backward + again + 4.0 * self.head * positions


QWEN3_4B = Shape("qwen3", 36, 2560, 9728, 32, 8, 128, 151936)
QWEN15_05B = Shape("qwen2", 24, 1024, 2816, 16, 16, 64, 151936)
TINY = Shape("qwen3", 6, 256, 864, 8, 2, 32, 2048, rank=8)  # 5.5 M weights; the head is a tenth of them, as in the 4B
SMALLEST = Shape("qwen3", 2, 64, 160, 4, 2, 16, 512, rank=4)
