"""The operator's side of the workers: one process for each device, started on demand and stopped
with the parent. No torch.

Legend: N items of a split, n items asked about, L layers, D width.
"""

import contextlib
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.held_folder import HeldFolder
from aarlab.core.hub import ensure_model
from aarlab.core.own_code import again, remember
from aarlab.core.progress_callback import Progress
from aarlab.core.settings import KEYS, Home, environment
from aarlab.core.unix_sockets import check_path
from aarlab.models.device_meter import DeviceMeter
from aarlab.models.head_training import Array, Loss, cross_entropy
from aarlab.models.item_batches import ItemBatch, item_batch_of, write_item_batch
from aarlab.models.preset import Preset
from aarlab.models.results import Results, fingerprint
from aarlab.models.student_contract import SOCKET, Question
from aarlab.models.wire import ANSWER_S, VERSION, Message, packed, unpacked
from aarlab.models.worker_process import WorkerProcess
from aarlab.models.worker_requests import (
    Rows,
    StatesRequest,
    TuneRequest,
    Which,
    judge_of,
    kept_as,
    states_of,
    tune_of,
    worker_code,
)

MODULE = "aarlab.models.tuned.serve"


def _request(operation: str, model: Which, item_batch: str, split: str) -> Message:
    return {"v": VERSION, "op": operation, "model": model, "deck": item_batch, "split": split}


@dataclass(frozen=True)
class TuneJob:
    """A fine-tuning of a model on soft targets (n,) of a split's rows (all N if None), and the
    splits to predict then."""

    model: Which
    item_batch: str
    split: str
    targets: Array
    seed: int
    answer: Sequence[str]
    rows: Rows | None = None
    weights: Array | None = None
    loss: Loss = cross_entropy
    ticket: str = field(default_factory=lambda: secrets.token_hex(16))

    def message(self) -> Message:
        """The request to a worker."""
        said = _request("fine_tune", self.model, self.item_batch, self.split)
        said |= {"targets": packed(self.targets), "seed": self.seed}
        said["answer"] = dict.fromkeys(self.answer)
        said |= (
            {"loss": "cross_entropy"}
            if self.loss is cross_entropy
            else {"loss": "own", "ticket": self.ticket}
        )
        optional = {"rows": self.rows, "weights": self.weights}
        return said | {name: packed(array) for name, array in optional.items() if array is not None}


