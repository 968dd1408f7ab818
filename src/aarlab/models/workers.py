"""The operator's side of the workers: one process a device, started when it is needed, asked, and ended with us. Without torch.

Legend: N items of a split, n items asked about, L layers, D width.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import AarError, Misconfigured, Transient
from aarlab.core.settings import KEYS, Home, environment
from aarlab.models.decks import Deck, deck_of, write_deck
from aarlab.models.head import Array, Loss, cross_entropy
from aarlab.models.preset import Preset
from aarlab.models.requests import Rows, Which, judge_of, states_of, tune_of
from aarlab.models.results import Results, fingerprint, write
from aarlab.models.strong import SOCKET, Question
from aarlab.models.wire import ANSWER_S, VERSION, Message, check_path, packed, unpacked
from aarlab.models.worker_process import WorkerProcess
from aarlab.problems.hub import ensure_model

MODULE = "aarlab.models.tuned.serve"
Say = Callable[[str, int, int], None]  # (what, done, of): progress of one step


@dataclass(frozen=True)
class TuneJob:
    """A fine-tuning of a model on soft targets (n,) of a split's rows (all N if None), and the splits that it then answers."""

    model: Which
    deck: str
    split: str
    targets: Array
    seed: int
    answer: Sequence[str]
    rows: Rows | None = None
    weights: Array | None = None
    loss: Loss = cross_entropy
    ticket: str = field(default_factory=lambda: secrets.token_hex(16))

    def message(self) -> Message:
        """As a worker is asked for it."""
        said: Message = {"v": VERSION, "op": "fine_tune", "model": self.model, "deck": self.deck, "split": self.split}
        said |= {"targets": packed(self.targets), "seed": self.seed, "answer": dict.fromkeys(self.answer)}
        said |= {"loss": "cross_entropy"} if self.loss is cross_entropy else {"loss": "own", "ticket": self.ticket}
        optional = {"rows": self.rows, "weights": self.weights}
        return said | {name: packed(array) for name, array in optional.items() if array is not None}


