"""A worker's operations: its models are loaded once, and operations run one after another.

The event loop reads an operation's request and refuses invalid fields at once; the thread that owns
the device runs it. A module adds an operation to OPERATIONS and is imported by `serve`. A sandbox
can use only the operations that `worker_requests.through` allows. Legend: n items asked about, L
layers, D width.
"""

import contextlib
import gc
import io
import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.files import write_whole
from aarlab.core.hold import lock_now
from aarlab.models.head_training import Array
from aarlab.models.item_batches import ItemBatch
from aarlab.models.preset import Preset
from aarlab.models.results import Results, fingerprint
from aarlab.models.tuned.link import CallerGone
from aarlab.models.tuned.tokens import Tokenised, tokenise
from aarlab.models.wire import Message, packed
from aarlab.models.worker_requests import (
    Fields,
    JudgeRequest,
    StatesRequest,
    TuneRequest,
    Which,
    judge_of,
    kept_as,
    recipe_of,
    states_of,
    tune_of,
    worker_code,
)

if TYPE_CHECKING:
    from aarlab.models.tuned.tunable import Tunable

BLOCK = 512  # items
MOST_CHECKPOINTS = 16  # of all workers: who was killed leaves one
log = logging.getLogger("aarlab.worker")


class WorkerCaller(Protocol):
    """Who asked, as an operation sees them; each method raises where nobody waits any longer."""

    keeps: bool
    """Whether the checkpoint of a job that they leave is kept for their next call."""

    def check(self) -> None: ...
    def progress(self, step: int, of: int, tokens_per_s: float, pack_tokens: int) -> None: ...
    def loss(self, logits_b: Array, targets_b: Array, progress: float) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class WorkerPlace:
    """Whose models a worker runs, where, and where it keeps what it has computed."""

    preset: Preset
    folders: Mapping[Which, Path]
    device: str
    cache: Path


class Loaded:
    """See the module's docstring. Its methods are called in one thread."""

    def __init__(self, place: WorkerPlace) -> None:
        self.place, self.preset = place, place.preset
        self.results = Results(place.cache / "results")
        self._loaded: dict[Which, Tunable] = {}
        self._tokens: dict[tuple[Which, bytes], Tokenised] = {}
        self._checkpoints = place.cache / "checkpoints"
        worker_code()  # hashed now: what is imported later is compared with it

    def tunable(self, model: Which) -> "Tunable":
        """A model, loaded on its first use.

        Raises:
            Misconfigured: it cannot be.
        """
        try:  # here, for it takes seconds, and what is known is answered without
            from aarlab.models.tuned.tunable import Tunable
        except ImportError as error:
            raise Misconfigured(
                f"A package is missing ({error}). Install aarlab[models] for the worker."
            ) from error
        if model not in self._loaded:
            folder, hardware = self.place.folders[model], self.preset.hardware
            self._loaded[model] = Tunable(
                folder, device=self.place.device, hardware=hardware, log=log.info
            )
        return self._loaded[model]

    def fingerprint(self, model: Which) -> str:
        """Of its files."""
        return fingerprint(self.place.folders[model], self.place.cache)

    def tokens(self, model: Which, item_batch: ItemBatch, split: str) -> Tokenised:
        """A split's prompts, tokenised on their first use."""
        known = (model, item_batch.digests[split].tobytes())
        if known not in self._tokens:
            tokenizer, longest = (
                self.tunable(model).tokenizer,
                recipe_of(self.preset, model).max_tokens,
            )
            self._tokens[known] = tokenise(
                item_batch.splits[split],
                tokenizer,
                max_tokens=longest,
                cache=self.place.cache / "tokens",
            )
        return self._tokens[known]

    def park(self) -> None:
        """Release the device's memory: what is asked for next is loaded again."""
        self._loaded.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextlib.contextmanager
    def checkpoint(self, key: str) -> Iterator[Path]:
        """The folder of a job's checkpoints, for this process alone while the job lasts; one that
        was left is found again by whichever worker takes the job up. Too many of them, and the
        oldest that nobody uses goes."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        oldest_first = sorted(self._checkpoints.iterdir(), key=_written)
        for old in oldest_first[: max(0, len(oldest_first) - MOST_CHECKPOINTS + 1)]:
            if not old.name.startswith(key) and (lock := _lock(old)) is not None:
                shutil.rmtree(old, ignore_errors=True)
                os.close(lock)
        folders = (self._checkpoints / f"{key}.{n}" for n in itertools.count())
        folder, lock = next(
            (folder, lock) for folder in folders if (lock := _lock(folder)) is not None
        )
        try:
            yield folder
        finally:
            os.close(lock)


def _written(folder: Path) -> float:
    """When something was last put into a folder, in seconds; 0 if another process has deleted it
    meanwhile."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lock(folder: Path) -> int | None:
    """Hold a folder, made if need be, by a file in it; None where another process does."""
    folder.mkdir(exist_ok=True)
    try:
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except FileNotFoundError:  # its holder has just deleted it
        return None
    if lock_now(lock):
        return lock
    os.close(lock)
    return None


