"""Random items, and random weights of a stated shape in Hugging Face's format: speed needs neither
data nor trained weights.

Legend: N items, T tokens.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from aarlab.models.cost import Shape

PAD, EOS, NO, YES, FIRST = 0, 1, 2, 3, 4  # token ids; the words of items begin at FIRST


@dataclass(frozen=True)
class RandomItems:
    """Token ids of N prompts, and their labels in {0, 1}."""

    ids: list[NDArray[np.int32]]
    labels_N: NDArray[np.int64]

    @property
    def lengths_N(self) -> NDArray[np.int64]:
        return np.array([len(row) for row in self.ids])

    @property
    def tokens(self) -> int:
        return int(self.lengths_N.sum())

    def __getitem__(self, rows: slice) -> "RandomItems":
        return RandomItems(self.ids[rows], self.labels_N[rows])


def draw(lengths_N: NDArray[np.int64], vocabulary: int, seed: int = 0) -> RandomItems:
    """Items of these lengths, tokens and labels uniform at random."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(FIRST, vocabulary, n, dtype=np.int32) for n in lengths_N]
    return RandomItems(ids, rng.integers(0, 2, len(ids)))


def config_of(shape: Shape, positions: int) -> transformers.PretrainedConfig:
    """The published configuration of that shape: Qwen3's, or, where every head has keys of its own,
    Qwen1.5's."""
    grouped = shape.kv_heads < shape.heads
    sizes = {
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": positions,
        "tie_word_embeddings": shape.tied,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": None,
    }
    return (
        transformers.Qwen3Config(**sizes, head_dim=shape.head_width)
        if grouped
        else transformers.Qwen2Config(**sizes)
    )


def write_weights(
    shape: Shape, folder: Path, *, dtype: torch.dtype, device: str, positions: int = 32768
) -> Path:
    """The folder, now with random weights of that shape and the smallest tokenizer that
    transformers can load."""
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(
            config_of(shape, positions), dtype=dtype
        )
    model.save_pretrained(folder)
    words = {"<pad>": PAD, "<eos>": EOS, "No": NO, "Yes": YES} | {
        f"w{i}": i for i in range(FIRST, shape.vocabulary)
    }
    _tokenizer(words).save_pretrained(folder)
    return folder


def _tokenizer(words: dict[str, int]) -> transformers.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words_only = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    words_only.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words_only, eos_token="<eos>", pad_token="<pad>"
    )
