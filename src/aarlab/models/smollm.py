"""The strong student of the small preset: SmolLM2-135M-Instruct, frozen. Features are cached on
disk (see `feature_store`).

Legend: T texts, L kept layers, D = 576 hidden width, b texts of a batch, w its width in tokens, P
numbers of a surprisal profile.
"""

import copy
import hashlib
import inspect
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.processor import computes_bfloat16
from aarlab.core.worker_pool import worker_pool
from aarlab.models.feature_store import Features, Heard, Progress, kept
from aarlab.models.surprisal import TokenReading, profile, zero_shot_logit

LAYERS = (8, 12, 16, 20, 24)  # whose output is kept
SNIPPET_LAYERS = LAYERS[:-1]  # of snippets, of which nothing above is read
PREFIX, SUFFIX = "Review: ", "\nOverall, it was"
GOOD, BAD = " great", " bad"
MAX_SNIPPET_TOKENS = 128  # a longer snippet is cut at its end
MAX_CHOICE_TOKENS = 768  # a longer question, or a longer choice, is cut in its middle
BATCH_TOKENS = 600  # of one batch with its padding: what a core reads fastest (see LOG.md)
START = 0  # the document separator
READING_VERSION = 5  # a part of the key


Asked = Sequence[tuple[str, str]]  # (question, choice)


def read_snippets(
    asked: Asked,
    *,
    weights: Path,
    cache: Path,
    workers: int,
    zero_shot_logit_T: NDArray[np.float32] | None = None,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda why: None,
) -> Features:
    """Features of T choices in the given order, each read alone. The zero-shot logit is log p("
    great") - log p(" bad") after the suffix. Where these logits are known, the suffix and the
    layers above the last kept one are not read."""
    rows = [("", c) for _, c in asked]
    kind = "snippets" if zero_shot_logit_T is None else "states of snippets"
    reader = TextReader(kind, weights, workers)
    features = _kept(reader, rows, cache, progress, heard)
    known = features.zero_shot_logit_T if zero_shot_logit_T is None else zero_shot_logit_T
    return Features(features.hidden_LTD, known, features.profile_TP)


def read_choices(
    asked: Asked,
    *,
    among: Asked,
    example: str,
    weights: Path,
    cache: Path,
    workers: int,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda why: None,
) -> Features:
    """Features of T choices in the given order, each read after the worked example and its
    question, with its profile. Probabilities are over the tokens that occur in the choices of
    `among`: all of a problem."""
    vocabulary = tuple(sorted({choice for _, choice in among}))
    reader = TextReader("choices", weights, workers, example, vocabulary)
    return _kept(reader, list(asked), cache, progress, heard)