class Workers:
    """See the module's docstring. Nothing starts before it is needed; `close`, or the end of a `with`, ends all. Calls may come
    from several threads.

    Whatever is asked, these are raised: InvalidSubmission where a field does not fit, which is named; Misconfigured where a
    model or a device is not there, or a worker cannot start, with its last words; Transient where a worker ended again and
    again: ask again, it goes on from its last checkpoint.
    """

    def __init__(self, preset: Preset, home: Home, *, say: Say, answer_s: float = ANSWER_S) -> None:
        """`answer_s`: what a sandbox's own loss may take for one step; five times as long for all steps of a job."""
        self.preset, self._home, self._say, self._answer_s = preset, home, say, answer_s
        self._folder, self._cache = home.root.resolve() / "workers", home.cache.resolve() / "tuned"
        self._results = Results(self._cache / "results")
        self._decks: dict[str, Deck] = {}
        self._lock, self._saying = threading.RLock(), threading.Lock()
        self._made: list[WorkerProcess] = []
        self._open: dict[Path, tuple[WorkerProcess, int]] = {}  # each door's worker, and in which life it was opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End every worker; what is under way fails."""
        for process in self._made:
            process.close()

    # --- processes ----------------------------------------------------------------------------------------------------

    @cached_property
    def folders(self) -> dict[Which, Path]:
        """Where the two models are, which may mean that they are fetched first."""
        cache = self._home.cache
        return {
            "weak": ensure_model(self.preset.weak, cache).resolve(),
            "strong": ensure_model(self.preset.strong, cache).resolve(),
        }

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The preset's devices, or all that torch sees, one worker each."""
        if self.preset.hardware.devices:
            return self.preset.hardware.devices
        asked = subprocess.run([sys.executable, "-P", "-m", MODULE, "--devices"], capture_output=True, text=True, check=False)
        if asked.returncode != 0:
            words = (asked.stderr.strip().splitlines() or ["none"])[-1]
            raise Misconfigured(f"torch cannot say which devices there are. Its last words: {words}")
        return tuple(json.loads(asked.stdout))

    @property
    def processes(self) -> list[WorkerProcess]:
        """One a device, none of them started by this."""
        with self._lock:
            if not self._made:
                self._made = self._make()
        return self._made

    def _make(self) -> list[WorkerProcess]:
        text = self.preset.model_dump_json().encode()
        preset = self._folder / "presets" / f"{hashlib.sha256(text).hexdigest()}.json"
        write(preset, text)
        argv = [sys.executable, "-P", "-m", MODULE, "--cache", str(self._cache), "--preset", str(preset)]
        argv += [
            "--weak",
            str(self.folders["weak"]),
            "--strong",
            str(self.folders["strong"]),
            "--answer-s",
            str(self._answer_s),
        ]
        keys = set(KEYS.values())
        env = {name: value for name, value in environment().items() if name not in keys} | {"HF_HUB_OFFLINE": "1"}
        sockets = Path(tempfile.mkdtemp(prefix="aar-workers-"))  # mode 0700
        weakref.finalize(self, shutil.rmtree, sockets, ignore_errors=True)
        made = []
        for i, device in enumerate(self.devices):
            socket, log = sockets / f"worker-{i}.sock", self._folder / f"worker-{i}.log"
            made.append(WorkerProcess([*argv, "--device", device, "--socket", str(socket)], env, socket, log))
            made[-1].decks.update({name: self._deck_message(name) for name in self._decks})
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
        """Make a request of the worker with the fewest jobs, and say its progress under the name `what`; its last fields."""

        def heard(step: int, of: int, tokens_per_s: float, pack_tokens: int) -> None:
            short = f" (memory ran out: packs of {pack_tokens:,})" if pack_tokens < self.preset.hardware.pack_tokens else ""
            with self._saying:
                self._say(f"{what}{short}" if step < of else f"{what}{short}: {tokens_per_s:,.0f} tokens/s", step, of)

        with self._least_busy() as process:
            return process.ask(request, loss=loss, heard=heard)

    # --- decks --------------------------------------------------------------------------------------------------------

    def deck(self, name: str, splits: Mapping[str, Sequence[Question]]) -> None:
        """Make texts known under a name. Workers read them from a file of ours."""
        deck = deck_of(splits)
        if name in self._decks and self._decks[name].splits == deck.splits:
            return
        with self._lock:
            self._decks[name] = deck
            made = list(self._made)
        for process in made:
            process.tell(process.decks, name, self._deck_message(name))

    def _deck_message(self, name: str) -> Message:
        path = write_deck(self._decks[name], self._folder / "decks")
        return {"v": VERSION, "op": "deck", "name": name, "path": str(path)}

    # --- operations ---------------------------------------------------------------------------------------------------

    def fine_tune(self, job: TuneJob) -> dict[str, Array]:
        """Logits of what the job answers, by split. A job of cross-entropy that was done before, ever, is not done again."""
        request = job.message()
        tune = tune_of(request, self._decks)
        if not tune.ticket:
            known = self._results.get(tune.key(self.preset, fingerprint(self.folders[job.model], self._cache)))
            if known is not None:
                return {split: known[f"logits/{split}"] for split in job.answer}
        own = None if job.loss is cross_entropy else job.loss
        said = self.ask(request, f"{job.model} model, seed {job.seed}", own)
        return {split: unpacked(array, split) for split, array in said["logits"].items()}

    def map(self, jobs: Sequence[TuneJob]) -> list[dict[str, Array]]:
        """The same of many jobs, in their order, as many at a time as there are devices."""
        pool = ThreadPoolExecutor(max(1, len(self.devices)))
        try:
            return list(pool.map(self.fine_tune, jobs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def judge(
        self,
        model: Which,
        deck: str,
        split: str,
        *,
        rows: Rows | None = None,
        demonstrations: Sequence[Sequence[tuple[int, int]]] = (),
    ) -> Array:
        """Zero-shot logits (n,) of the rows (all N if None), after demonstrations (row of this split, label): one list for all,
        or one an item."""
        request: Message = {"v": VERSION, "op": "judge", "model": model, "deck": deck, "split": split}
        request["demonstrations"] = [[[int(row), int(label)] for row, label in one] for one in demonstrations]
        if rows is not None:
            request["rows"] = packed(rows)
        judge_of(request, self._decks)
        return unpacked(self.ask(request, f"{model} model, {split}")["logits"], "logits")

    def states(self, model: Which, deck: str, split: str, shares: Sequence[float]) -> NDArray[np.float16]:
        """The last prompt token's states (L, N, D) at shares of the depth, mapped from the file where they are kept."""
        request: Message = {"v": VERSION, "op": "states", "model": model, "deck": deck, "split": split}
        request["shares"] = [float(share) for share in shares]
        asked = states_of(request, self._decks)
        path = self._cache / "states" / f"{asked.key(self.preset, fingerprint(self.folders[model], self._cache))}.npy"
        if not path.exists():
            self.ask(request, f"{model} model, states of {split}")
        return np.load(path, mmap_mode="r")

    def park(self) -> None:
        """Let every worker release its device's memory; what is asked for next is loaded again."""
        for process in self.processes:
            if process.started:
                process.ask({"v": VERSION, "op": "park"})

    @contextmanager
    def door(self, deck: str, splits: Mapping[str, str], folder: Path) -> Iterator[Path]:
        """Open folder/strong.sock to whoever reaches it, for `fine_tune` and `judge` of the strong model on the two splits of
        the deck that `splits` names as student and test; its path. The other side is `aarlab.models.remote`."""
        if splits.keys() != {"student", "test"} or not set(splits.values()) <= self._decks[deck].splits.keys():
            raise Misconfigured(f"A door needs student and test, each a split of the deck {deck}; got {dict(splits)}.")
        path = folder.resolve() / SOCKET
        check_path(path)
        with self._lock:
            process = min(self.processes, key=lambda p: len(p.doors))
            request: Message = {"v": VERSION, "op": "open", "path": str(path), "deck": deck, **splits}
            process.doors[str(path)] = request
        try:
            process.ask(request)
            self._open[path] = process, process.life
            yield path
        finally:
            self._open.pop(path, None)
            process.doors.pop(str(path), None)
            with contextlib.suppress(AarError):  # a worker that is gone has no door
                process.ask({"v": VERSION, "op": "shut", "path": str(path)})
            path.unlink(missing_ok=True)

    def failed(self, door: Path) -> AarError | None:
        """What failed behind an open door and was no fault of the caller's: the worker ended, or could not do its work."""
        process, life = self._open[door]
        try:
            kind = process.ask({"v": VERSION, "op": "failed", "path": str(door)})["kind"]
        except AarError as error:
            return error
        if kind == Misconfigured.__name__:
            return Misconfigured(f"The strong model could not be asked. Mend what {process.log} says, and go on.")
        if kind or process.life != life:
            return Transient(f"The strong model's worker failed during the run ({process.log} says why). Try again.")
        return None
