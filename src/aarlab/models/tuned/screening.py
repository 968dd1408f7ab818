"""The screening tier: adapters on the top layers alone, over a trunk that reads every text once.

It is another method than the full recipe, several times faster, and good for ranking ideas. What comes out of the frozen
layers is kept in the host's memory: 2 bytes a number, 5 kB a token at width 2,560. A text is kept once, whether a label word
stands behind it or not: attention looks back only, so the states of a text are those of its beginning in a longer one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aarlab.models.tuned.tokens import Ids
from aarlab.models.tuned.trunk import Batch, Trunk

MOST_BYTES = 64 << 30  # of the host's memory; beyond it all is forgotten, and what a job needs is read again


class Shelf:
    """States (T, D) after `depth` layers of each text that was read, by its ids."""

    def __init__(self, trunk: Trunk, depth: int, most_bytes: int = MOST_BYTES) -> None:
        self.trunk, self.depth, self.most_bytes, self.bytes = trunk, depth, most_bytes, 0
        self._kept: dict[bytes, Tensor] = {}  # a text's; and, as a view of the same memory, those without its last token
        self._last: dict[bytes, Tensor] = {}  # of a text that is a kept one and one token more: that token's (1, D)

    def missing(self, items: Sequence[Ids]) -> list[Ids]:
        """Those that were not read yet, each once. Where there is no room for more, nothing counts as read."""
        if self.bytes > self.most_bytes and not all(map(self._has, items)):
            self._kept, self._last, self.bytes = {}, {}, 0
        return list({item.tobytes(): item for item in items if not self._has(item)}.values())

    def _has(self, item: Ids) -> bool:
        return item.tobytes() in self._kept or (item.tobytes() in self._last and item[:-1].tobytes() in self._kept)

    @torch.no_grad()
    def read(self, items: Sequence[Ids], pack: Batch) -> None:
        """Keep what the pack of these items becomes."""
        states_TD = self.trunk.run(self.trunk.embed(pack), pack, 0, self.depth)[0].cpu()
        for item, states in zip(items, states_TD.split([len(item) for item in items]), strict=True):
            whole, short = item.tobytes(), item[:-1].tobytes()
            if short in self._kept:
                kept = self._last[whole] = states[-1:].clone()
            else:
                kept = self._kept[whole] = states.clone()
                self._kept[short] = kept[:-1]
            self.bytes += kept.nbytes

    def states(self, items: Sequence[Ids]) -> Tensor:
        """(1, T, D) of a pack of items that were read, on the device."""
        return torch.cat([piece for item in items for piece in self._pieces(item)]).to(self.trunk.device)[None]

    def _pieces(self, item: Ids) -> list[Tensor]:
        whole = item.tobytes()
        return [self._kept[whole]] if whole in self._kept else [self._kept[item[:-1].tobytes()], self._last[whole]]
