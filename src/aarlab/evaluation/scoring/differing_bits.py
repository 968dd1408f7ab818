"""Rows of packed bits against one more.

Legend: R rows, W 64-bit words.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(eq=False)
class DifferingBits:
    """Counts the bits in which rows differ from another. Its arrays are used again from one call to
    the next, and hold nothing that is kept."""

    _scratch: tuple[NDArray[np.uint64], NDArray[np.uint8]] | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, None]:
        return {"_scratch": None}

    def of(
        self, rows_RW: NDArray[np.uint64], size: int, bits_W: NDArray[np.uint64]
    ) -> NDArray[np.uint32]:
        """For each of the first `size` rows, in how many bits it differs, shape (size,)."""
        if self._scratch is None:
            self._scratch = np.empty(rows_RW.shape, np.uint64), np.empty(rows_RW.shape, np.uint8)
        words_RW, counts_RW = (array[:size] for array in self._scratch)
        np.bitwise_count(np.bitwise_xor(rows_RW[:size], bits_W, out=words_RW), out=counts_RW)
        return np.einsum("rw->r", counts_RW, dtype=np.uint32, casting="unsafe")
