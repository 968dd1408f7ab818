"""A causal language model that is loaded once and fine-tuned, asked and looked into any number of
times, in packs.

Legend: N items, n items of a pack, b items of a step, S steps, L kept layers, D width, T tokens.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.models import head_training
from aarlab.models.head_training import Array, Loss
from aarlab.models.preset import Hardware, Recipe
from aarlab.models.tuned import lean_lora, losses
from aarlab.models.tuned.base_model import BaseTransformer, Batch
from aarlab.models.tuned.checkpoint import JobCheckpoint, job_hash
from aarlab.models.tuned.job import TrainingJob
from aarlab.models.tuned.packed_model import Log, PackedEngine
from aarlab.models.tuned.tokens import Tokenised
from aarlab.models.tuned.training import Trained, TrainingStep, train


class Tunable:
    """The model in `folder` (Hugging Face's format) on one device.

    Raises:
        Misconfigured: there is no such model, or its attention is not plainly causal.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        hardware: Hardware | None = None,
        log: Log = lambda line: None,
    ) -> None:
        from transformers import AutoTokenizer

        self.hardware = hardware or Hardware()
        where = torch.device(device)
        if not (Path(folder) / "config.json").is_file():
            raise Misconfigured(
                f"No model in Hugging Face's format is at {folder}: it has no config.json.",
                folder=str(folder),
            )
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        compiled = self.hardware.compile and where.type == "cuda"
        self.base = BaseTransformer(
            folder, where, getattr(torch, self.hardware.dtype), compiled=compiled
        )
        self.engine = PackedEngine(self.base, self.hardware.pack_tokens, log)

    @property
    def num_layers(self) -> int:
        return len(self.base.layers)

    def fine_tune(
        self,
        tokens: Tokenised,
        targets_N: Array,
        *,
        recipe: Recipe,
        seed: int,
        weights_N: Array | None = None,
        loss: Loss | None = None,
        checkpoint: Path | None = None,
        progress: Callable[[TrainingStep], None] = lambda step: None,
    ) -> Trained:
        """Train new adapters on soft targets in 0..1 and keep them; they are in force in `logits`
        and `save`.

        A step takes `recipe.batch` items in an order that the seed draws; its loss is the mean over
        the label tokens of the step (losses.py), times each item's weight over the mean weight.
        `loss`, called once a step with all its logits, takes the place of the binary cross-entropy.
        With a `checkpoint` folder the state is written there every `hardware.checkpoint_s` and at
        the end, and a call with the same arguments resumes from it.

        Raises:
            InvalidSubmission: arrays that do not fit each other or are not finite; a loss that
                returns such.
            Misconfigured: one item alone does not fit into memory; the checkpoint is damaged or of
                another job.
        """
        _check(tokens, targets_N, weights_N)
        weights_N = np.ones(len(tokens)) if weights_N is None else weights_N
        loss = None if loss is head_training.cross_entropy else loss
        job = TrainingJob(
            tokens,
            np.asarray(targets_N, np.float64),
            np.asarray(weights_N, np.float64),
            recipe,
            seed,
            loss,
        )
        lean_lora.reset(self.engine.attach(recipe), seed)
        kept = JobCheckpoint(checkpoint, job_hash(job)) if checkpoint else None
        return train(self.engine, job, kept, self.hardware.checkpoint_s, progress)

    def logits(self, tokens: Tokenised, *, adapters: bool = True) -> Array:
        """Logit (N,) that the label is 1, read from the two words' rows; `adapters=False`: as the
        model came.

        Raises:
            Misconfigured: one item alone does not fit into memory; adapters were asked for, and
                none were trained.
        """
        if adapters and self.engine.adapted is None:
            raise Misconfigured(
                "No adapters have been trained. Call fine_tune first, or ask with adapters=False."
            )
        logits_N = np.zeros(len(tokens))

        def read(rows: list[int], packed: Batch) -> None:
            final_nD = self.engine.final(packed, packed.ends_n)
            words_n2 = losses.word_logits(final_nD, self.base.head_VD, tokens.label_ids)
            logits_N[rows] = (words_n2[:, 1] - words_n2[:, 0]).double().cpu().numpy()

        with self.engine.adapters(adapters):
            self.engine.over_packs(tokens.ids, read)
        return logits_N

    def states(self, tokens: Tokenised, layers: Sequence[int]) -> NDArray[np.float16]:
        """States (L, N, D) of the last prompt token after the given numbers of layers (0: the
        embedding), adapters off.

        Raises:
            Misconfigured: there are fewer layers; a state is beyond float16; one item alone does
                not fit into memory.
        """
        if not all(0 <= layer <= self.num_layers for layer in layers):
            raise Misconfigured(
                f"Layers {list(layers)} were asked for; the model has {self.num_layers}."
            )
        states_LND = np.zeros((len(layers), len(tokens), self.base.head_VD.shape[1]), np.float16)

        def read(rows: list[int], packed: Batch) -> None:
            states_1TD, done = self.base.embed(packed), 0
            for layer in sorted(set(layers)):
                states_1TD, done = self.base.run(states_1TD, packed, done, layer), layer
                at_nD = states_1TD[0, packed.ends_n].to(torch.float16).cpu().numpy()
                for where in [i for i, wanted in enumerate(layers) if wanted == layer]:
                    states_LND[where, rows] = at_nD

        with self.engine.adapters(False):
            self.engine.over_packs(tokens.ids, read)
        if not np.isfinite(states_LND).all():
            raise Misconfigured(
                "Some of the model's states are beyond float16's range. Ask for other layers."
            )
        return states_LND

    def save(self, folder: Path) -> Path:
        """Write the trained adapters in peft's format and return the folder.

        Raises:
            Misconfigured: none were trained.
        """
        if self.engine.adapted is None:
            raise Misconfigured("No adapters have been trained; there is nothing to save.")
        return lean_lora.save(self.engine.adapted, folder)


def _check(tokens: Tokenised, targets_N: Array, weights_N: Array | None) -> None:
    if len(tokens) == 0:
        raise InvalidSubmission("No training item is left. Make the filter less strict.")
    for name, values in (("targets", targets_N), ("weights", weights_N)):
        if values is not None and (
            np.shape(values) != (len(tokens),) or not np.isfinite(values).all()
        ):
            raise InvalidSubmission(
                f"{name} must be {len(tokens)} finite numbers, got shape {np.shape(values)}."
            )
    if np.min(targets_N) < 0 or np.max(targets_N) > 1:
        raise InvalidSubmission(
            f"targets must lie in 0..1, got {np.min(targets_N):.3g}..{np.max(targets_N):.3g}."
        )
    if weights_N is not None and (np.min(weights_N) < 0 or np.sum(weights_N) <= 0):
        raise InvalidSubmission("weights must be non-negative and not all zero.")
