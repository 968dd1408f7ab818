"""Text from a causal language model under LoRA adapters: through vLLM where it is installed, else
transformers' `generate`.

Legend: N prompts, T tokens.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from aarlab.models.tuned.vllm_writer import VllmWriter

if TYPE_CHECKING:
    from transformers import GenerationMixin


class Writer(Protocol):
    """Writes texts. `by` says which library does, with its version; it is saved beside what was
    written."""

    by: str

    def write(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        adapter: Path | None = None,
    ) -> list[str]:
        """A text for each of N prompts, without the prompt; at temperature 0 the likeliest one.
        `adapter` is a folder in PEFT's format; None: the published weights. The same request in the
        same order gives the same texts."""
        ...

    def close(self) -> None: ...


@contextlib.contextmanager
def writer(
    folder: Path, *, device: str, dtype: str, rank: int = 64, max_tokens: int = 8192
) -> Iterator[Writer]:
    """The best writer that there is, closed on leaving. vLLM is taken on CUDA alone. `rank` and
    `max_tokens` (prompt and text) bound what vLLM prepares for.

    Raises:
        Misconfigured: vLLM serves no adapters of this rank.
    """
    made: Writer
    if device.startswith("cuda") and importlib.util.find_spec("vllm") is not None:
        made = VllmWriter(folder, dtype=dtype, rank=rank, max_tokens=max_tokens)
    else:
        made = TransformersWriter(folder, device=device, dtype=dtype)
    try:
        yield made
    finally:
        made.close()


class TransformersWriter:
    """transformers' `generate`: prompts of similar length together, padded on the left; halved when
    memory runs out."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_tokens: int = 65536,
    ) -> None:
        import transformers

        self.by = f"transformers {version('transformers')}"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, split_special_tokens=True
        )
        self.pad_id = (
            self.tokenizer.pad_token_id
            if self.tokenizer.pad_token_id is not None
            else self.tokenizer.eos_token_id
        )
        self.model = (
            transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
            .to(device)
            .eval()
        )
        # the model's own may set a top_k, and more
        self.model.generation_config = transformers.GenerationConfig(
            eos_token_id=self.model.generation_config.eos_token_id or self.tokenizer.eos_token_id,
            pad_token_id=self.pad_id,
        )
        self.batch_tokens = batch_tokens
        self._names: dict[Path, str] = {}

    def write(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        adapter: Path | None = None,
    ) -> list[str]:
        """See `Writer`. A batch holds as many prompts as `batch_tokens` allow, texts included."""
        ids = self.tokenizer(list(prompts))["input_ids"] if prompts else []
        found: dict[int, str] = {}
        how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": temperature > 0}
        how |= {"temperature": temperature, "top_k": 0} if temperature > 0 else {}
        with self._adapted(adapter) as model, torch.inference_mode():
            for rows in self._batches([len(i) + max_new_tokens for i in ids]):
                torch.manual_seed(seed + rows[0])
                texts = self._generate(model, [ids[r] for r in rows], how)
                found |= zip(rows, texts, strict=True)
        return [found[row] for row in range(len(prompts))]

    def close(self) -> None:
        """Give the weights' memory back."""
        del self.model

    def _batches(self, lengths_N: list[int]) -> list[list[int]]:
        """Rows, the longest first, so that a padded batch stays within `batch_tokens`, or holds one
        row."""
        batches: list[list[int]] = []
        for row in sorted(range(len(lengths_N)), key=lambda r: (-lengths_N[r], r)):
            if batches and (len(batches[-1]) + 1) * lengths_N[batches[-1][0]] <= self.batch_tokens:
                batches[-1].append(row)
            else:
                batches.append([row])
        return batches

    def _generate(
        self, model: "GenerationMixin", ids: list[list[int]], how: dict[str, Any]
    ) -> list[str]:
        try:
            return self._batch(model, ids, how)
        except torch.cuda.OutOfMemoryError:
            if len(ids) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(ids) // 2
        return self._generate(model, ids[:half], how) + self._generate(model, ids[half:], how)

    def _batch(
        self, model: "GenerationMixin", ids: list[list[int]], how: dict[str, Any]
    ) -> list[str]:
        width = max(map(len, ids))
        device = next(model.parameters()).device
        padded = torch.tensor([[self.pad_id] * (width - len(i)) + i for i in ids], device=device)
        mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids], device=device)
        out = model.generate(input_ids=padded, attention_mask=mask, **how)
        return self.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)

    @contextlib.contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator["GenerationMixin"]:
        """The model under these adapters, which stay loaded; or under none."""
        import peft

        if adapter is None:
            disabled = (
                self.model.disable_adapter()
                if isinstance(self.model, peft.PeftModel)
                else contextlib.nullcontext()
            )
            with disabled:
                yield self.model
            return
        name = self._names.setdefault(adapter.resolve(), f"adapter-{len(self._names)}")
        # of peft's own use of a name that transformers is about to drop
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=FutureWarning, message=".*is_gradient_checkpointing"
            )
            if not isinstance(self.model, peft.PeftModel):
                self.model = peft.PeftModel.from_pretrained(self.model, adapter, adapter_name=name)
            elif name not in self.model.peft_config:
                self.model.load_adapter(adapter, adapter_name=name)
        self.model.set_adapter(name)
        yield self.model
