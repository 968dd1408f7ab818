"""Text from vLLM, inside this process. Without torch.

Written from vLLM's documentation (offline inference, features/lora, usage/reproducibility), and
tested against a stand-in with the documented signatures. It was NOT run with vLLM itself, which
cannot be installed where this was written.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from aarlab.core.errors import Misconfigured

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters, that vLLM prepares for


class VllmWriter:
    """A `Writer`. Whoever starts this process sets `critic.IN_PROCESS`: the engine then ends with
    it and schedules the same each time."""

    def __init__(self, folder: Path, *, dtype: str, rank: int, max_tokens: int) -> None:
        """`rank` and `max_tokens` (prompt and text) bound what vLLM prepares for.

        Raises:
            Misconfigured: vLLM serves no adapters of so high a rank.
        """
        if rank > RANKS[-1]:
            raise Misconfigured(
                f"vLLM serves adapters up to rank {RANKS[-1]}, not {rank}. Lower the critic's rank."
            )
        from vllm import LLM

        self.by = f"vllm {version('vllm')}"
        self._llm = LLM(
            model=str(folder),
            dtype=dtype,
            enable_lora=True,
            max_lora_rank=next(r for r in RANKS if r >= rank),
            max_model_len=max_tokens,
            generation_config="vllm",  # no sampling defaults of the model's own
        )
        self._ids: dict[Path, int] = {}

    def write(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        adapter: Path | None = None,
    ) -> list[str]:
        """See `Writer`. Each text has a seed of its own."""
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        path = adapter and adapter.resolve()
        number = self._ids.setdefault(path, len(self._ids) + 1) if path else 0
        params = [
            SamplingParams(
                n=1, max_tokens=max_new_tokens, temperature=temperature, top_p=1.0, seed=seed + row
            )
            for row in range(len(prompts))
        ]
        lora = LoRARequest(f"adapter-{number}", number, str(path)) if path else None
        written = self._llm.generate(list(prompts), params, lora_request=lora, use_tqdm=False)
        return [one.outputs[0].text for one in written]

    def close(self) -> None:
        """Give the weights' memory back."""
        del self._llm
