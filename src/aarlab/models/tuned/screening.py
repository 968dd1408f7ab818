"""The screening tier: adapters on the top layers alone, over a trunk that reads every text once.

It is another method than the full recipe, several times faster, and good for ranking ideas. What comes out of the frozen
layers is kept in the host's memory: 2 bytes a number, 5 kB a token at width 2,560.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aarlab.models.tuned.tokens import Ids
from aarlab.models.tuned.trunk import Batch, Trunk


class Shelf:
    """States (T, D) after `depth` layers of each text that was read, by its ids."""

    def __init__(self, trunk: Trunk, depth: int) -> None:
        self.trunk, self.depth = trunk, depth
        self._kept: dict[bytes, Tensor] = {}

    def missing(self, items: Sequence[Ids]) -> list[Ids]:
        """Those that were not read yet, each once."""
        return list({item.tobytes(): item for item in items if item.tobytes() not in self._kept}.values())

    @torch.no_grad()
    def read(self, items: Sequence[Ids], pack: Batch) -> None:
        """Keep what the pack of these items becomes."""
        states_TD = self.trunk.run(self.trunk.embed(pack), pack, 0, self.depth)[0].cpu()
        for item, states in zip(items, states_TD.split([len(item) for item in items]), strict=True):
            self._kept[item.tobytes()] = states.clone()

    def states(self, items: Sequence[Ids]) -> Tensor:
        """(1, T, D) of a pack of items that were read, on the device."""
        return torch.cat([self._kept[item.tobytes()] for item in items]).to(self.trunk.device)[None]