@dataclass(frozen=True)
class TextReader:
    """How texts are read, in `workers` processes with one thread each."""

    kind: str  # a key of FORWARD
    weights: Path
    workers: int
    example: str = ""
    vocabulary: tuple[str, ...] = ()  # choices whose tokens are all that can occur

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose output is kept."""
        return LAYERS if self.kind == "choices" else SNIPPET_LAYERS

    def key(self, asked: list[tuple[str, str]]) -> str:
        """Of model, template and data."""
        identity = [
            f"{self.kind} {self.example}",
            READING_VERSION,
            json.loads((self.weights / "source.json").read_text()),
            *(self.layers, PREFIX, SUFFIX, GOOD, BAD, MAX_SNIPPET_TOKENS),
            self.vocabulary,
            asked,
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]

    def read(self, batches: Sequence[list[tuple[str, str]]]) -> Iterator[Features]:
        """The features of each batch."""
        with worker_pool(self.workers, _load, self) as pool:
            yield from pool.map(FORWARD[self.kind], batches)


def _kept(
    reader: TextReader, asked: list[tuple[str, str]], cache: Path, progress: Progress, heard: Heard
) -> Features:
    batches = _batches(_lengths(reader.weights, asked))
    # as many texts a second at the beginning as at the end: what is left can be estimated
    random.Random(0).shuffle(batches)
    return kept(
        cache,
        reader.key(asked),
        __name__,
        batches,
        lambda some: reader.read([[asked[i] for i in batch] for batch in some]),
        progress=progress,
        heard=heard,
    )


def _lengths(weights: Path, asked: Asked) -> list[int]:
    """The number of tokens of each question with its choice, before any cut."""
    from tokenizers import Tokenizer

    # one by one: after a batch, which threads encode, it warns of every fork
    encode = Tokenizer.from_file(str(weights / "tokenizer.json")).encode
    return [len(encode(f"{q} {c}", add_special_tokens=False).ids) for q, c in asked]


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in order of decreasing length, in batches of at most BATCH_TOKENS tokens including
    padding, or of one."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        if not batches or (len(batches[-1]) + 1) * longest > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches


_worker: dict = {}  # the model and tokenizer of this worker process


def _load(reader: TextReader) -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    weights = reader.weights
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights)
    dtype = torch.bfloat16 if computes_bfloat16() else torch.float32  # of weights in bfloat16
    model = transformers.LlamaForCausalLM.from_pretrained(weights, dtype=dtype).eval()
    if FORWARD[reader.kind] is _forward_states:
        model.model.layers = model.model.layers[: max(reader.layers)]

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    occurring = sorted({token for choice in reader.vocabulary for token in ids(choice)})
    _worker.update(model=model, ids=ids, layers=reader.layers)
    _worker.update(occurring=torch.tensor(occurring, dtype=torch.long))
    with torch.inference_mode():  # what precedes every question is read once
        _worker["read"] = (
            model.model(
                torch.tensor([[START, *ids(reader.example)]]), use_cache=True
            ).past_key_values
            if reader.example
            else None
        )


def _body_means(
    rows: list[list[int]], starts: list[int], ends: list[int]
) -> tuple[Any, NDArray[np.float16]]:
    """Last hidden states (b, w, D) of a batch and the mean states (L, b, D) over each row's [start,
    end).

    The padding is on the right, so causality keeps it out.
    """
    import torch

    model = _worker["model"]
    width = max(len(r) for r in rows)
    padded = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    at = torch.arange(width)
    body_mask = (at >= torch.tensor(starts)[:, None]) & (at < torch.tensor(ends)[:, None])
    weight = (body_mask / body_mask.sum(1, keepdim=True)).to(model.dtype)
    kept: dict[int, torch.Tensor] = {}
    hooks = [
        model.model.layers[layer - 1].register_forward_hook(
            lambda _m, _i, out, layer=layer: kept.__setitem__(
                layer, torch.einsum("bwd,bw->bd", out, weight)
            )
        )
        for layer in _worker["layers"]
    ]
    read = copy.deepcopy(_worker["read"])
    if read is not None:
        read.batch_repeat_interleave(len(rows))
    with torch.inference_mode():
        last_bwD = model.model(
            input_ids=padded, **_read_before(model.model, read)
        ).last_hidden_state
    for hook in hooks:
        hook.remove()
    return last_bwD, torch.stack([*kept.values()]).to(torch.float16).numpy()


def _read_before(body: Any, read: Any) -> dict[str, Any]:
    """How to say that `read` (None: nothing) precedes a batch: transformers gave the argument
    another name in version 5."""
    if read is None:
        return {"use_cache": False}
    name = "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
    return {name: read, "use_cache": True}


def _forward_snippets(asked: list[tuple[str, str]]) -> Features:
    """Hidden states, zero-shot logits and an empty profile of one batch."""
    import torch

    ids, model = _worker["ids"], _worker["model"]
    rows, hidden_LbD, last_bwD = _snippet_means(asked, ids(SUFFIX))
    with torch.inference_mode():
        final_bD = last_bwD[torch.arange(len(rows)), torch.tensor([len(r) - 1 for r in rows])]
        logits_b2 = (final_bD @ model.lm_head.weight[[ids(GOOD)[0], ids(BAD)[0]]].T).float()
    logit_b = (logits_b2[:, 0] - logits_b2[:, 1]).numpy()
    return Features(hidden_LbD, logit_b, np.zeros((len(rows), 0), np.float32))


def _forward_states(asked: list[tuple[str, str]]) -> Features:
    """Hidden states of one batch of snippets; zero-shot logits of 0, and an empty profile."""
    rows, hidden_LbD, _ = _snippet_means(asked, [])
    return Features(
        hidden_LbD, np.zeros(len(rows), np.float32), np.zeros((len(rows), 0), np.float32)
    )


def _snippet_means(
    asked: list[tuple[str, str]], suffix: list[int]
) -> tuple[list[list[int]], NDArray[np.float16], Any]:
    """The rows of a batch of snippets, and see `_body_means`."""
    ids = _worker["ids"]
    prefix = ids(PREFIX.rstrip())
    rows = [prefix + ids(" " + text)[:MAX_SNIPPET_TOKENS] + suffix for _, text in asked]
    ends = [len(r) - len(suffix) for r in rows]
    last_bwD, hidden_LbD = _body_means(rows, [len(prefix)] * len(rows), ends)
    return rows, hidden_LbD, last_bwD


def _forward_choices(asked: list[tuple[str, str]]) -> Features:
    """Hidden states over the choice's tokens, zero-shot logits and profiles of one batch."""
    ids = _worker["ids"]
    questions, choices = (
        [_cut(ids(text)) for text in texts]
        for texts in ([f"{q}\n" for q, _ in asked], [c for _, c in asked])
    )
    begin = [] if _worker["read"] is not None else [START]
    rows = [[*begin, *q, *c] for q, c in zip(questions, choices, strict=True)]
    starts = [len(begin) + len(q) for q in questions]
    last_bwD, hidden_LbD = _body_means(rows, starts, [len(r) for r in rows])
    readings = [TokenReading(*of_choice) for of_choice in _token_statistics(last_bwD, rows, starts)]
    return Features(
        hidden_LbD,
        np.array([zero_shot_logit(r) for r in readings], np.float32),
        np.stack([profile(r) for r in readings]).astype(np.float32),
    )