@dataclass(frozen=True)
class WorkerOperation:
    """How a request is read, which may raise InvalidSubmission, and how what was read is done; the
    fields of the last line."""

    read: Callable[[Message, Mapping[str, ItemBatch]], Any]
    run: Callable[[Loaded, Any, WorkerCaller], Message]


def fine_tune(loaded: Loaded, tune: TuneRequest, caller: WorkerCaller) -> Message:
    """Logits of the rows asked for, and the seconds of the computation, which may have been an
    earlier one."""
    key = kept_as(tune, loaded.preset, loaded.fingerprint(tune.model))
    known = None if tune.ticket else loaded.results.get(key)
    if known is None:
        with loaded.checkpoint(key) as folder:
            known = _computed(loaded, tune, caller, folder)
            worker_code().require_unchanged()
            if not tune.ticket:
                loaded.results.put(key, known)
            shutil.rmtree(folder, ignore_errors=True)  # another worker may look into it just now
    return answered(known)


def answered(known: Mapping[str, NDArray]) -> Message:
    """A fine-tuning's arrays as the fields of its last line."""
    logits = {
        name.removeprefix("logits/"): packed(array)
        for name, array in known.items()
        if name != "seconds"
    }
    return {"logits": logits, "seconds": float(known["seconds"])}


def _computed(
    loaded: Loaded, tune: TuneRequest, caller: WorkerCaller, checkpoint: Path
) -> dict[str, NDArray]:
    model, began = loaded.tunable(tune.model), time.monotonic()
    try:
        model.fine_tune(
            loaded.tokens(tune.model, tune.item_batch, tune.split).take(tune.rows_n),
            tune.targets_n,
            recipe=recipe_of(loaded.preset, tune.model),
            seed=tune.seed,
            weights_N=tune.weights_n,
            loss=caller.loss if tune.ticket else None,
            checkpoint=checkpoint,
            progress=lambda step: caller.progress(
                step.step, step.of, step.tokens_per_s, model.engine.pack_tokens
            ),
        )
        logits = {
            s: _logits(model, loaded.tokens(tune.model, tune.item_batch, s).take(r), caller)
            for s, r in tune.answer.items()
        }
    except (CallerGone, InvalidSubmission):
        if not caller.keeps:
            shutil.rmtree(checkpoint, ignore_errors=True)
        raise
    if not all(np.isfinite(z).all() for z in logits.values()):
        words = "The fine-tuned model's logits are not finite."
        if tune.ticket:
            raise InvalidSubmission(f"{words} Let the loss have smaller gradients.", field="grad")
        raise Misconfigured(f"{words} Lower the recipe's rate, or compute in float32.")
    return {f"logits/{split}": z for split, z in logits.items()} | {
        "seconds": np.array(time.monotonic() - began)
    }


def _logits(
    model: "Tunable", tokens: Tokenised, caller: WorkerCaller, *, adapters: bool = True
) -> Array:
    """Logits (n,), a few hundred at a time, so that who hangs up is noticed."""
    blocks = []
    for begin in range(0, len(tokens), BLOCK):
        caller.check()
        blocks.append(
            model.logits(
                tokens.take(range(begin, min(begin + BLOCK, len(tokens)))), adapters=adapters
            )
        )
    return np.concatenate(blocks)


def judge(loaded: Loaded, asked: JudgeRequest, caller: WorkerCaller) -> Message:
    """Zero-shot logits (n,)."""
    model, longest = loaded.tunable(asked.model), recipe_of(loaded.preset, asked.model).max_tokens
    tokens = tokenise(
        asked.questions, model.tokenizer, max_tokens=longest, demonstrations=asked.demonstrations
    )
    return {"logits": packed(_logits(model, tokens, caller, adapters=False))}


def states(loaded: Loaded, asked: StatesRequest, caller: WorkerCaller) -> Message:
    """The file of an array (L, n, D), float16, one layer a share of the depth."""
    key = kept_as(asked, loaded.preset, loaded.fingerprint(asked.model))
    path = loaded.place.cache / "states" / f"{key}.npy"
    if not path.exists():
        caller.check()
        model = loaded.tunable(asked.model)
        layers = [max(1, round(share * model.num_layers)) for share in asked.shares]
        whole = io.BytesIO()
        np.save(
            whole, model.states(loaded.tokens(asked.model, asked.item_batch, asked.split), layers)
        )
        write_whole(path, whole.getbuffer())
    return {"path": str(path)}


def park(loaded: Loaded, asked: None, caller: WorkerCaller) -> Message:
    """Nothing is loaded any more."""
    loaded.park()
    return {}


def nothing(message: Message, item_batches: Mapping[str, ItemBatch]) -> None:
    """A request without fields."""
    Fields(message).done()


OPERATIONS: dict[str, WorkerOperation] = {
    "fine_tune": WorkerOperation(tune_of, fine_tune),
    "judge": WorkerOperation(judge_of, judge),
    "states": WorkerOperation(states_of, states),
    "park": WorkerOperation(nothing, park),
}
