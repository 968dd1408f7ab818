"""The model with its adapters, read in packs that fit into memory.

Legend: n items of a pack, T tokens, D width.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence

import torch
from peft import PeftModel
from torch import Tensor

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import Recipe
from aarlab.models.tuned import lean_lora
from aarlab.models.tuned.base_model import BaseTransformer, Batch, batch
from aarlab.models.tuned.packing import pack
from aarlab.models.tuned.tokens import Ids

Log = Callable[[str], None]
Read = Callable[[list[int], Batch], None]  # (positions of the items, their pack)
ANSWER_PACK = 2  # packs that keep nothing for a backward pass are so many times larger


class PackedEngine:
    """A base model, at most one set of adapters, and the pack budget, which is halved when
    memory runs out."""

    def __init__(self, base: BaseTransformer, pack_tokens: int, log: Log) -> None:
        self.base, self.pack_tokens, self.log = base, pack_tokens, log
        self.adapted: PeftModel | None = None
        self._shape: tuple | None = None

    def attach(self, recipe: Recipe) -> PeftModel:
        """Adapters of the recipe's shape, in place of those of another shape."""
        shape = (recipe.rank, recipe.alpha, recipe.targets)
        if self.adapted is None or shape != self._shape:
            if self.adapted is not None:
                self.adapted.unload()
                if self.base.compiled:
                    # the graphs of the old shapes count towards the compiler's limit
                    torch.compiler.reset()
            self.adapted, self._shape = lean_lora.attach(self.base.model, recipe), shape
        return self.adapted

    @contextlib.contextmanager
    def adapters(self, on: bool) -> Iterator[None]:
        """The adapters in force or not."""
        with (
            contextlib.nullcontext()
            if on or self.adapted is None
            else self.adapted.disable_adapter()
        ):
            yield

    def final(self, packed: Batch, at_n: Tensor) -> Tensor:
        """Normed last states (n, D) of the pack at the tokens `at_n`."""
        states_1TD = self.base.run(self.base.embed(packed), packed, 0, len(self.base.layers))
        return self.base.final(states_1TD, at_n)

    def over_packs(self, items: Sequence[Ids], read: Read) -> None:
        """Call `read`, without gradients, on packs that cover all items; once more on smaller packs
        where memory runs out."""
        left = list(range(len(items)))
        while left:
            packs = pack([len(items[i]) for i in left], ANSWER_PACK * self.pack_tokens)
            done: set[int] = set()
            for rows in [[left[p] for p in chosen] for chosen in packs]:
                if not self.fits(
                    lambda rows=rows: self._read(items, rows, read), [items[i] for i in rows]
                ):
                    break
                done.update(rows)
            left = [i for i in left if i not in done]

    @torch.no_grad()
    def _read(self, items: Sequence[Ids], rows: list[int], read: Read) -> None:
        read(rows, batch([items[i] for i in rows], self.base.device))

    def fits(self, work: Callable[[], None], items: Sequence[Ids]) -> bool:
        """Whether `work` on the pack of `items` was done; if not, memory ran out, the budget was
        halved, and that was said.

        Raises:
            Misconfigured: the pack was a single item.
        """
        try:
            work()
            return True
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0][:200]
        # here the failed pack's frames are gone, and what they held can be freed
        tokens = sum(map(len, items))
        if self.base.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        if len(items) == 1:
            raise Misconfigured(
                f"One item of {tokens} tokens does not fit into the memory of {self.base.device} "
                f"({reason}). Lower the recipe's max_tokens, or take a larger device.",
                tokens=tokens,
            )
        self.pack_tokens = max(1, min(self.pack_tokens, tokens) // 2)
        self.log(
            f"A pack of {tokens} tokens does not fit into memory ({reason}); packs are now of "
            f"{self.pack_tokens} tokens."
        )
        return False