FORWARD: dict[str, Callable[[list[tuple[str, str]]], Features]] = {
    "snippets": _forward_snippets,
    "states of snippets": _forward_states,
    "choices": _forward_choices,
}


def _cut(tokens: list[int]) -> list[int]:
    """At most MAX_CHOICE_TOKENS of them: beginning and end."""
    over = len(tokens) - MAX_CHOICE_TOKENS
    half = MAX_CHOICE_TOKENS // 2
    return tokens if over <= 0 else tokens[:half] + tokens[half + over :]


def _token_statistics(
    last_bwD: Any, rows: list[list[int]], starts: list[int]
) -> list[tuple[NDArray, NDArray, NDArray]]:
    """(surprisal, entropy, rank) of each row's tokens from its start on, normalised over the
    occurring tokens."""
    import torch

    occurring = _worker["occurring"]
    with torch.inference_mode():
        states = torch.cat(
            [
                last_bwD[b, start - 1 : len(row) - 1]
                for b, (row, start) in enumerate(zip(rows, starts, strict=True))
            ]
        )
        targets = torch.searchsorted(
            occurring, torch.tensor([t for r, s in zip(rows, starts, strict=True) for t in r[s:]])
        )
        log_p = torch.log_softmax(
            (states @ _worker["model"].lm_head.weight[occurring].T).float(), dim=1
        )
        own = log_p.gather(1, targets[:, None])
        numbers = (
            torch.stack([-own[:, 0], -(log_p.exp() * log_p).sum(1), (log_p > own).sum(1)])
            .double()
            .numpy()
        )
    cuts = np.cumsum([len(r) - s for r, s in zip(rows, starts, strict=True)])[:-1]
    return [tuple(part) for part in np.split(numbers, cuts, axis=1)]
