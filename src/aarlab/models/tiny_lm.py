"""A small character transformer that is pretrained here, at set-up: the eyes of the math and code teachers.

Pre-norm decoder, learned positions, tied embeddings (after Radford et al. 2019 at a thousandth of the size). It shares no
weight, no token and no text with the student. Legend: T texts, b texts of a batch, w characters, P numbers of a profile.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aarlab.models.surprisal import TokenReading, profile

Progress = Callable[[int, int], None]
PAD, UNKNOWN, START = 0, 1, 2
CONTEXT = 512


@dataclass(frozen=True)
class Pretraining:
    """What decides the weights; part of the cache's key."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    steps: int = 600
    batch: int = 32
    rate: float = 2e-3
    seed: int = 0


class TinyLM(nn.Module):
    """Next-character logits (b, w, V) of character ids (b, w)."""

    def __init__(self, characters: str, spec: Pretraining) -> None:
        super().__init__()
        self.characters = characters
        self.embed = nn.Embedding(len(characters) + 3, spec.width)
        self.place = nn.Embedding(CONTEXT, spec.width)
        self.blocks = nn.ModuleList(_Block(spec.width, spec.heads) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, ids_bw: Tensor) -> Tensor:
        x = self.embed(ids_bw) + self.place(torch.arange(ids_bw.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embed.weight.T

    def encode(self, text: str) -> list[int]:
        """Ids of the start mark and of the text's characters; the end is kept where the context is too short."""
        known = {c: n + 3 for n, c in enumerate(self.characters)}
        return [START, *[known.get(c, UNKNOWN) for c in text][-(CONTEXT - 1) :]]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (h.unflatten(2, (self.heads, -1)).transpose(1, 2) for h in self.mix(self.before(x)).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.think(self.after(x))


def pretrained(corpus: Sequence[str], *, cache: Path, spec: Pretraining, progress: Progress = lambda done, of: None) -> TinyLM:
    """The model pretrained on the corpus, from the cache where it was made before."""
    characters = "".join(sorted(set("".join(corpus))))
    key = hashlib.sha256(json.dumps([vars(spec), list(corpus)]).encode()).hexdigest()[:24]
    path = cache / "models" / f"tiny-lm-{key}.pt"
    model = TinyLM(characters, spec)
    if not path.exists():
        model = _pretrain(corpus, characters, spec, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def _pretrain(corpus: Sequence[str], characters: str, spec: Pretraining, progress: Progress) -> TinyLM:
    """AdamW with a linear warm-up and cosine decay, batches of similar length."""
    torch.manual_seed(spec.seed)
    model = TinyLM(characters, spec)
    rows = sorted((model.encode(t) for t in corpus), key=len)
    draw = np.random.default_rng(spec.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=spec.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, spec.rate, total_steps=spec.steps, pct_start=0.1)
    for step in range(spec.steps):
        at = int(draw.integers(max(1, len(rows) - spec.batch)))
        ids_bw = _padded(rows[at : at + spec.batch])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids_bw[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids_bw[:, 1:].flatten(), ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress(step + 1, spec.steps)
    return model


def _padded(rows: Sequence[list[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([r + [PAD] * (width - len(r)) for r in rows])


def profiles(model: TinyLM, asked: Sequence[tuple[str, str]], batch: int = 64) -> NDArray[np.float32]:
    """The surprisal profile (T, P) of each (question, choice) as this model reads it."""
    out: dict[int, NDArray] = {}
    order = sorted(range(len(asked)), key=lambda i: len(asked[i][0]) + len(asked[i][1]))
    for at in range(0, len(order), batch):
        some = order[at : at + batch]
        for i, of_choice in zip(some, _statistics(model, [(f"{asked[i][0]}\n", asked[i][1]) for i in some]), strict=True):
            out[i] = profile(TokenReading(*of_choice))
    return np.stack([out[i] for i in range(len(asked))]).astype(np.float32)


def _statistics(model: TinyLM, parts: Sequence[tuple[str, str]]) -> list[NDArray[np.float64]]:
    """(surprisal, entropy, rank) of the characters of each choice, (3, t) each."""
    rows = [model.encode(before + choice) for before, choice in parts]
    ids_bw = _padded(rows)
    with torch.inference_mode():
        log_p = torch.log_softmax(model(ids_bw[:, :-1]), dim=2)
    own_bw1 = log_p.gather(2, ids_bw[:, 1:, None])
    entropy_bw = -(log_p.exp() * log_p).sum(2)
    numbers_3bw = torch.stack([-own_bw1[..., 0], entropy_bw, (log_p > own_bw1).sum(2)]).double().numpy()
    return [
        numbers_3bw[:, b, len(row) - 1 - len(choice) : len(row) - 1]
        for b, (row, (_, choice)) in enumerate(zip(rows, parts, strict=True))
    ]
