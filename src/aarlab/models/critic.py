"""The critic's two jobs as records, and the processes that do them, each with a device to itself.
Without torch.

A job's folder holds all of it: what was asked, the log, what is done so far, and last the file that
says that it is done. A job that was killed resumes there; one that is done is not done again.
Legend: N items.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.files import write_whole
from aarlab.core.layout import CriticFolder
from aarlab.core.parent_pipe import end_with_parent
from aarlab.core.process import Child
from aarlab.core.records import Record
from aarlab.core.strict_json import read_json_lines
from aarlab.models.preset import CriticRecipe
from aarlab.models.results import key
from aarlab.models.student_contract import Question

JobKind = TypeVar("JobKind", bound=Record)
Heard = Callable[[int, int], None]  # (done, of)
LOOK_S = 1.0
IN_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # vLLM starts no process of its own
MISCONFIGURED = 3  # exit code of a process whose last line says what the operator must mend
Positive = Annotated[int, Field(ge=1)]


class Models(Record):
    """The two models of a job, and where it runs."""

    strong: Path
    weak: Path
    device: str
    dtype: Literal["bfloat16", "float32"]


class TrainJob(Record):
    """Train a critic on the items and labels in `folder`/items.jsonl; its adapters go to
    `folder`/adapter."""

    folder: Path
    models: Models
    recipe: CriticRecipe
    judge_tokens: Positive  # of what the weak judge reads: longer items are cut
    seed: int


class WriteJob(Record):
    """Write one critique of each item in `folder`/items.jsonl that `rows` name into
    `folder`/`name`.jsonl, a line each."""

    folder: Path
    name: str
    rows: tuple[int, ...]
    models: Models
    recipe: CriticRecipe
    adapter: Path | None
    seed: int


@dataclass(frozen=True)
class CriticProcess:
    """Trains critics and lets them write, on the devices of one machine. Whoever calls has freed
    these devices."""

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
        """All that a critic and its texts depend on beside the items; not how many devices share
        the work."""
        recipe = self.recipe.model_dump(mode="json")
        return key(
            models=self.fingerprints,
            dtype=self.dtype,
            recipe=recipe,
            judge_tokens=self.judge_tokens,
        )

    def train(
        self,
        folder: Path,
        questions: Sequence[Question],
        labels: Sequence[int],
        seed: int,
        heard: Heard,
    ) -> Path:
        """The folder of the critic's adapters, in PEFT's format; trained on the first device,
        unless it was before.

        Raises:
            Misconfigured: TRL is not installed, or the models and the recipe do not fit each other.
            Transient: the process ended; `folder`/critic.log says why. Ask again: it resumes at
                its last checkpoint.
        """
        if not CriticFolder(folder).trained.exists():
            if importlib.util.find_spec("trl") is None:
                raise Misconfigured(
                    "The critic is trained through TRL: pip install 'aarlab[critic]'; or set "
                    "critic: false."
                )
            _items(folder, questions, labels)
            job = TrainJob(
                folder=folder,
                models=self._on(0),
                recipe=self.recipe,
                judge_tokens=self.judge_tokens,
                seed=seed,
            )
            process = self._start(
                "aarlab.models.tuned.grpo", job, folder, "critic", self.devices[0]
            )
            _wait([process], lambda: heard(*_steps(CriticFolder(folder).progress)))
        return CriticFolder(folder).adapter

    def write(
        self,
        folder: Path,
        questions: Sequence[Question],
        adapter: Path | None,
        seed: int,
        heard: Heard,
    ) -> tuple[str, ...]:
        """A text for each question, raw, kept in `folder`; those that are not there yet are dealt
        over the devices.

        Raises:
            Misconfigured: the models and the recipe do not fit each other.
            Transient: a process ended; its log in `folder` says why. Ask again: what is written is
                kept.
        """
        _items(folder, questions, None)
        missing = sorted(set(range(len(questions))) - texts(folder).keys())
        processes = []
        for at, device in enumerate(self.devices):
            if rows := tuple(missing[at :: len(self.devices)]):
                name = f"texts-{at}"
                job = WriteJob(
                    folder=folder,
                    name=name,
                    rows=rows,
                    models=self._on(at),
                    recipe=self.recipe,
                    adapter=adapter,
                    seed=seed,
                )
                processes.append(
                    self._start("aarlab.models.tuned.write", job, folder, name, device)
                )
        _wait(processes, lambda: heard(len(texts(folder)), len(questions)))
        written = texts(folder)
        return tuple(written[row] for row in range(len(questions)))

    def _on(self, at: int) -> Models:
        device = self.devices[at].partition(":")[0]  # the process sees one device alone
        return Models(strong=self.strong, weak=self.weak, device=device, dtype=self.dtype)

    def _start(self, module: str, job: Record, folder: Path, name: str, device: str) -> Child:
        config = folder / f"{name}.config.json"
        write_whole(config, job.model_dump_json(indent=1).encode())
        argv = [sys.executable, "-P", "-m", module, "--config", str(config)]
        env = {**self.env, **IN_PROCESS, **seen(device, self.env)}
        child = Child("critic's process", argv, log=folder / f"{name}.log", env=env)
        child.start()
        return child


def seen(device: str, env: Mapping[str, str]) -> dict[str, str]:
    """The setting under which a process sees one GPU alone; nothing for a device without a
    number."""
    _, _, index = device.partition(":")
    if not index:
        return {}
    visible = env.get("CUDA_VISIBLE_DEVICES", "")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[int(index)] if visible else index}


def texts(folder: Path) -> dict[int, str]:
    """What is written so far, by row; a line that was cut off by a kill does not count."""
    found = {}
    for path in sorted(folder.glob("texts-*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            said = json.loads(line)
            found[said["row"]] = said["text"]
    return found


def read_items(folder: Path) -> tuple[list[Question], list[int]]:
    """The items of a job, and their labels if they have any."""
    said = read_json_lines(CriticFolder(folder).items)
    return [Question(s["question"], tuple(s["choices"])) for s in said], [
        s["label"] for s in said if "label" in s
    ]


def _items(folder: Path, questions: Sequence[Question], labels: Sequence[int] | None) -> None:
    lines: list[dict[str, Any]] = [
        {"question": q.question, "choices": q.choices} for q in questions
    ]
    if labels is not None:
        lines = [line | {"label": int(label)} for line, label in zip(lines, labels, strict=True)]
    write_whole(
        CriticFolder(folder).items, "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    )


def _steps(path: Path) -> tuple[int, int]:
    if not path.exists():
        return 0, 1
    said = json.loads(path.read_bytes())
    return said["step"], said["of"]


def run_job(kind: type[JobKind], run: Callable[[JobKind], object], description: str | None) -> None:
    """The command of a critic's process: `run` the job of the file --config."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--config", type=Path, required=True, help=f"a file with a {kind.__name__}, as JSON"
    )
    parser.add_argument("--parent-pipe", type=int, help="a file descriptor: end when it does")
    a = parser.parse_args()
    if a.parent_pipe is not None:
        end_with_parent(a.parent_pipe)
    try:
        run(kind.model_validate_json(a.config.read_bytes()))
    except Misconfigured as error:
        parser.exit(MISCONFIGURED, f"{error}\n")


def _check(child: Child, code: int) -> None:
    """Raise where a process ended with an error."""
    last = child.last_output()[:500]
    if code == MISCONFIGURED:
        raise Misconfigured(last)
    if code != 0:
        words = f"The {child.name} ended with {code}; its last output: {last}."
        raise Transient(f"{words} See {child.log}; ask again: it resumes.")


def _wait(running: Sequence[Child], look: Callable[[], None]) -> None:
    """Return when all have ended without an error; at the first error the others are ended too."""
    try:
        for child in running:
            while (code := child.join(LOOK_S)) is None:
                look()
            _check(child, code)
    finally:
        for child in running:
            child.stop()
