"""The critic's two jobs as records, and the processes that do them, each with a device to itself. Without torch.

A job's folder holds all of it: what was asked, the log, what is done so far, and last the file that says that it is done. A job
that was killed goes on from there; one that is done is not done again.
Legend: N items.
"""

import ctypes
import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Record
from aarlab.models.preset import CriticRecipe
from aarlab.models.results import key, write
from aarlab.models.strong import Question

Heard = Callable[[int, int], None]  # (done, of)
LOOK_S = 1.0
PR_SET_PDEATHSIG = 1
MISCONFIGURED = 3  # exit code of a process whose last line says what the operator must mend
Positive = Annotated[int, Field(ge=1)]


class Models(Record):
    """The two models of a job, and where it runs."""

    strong: Path
    weak: Path
    device: str
    dtype: Literal["bfloat16", "float32"]


class TrainJob(Record):
    """Train a critic on the items and labels in `folder`/items.jsonl; its adapters go to `folder`/adapter."""

    folder: Path
    models: Models
    recipe: CriticRecipe
    judge_tokens: Positive  # of what the weak judge reads: longer items are cut
    seed: int


class WriteJob(Record):
    """Write one critique of each item in `folder`/items.jsonl that `rows` name into `folder`/`name`.jsonl, a line each."""

    folder: Path
    name: str
    rows: tuple[int, ...]
    models: Models
    recipe: CriticRecipe
    adapter: Path | None
    seed: int


@dataclass(frozen=True)
class CriticProcess:
    """Trains critics and lets them write, on the devices of one machine. Whoever calls has freed these devices."""

    strong: Path
    weak: Path
    fingerprints: tuple[str, str]  # of these two models' files
    devices: tuple[str, ...]
    dtype: Literal["bfloat16", "float32"]
    recipe: CriticRecipe
    judge_tokens: int
    env: Mapping[str, str]  # of the processes

    @property
    def identity(self) -> str:
        """All that a critic and its texts depend on beside the items; not how many devices share the work."""
        recipe = self.recipe.model_dump(mode="json")
        return key(models=self.fingerprints, dtype=self.dtype, recipe=recipe, judge_tokens=self.judge_tokens)

    def train(self, folder: Path, questions: Sequence[Question], labels: Sequence[int], seed: int, heard: Heard) -> Path:
        """The folder of the critic's adapters, in PEFT's format; trained on the first device, unless it was before.

        Raises:
            Misconfigured: TRL is not installed, or the models and the recipe do not fit each other.
            Transient: the process ended; `folder`/critic.log says why. Ask again: it goes on from its last checkpoint.
        """
        if not (folder / "critic.json").exists():
            if importlib.util.find_spec("trl") is None:
                raise Misconfigured("The critic is trained through TRL: pip install 'aarlab[critic]'; or set critic: false.")
            _items(folder, questions, labels)
            job = TrainJob(folder=folder, models=self._on(0), recipe=self.recipe, judge_tokens=self.judge_tokens, seed=seed)
            process = self._start("aarlab.models.tuned.grpo", job, folder, "critic", self.devices[0])
            _wait([process], lambda: heard(*_steps(folder / "progress.json")))
        return folder / "adapter"

    def write(
        self, folder: Path, questions: Sequence[Question], adapter: Path | None, seed: int, heard: Heard
    ) -> tuple[str, ...]:
        """A text for each question, raw, kept in `folder`; those that are not there yet are dealt over the devices.

        Raises:
            Misconfigured: the models and the recipe do not fit each other.
            Transient: a process ended; its log in `folder` says why. Ask again: what is written is kept.
        """
        _items(folder, questions, None)
        missing = sorted(set(range(len(questions))) - texts(folder).keys())
        processes = []
        for at, device in enumerate(self.devices):
            if rows := tuple(missing[at :: len(self.devices)]):
                name = f"texts-{at}"
                job = WriteJob(
                    folder=folder, name=name, rows=rows, models=self._on(at), recipe=self.recipe, adapter=adapter, seed=seed
                )
                processes.append(self._start("aarlab.models.tuned.write", job, folder, name, device))
        _wait(processes, lambda: heard(len(texts(folder)), len(questions)))
        written = texts(folder)
        return tuple(written[row] for row in range(len(questions)))

    def _on(self, at: int) -> Models:
        device = self.devices[at].partition(":")[0]  # the process sees one device alone
        return Models(strong=self.strong, weak=self.weak, device=device, dtype=self.dtype)

    def _start(self, module: str, job: Record, folder: Path, name: str, device: str) -> "Running":
        config = folder / f"{name}.config.json"
        write(config, job.model_dump_json(indent=1).encode())
        path = folder / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.env, **seen(device, self.env)},
                preexec_fn=end_with_starter,
            )
        return Running(process, path)


def seen(device: str, env: Mapping[str, str]) -> dict[str, str]:
    """The setting under which a process sees one GPU alone; nothing for a device without a number."""
    _, _, index = device.partition(":")
    if not index:
        return {}
    visible = env.get("CUDA_VISIBLE_DEVICES", "")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[int(index)] if visible else index}


def end_with_starter() -> None:
    """In a child, before it becomes another program: ask the kernel for SIGTERM when its starter dies, however it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def texts(folder: Path) -> dict[int, str]:
    """What is written so far, by row; a line that was cut off by a kill does not count."""
    found = {}
    for path in sorted(folder.glob("texts-*.jsonl")):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                said = json.loads(line)
                found[said["row"]] = said["text"]
    return found


def read_items(folder: Path) -> tuple[list[Question], list[int]]:
    """The items of a job, and their labels if they have any."""
    said = [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    return [Question(s["question"], tuple(s["choices"])) for s in said], [s["label"] for s in said if "label" in s]


def _items(folder: Path, questions: Sequence[Question], labels: Sequence[int] | None) -> None:
    lines: list[dict[str, Any]] = [{"question": q.question, "choices": q.choices} for q in questions]
    if labels is not None:
        lines = [line | {"label": int(label)} for line, label in zip(lines, labels, strict=True)]
    write(folder / "items.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines).encode())


def _steps(path: Path) -> tuple[int, int]:
    if not path.exists():
        return 0, 1
    said = json.loads(path.read_bytes())
    return said["step"], said["of"]


@dataclass(frozen=True)
class Running:
    """A process and the file that it writes its log to."""

    process: subprocess.Popen
    log: Path

    def check(self) -> None:
        """Raise where it ended otherwise than well."""
        code = self.process.returncode
        if code == 0:
            return
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        last = lines[-1][:500] if lines else "none"
        if code == MISCONFIGURED:
            raise Misconfigured(last)
        raise Transient(
            f"The critic's process ended with {code}; its last words: {last}. See {self.log}; ask again: it goes on."
        )


def _wait(running: Sequence[Running], look: Callable[[], None]) -> None:
    """Until all have ended well, or one has not: then none runs any more."""
    try:
        for one in running:
            while _running(one.process):
                look()
            one.check()
    finally:
        for one in running:
            if one.process.poll() is None:
                one.process.terminate()
            one.process.wait()


def _running(process: subprocess.Popen) -> bool:
    try:
        process.wait(timeout=LOOK_S)
    except subprocess.TimeoutExpired:
        return True
    return False