class Workers:
    """See the module's docstring. Workers start on demand; `close`, or the end of a `with` block,
    stops them. Several threads may call it.

    Every request can raise InvalidSubmission (a field is invalid; the message names it),
    Misconfigured (a model or a device is missing, or a worker cannot start; the message has its
    last output) and Transient (a worker ended several times; ask again to resume from its last
    checkpoint).
    """

    def __init__(
        self,
        preset: Preset,
        home: Home,
        *,
        progress: Progress,
        answer_s: float = ANSWER_S,
        place: Path | None = None,
    ) -> None:
        """`answer_s`: seconds that a sandbox's own loss may take for one step; five times as
        long for a whole job. `place`: has their logs; `home` if not given."""
        self.preset, self._home, self._progress, self._answer_s = preset, home, progress, answer_s
        self._folder = (place or home.root).resolve() / "workers"
        self._cache = home.cache.resolve() / "tuned"
        self._results = Results(self._cache / "results")
        self._item_batches: dict[str, ItemBatch] = {}
        self._lock, self._saying = threading.RLock(), threading.Lock()
        self._adding = threading.Lock()
        self._made: list[WorkerProcess] = []
        # of each socket: its worker, and the incarnation that opened it
        self._open: dict[Path, tuple[WorkerProcess, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop every worker; running requests fail."""
        for process in self._made:
            process.close()

    # --- processes --------------------------------------------------------------------------------

    @cached_property
    def folders(self) -> dict[Which, Path]:
        """The folders of the two models, which are downloaded first if necessary."""
        cache = self._home.cache
        return {
            "weak": ensure_model(self.preset.weak, cache).resolve(),
            "strong": ensure_model(self.preset.strong, cache).resolve(),
        }

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The preset's devices, or all devices of torch; each has one worker."""
        if self.preset.hardware.devices:
            return self.preset.hardware.devices
        asked = subprocess.run(
            [sys.executable, "-P", "-m", MODULE, "--devices"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode != 0:
            last = (asked.stderr.strip().splitlines() or ["none"])[-1]
            raise Misconfigured(f"torch cannot list the devices. Its last output: {last}")
        return tuple(json.loads(asked.stdout))

    @property
    def processes(self) -> list[WorkerProcess]:
        """The worker of each device; this does not start them."""
        with self._lock:
            if not self._made:
                self._made = self._make()
        return self._made

    def _make(self) -> list[WorkerProcess]:
        text = self.preset.model_dump_json().encode()
        preset = self._folder / "presets" / f"{hashlib.sha256(text).hexdigest()}.json"
        write_whole(preset, text)
        options = {
            "cache": self._cache,
            "preset": preset,
            "weak": self.folders["weak"],
            "strong": self.folders["strong"],
            "answer-s": self._answer_s,
        }
        argv = [sys.executable, "-P", "-m", MODULE]
        argv += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        keys = set(KEYS.values())
        env = {name: value for name, value in environment().items() if name not in keys} | {
            "HF_HUB_OFFLINE": "1"
        }
        held = HeldFolder()
        weakref.finalize(self, held.close)
        sockets = held.path
        made = []
        for i, device in enumerate(self.devices):
            socket, log = sockets / f"worker-{i}.sock", self._folder / f"worker-{i}.log"
            made.append(
                WorkerProcess(
                    [*argv, "--device", device, "--socket", str(socket)], env, socket, log
                )
            )
            made[-1].batches.update(
                {name: self._item_batch_message(name) for name in self._item_batches}
            )
        return made

    @contextmanager
    def _least_busy(self) -> Iterator[WorkerProcess]:
        """The process with the fewest jobs, the first of them."""
        with self._lock:
            process = min(self.processes, key=lambda p: p.jobs)
            process.jobs += 1
        try:
            yield process
        finally:
            with self._lock:
                process.jobs -= 1

    def ask(self, request: Message, what: str, loss: Loss | None = None) -> Message:
        """Send a request to the worker with the fewest jobs, report its progress as `what`, and
        return its answer."""

        def heard(step: int, of: int, tokens_per_s: float, pack_tokens: int) -> None:
            short = (
                f" (memory ran out: packs of {pack_tokens:,})"
                if pack_tokens < self.preset.hardware.pack_tokens
                else ""
            )
            with self._saying:
                self._progress(
                    f"{what}{short}"
                    if step < of
                    else f"{what}{short}: {tokens_per_s:,.0f} tokens/s",
                    step,
                    of,
                )

        with self._least_busy() as process:
            return process.ask(request, loss=loss, heard=heard)

    # --- item batches -----------------------------------------------------------------------------

    def add_item_batch(self, name: str, splits: Mapping[str, Sequence[Question]]) -> None:
        """Give the workers an item batch under a name; they have it when this returns, also for
        who gives the same one at the same time. They read it from a file."""
        item_batch = item_batch_of(splits)
        with self._adding:
            known = self._item_batches.get(name)
            if known is not None and known.splits == item_batch.splits:
                return
            with self._lock:
                self._item_batches[name] = item_batch
                made = list(self._made)
            for process in made:
                process.send_and_keep(process.batches, name, self._item_batch_message(name))

    def _item_batch_message(self, name: str) -> Message:
        path = write_item_batch(self._item_batches[name], self._folder / "item_batches")
        return {"v": VERSION, "op": "deck", "name": name, "path": str(path)}

    # --- operations -------------------------------------------------------------------------------

    def fine_tune(self, job: TuneJob) -> dict[str, Array]:
        """Fine-tune, and return the logits of the job's `answer` splits. Results with the
        cross-entropy loss are cached."""
        request = job.message()
        tune, why = tune_of(request, self._item_batches), ""
        if not tune.ticket:
            name = self._kept_as(tune)
            if (known := self._results.get(name)) is not None:
                return {split: known[f"logits/{split}"] for split in job.answer}
            why = self._again(tune, self._results.path(name))
        own = None if job.loss is cross_entropy else job.loss
        said = self.ask(request, f"{job.model} model, seed {job.seed}{why}", own)
        return {split: unpacked(array, split) for split, array in said["logits"].items()}

    def map(self, jobs: Sequence[TuneJob]) -> list[dict[str, Array]]:
        """`fine_tune` for many jobs, in their order, one at a time on each device."""
        pool = ThreadPoolExecutor(max(1, len(self.devices)))
        try:
            return list(pool.map(self.fine_tune, jobs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def judge(
        self,
        model: Which,
        item_batch: str,
        split: str,
        *,
        rows: Rows | None = None,
        demonstrations: Sequence[Sequence[tuple[int, int]]] = (),
    ) -> Array:
        """Zero-shot logits (n,) of the rows (all N if None). `demonstrations`, (row of this
        split, label), come first in the prompt: one list for all items, or one list for each
        item."""
        request = _request("judge", model, item_batch, split)
        request["demonstrations"] = [
            [[int(row), int(label)] for row, label in one] for one in demonstrations
        ]
        if rows is not None:
            request["rows"] = packed(rows)
        judge_of(request, self._item_batches)
        return unpacked(self.ask(request, f"{model} model, {split}")["logits"], "logits")

    def states(
        self, model: Which, item_batch: str, split: str, shares: Sequence[float]
    ) -> NDArray[np.float16]:
        """The last prompt token's states (L, N, D) at shares of the model's depth, memory-mapped
        from the cache."""
        request = _request("states", model, item_batch, split)
        request["shares"] = [float(share) for share in shares]
        asked = states_of(request, self._item_batches)
        path = self._cache / "states" / f"{self._kept_as(asked)}.npy"
        if not path.exists():
            self.ask(request, f"{model} model, states of {split}{self._again(asked, path)}")
        return np.load(path, mmap_mode="r")

    def _kept_as(self, asked: TuneRequest | StatesRequest) -> str:
        return kept_as(asked, self.preset, fingerprint(self.folders[asked.model], self._cache))

    def _again(self, asked: TuneRequest | StatesRequest, path: Path) -> str:
        """Why the result in `path` must be computed again; "" if it is computed for the first
        time."""
        remember(self._cache, worker_code())
        key = asked.key(self.preset, fingerprint(self.folders[asked.model], self._cache))
        why = again(self._cache, key, worker_code(), suffix=path.suffix, folder=path.parent)
        return f" again, {why}" if why else ""

    def park(self) -> None:
        """Let every worker release its device's memory; the next request loads the model again."""
        for process in self._made:
            if process.started:
                process.ask({"v": VERSION, "op": "park"})

    @property
    def has_device(self) -> bool:
        """Whether this machine has what the preset names, or a GPU where it names nothing."""
        return bool(self.preset.hardware.devices) or self.devices != ("cpu",)

    @contextmanager
    def open_socket(
        self,
        item_batch: str,
        splits: Mapping[str, str],
        folder: Path,
        meter: DeviceMeter | None = None,
    ) -> Iterator[Path]:
        """Open folder/strong.sock, and yield its path. A process that reaches it may use
        `fine_tune` and `judge` of the strong model on two splits of the item batch, which
        `splits` names as student and test. The client is `aarlab.models.remote`. `meter`: counts
        their time on the device, and ends what it does not allow; whose meter it is takes turns
        with others."""
        if (
            splits.keys() != {"student", "test"}
            or not set(splits.values()) <= self._item_batches[item_batch].splits.keys()
        ):
            raise Misconfigured(
                f"A socket needs student and test, each a split of item batch {item_batch}; got "
                f"{dict(splits)}."
            )
        path = folder.resolve() / SOCKET
        check_path(path)
        with self._lock:
            process = min(self.processes, key=lambda p: len(p.sockets))
            request: Message = {
                "v": VERSION,
                "op": "open",
                "path": str(path),
                "deck": item_batch,
                **splits,
                **({} if meter is None else {"meter": meter.message}),
            }
            process.sockets[str(path)] = request
        try:
            process.ask(request)
            self._open[path] = process, process.starts
            yield path
        finally:
            self._open.pop(path, None)
            process.sockets.pop(str(path), None)
            with contextlib.suppress(AarError):  # a worker that is gone has no socket
                process.ask({"v": VERSION, "op": "shut", "path": str(path)})
            path.unlink(missing_ok=True)

    def failed(self, socket: Path) -> AarError | None:
        """The failure during an open socket that was not the caller's fault: the worker ended or
        failed; else None."""
        process, starts = self._open[socket]
        try:
            kind = process.ask({"v": VERSION, "op": "failed", "path": str(socket)})["kind"]
        except AarError as error:
            return error
        if kind == Misconfigured.__name__:
            return Misconfigured(
                f"The strong model failed. Fix the cause that {process.log} names, and run the "
                "command again."
            )
        if kind or process.starts != starts:
            return Transient(
                f"The strong model's worker failed during the run (its log is {process.log}). Try "
                "again."
            )
        return None
