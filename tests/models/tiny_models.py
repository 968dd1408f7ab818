"""Deterministic doubles: models of a few thousand weights in Hugging Face's format, of the shapes
that the real ones have, with a real tokenizer; and a few seconds of full training, after which one
knows what given texts are about.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from aarlab.core.errors import InvalidSubmission
from aarlab.models.student_contract import Question
from aarlab.models.tuned import losses
from aarlab.models.tuned.base_model import BaseTransformer, batch
from aarlab.models.tuned.prompts import PAIR, SINGLE, parts
from aarlab.models.tuned.tokens import tokenise

Kind = Literal["qwen3", "qwen2", "llama"]
EOS = "<|endoftext|>"
TURN_END = "<|im_end|>"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 512


def make_tiny(
    folder: Path,
    *,
    seed: int,
    layers: int,
    width: int,
    texts: Sequence[str],
    kind: Kind = "qwen3",
    chat: bool = False,
    vocabulary: int = VOCABULARY,
) -> Path:
    """The folder with drawn weights and a byte-level BPE tokenizer learned from `texts`; two query
    heads share a key head. `chat`: with a chat template whose turns end with the tokenizer's end of
    text."""
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    disable_progress_bar()
    config_of, model_of = {
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[kind]
    size = _write_tokenizer(folder, texts, chat, vocabulary)
    config = config_of(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        max_position_embeddings=16384,
        tie_word_embeddings=kind != "llama",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model_of(config).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, texts: Sequence[str], chat: bool, vocabulary: int) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[EOS, "<|im_start|>", TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [PAIR.no, PAIR.yes, SINGLE.no, SINGLE.yes]
    frame = [
        p.text for c in (("a",), ("a", "b")) for p in parts(Question("q", c, "c")) if not p.of_item
    ]
    common = [w for word in words for w in (word, word.strip())] + frame
    tokenizer.train_from_iterator([*texts, *(common * (len(texts) + 8))], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END if chat else EOS, pad_token=EOS
    )
    if chat:
        fast.chat_template = CHAT
    fast.save_pretrained(folder)
    return len(fast)


def teach_language(
    folder: Path,
    questions: Sequence[Question],
    labels: NDArray[np.int_],
    *,
    seed: int,
    epochs: int = 4,
    rate: float = 2e-3,
) -> Path:
    """Train all weights of the model in `folder` to judge `questions` as `labels` (0 or 1) do, and
    write them back: it then knows what the words of such texts mean. Some seconds on one core.

    Raises:
        InvalidSubmission: questions and labels do not fit each other.
    """
    from transformers import AutoTokenizer

    if len(questions) != len(labels):
        raise InvalidSubmission(
            f"{len(questions)} questions and {len(labels)} labels do not fit each other."
        )
    tokens = tokenise(questions, AutoTokenizer.from_pretrained(folder), max_tokens=1024)
    base = BaseTransformer(folder, torch.device("cpu"), torch.float32, compiled=False)
    base.model.requires_grad_(True)
    optimiser = torch.optim.AdamW(base.model.parameters(), lr=rate, weight_decay=0.0)
    draw, targets_N = np.random.default_rng(seed), torch.from_numpy(np.asarray(labels)).float()
    for rows in (
        r
        for _ in range(epochs)
        for r in np.array_split(draw.permutation(len(tokens)), -(-len(tokens) // 16))
    ):
        packed = batch([tokens.ids[i] for i in rows], base.device)
        final_nD = base.final(
            base.run(base.embed(packed), packed, 0, len(base.layers)), packed.ends_n
        )
        words_n2 = losses.word_logits(final_nD, base.head_VD, tokens.label_ids)
        optimiser.zero_grad()
        losses.cross_entropy(words_n2[:, 1] - words_n2[:, 0], targets_N[rows]).mean().backward()
        optimiser.step()
    base.model.save_pretrained(folder)
    return folder
