"""A fine-tuned student: how a preset's models read and label a problem, and how a run uses the
strong model.

Legend: N items, L layers, D hidden width.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aarlab.core.progress_callback import Progress
from aarlab.core.records import AnyItem, SplitName
from aarlab.core.settings import Home
from aarlab.models.device_meter import DeviceMeter
from aarlab.models.item_batches import item_batch_of, write_item_batch
from aarlab.models.preset import Preset
from aarlab.models.results import fingerprint, key
from aarlab.models.smollm import LAYERS
from aarlab.models.student_contract import Question
from aarlab.models.worker_requests import COUNTED
from aarlab.models.workers import Workers
from aarlab.testbeds.anchors import Labelled
from aarlab.testbeds.critiques import question_of
from aarlab.testbeds.student import Failed, ModelsForNode, RawFeatures, Student, ToRead
from aarlab.testbeds.task_data import questions_of
from aarlab.testbeds.testbed import Testbed
from aarlab.testbeds.tuned_labels import by_split, label


def tuned(preset: Preset, home: Home, progress: Progress) -> Student:
    """The student of a preset. Its workers start at the first request; `close` stops them."""
    return _Tuned(preset, home, progress).student


class _Tuned:
    def __init__(self, preset: Preset, home: Home, progress: Progress) -> None:
        self.preset, self.home = preset, home
        self.workers = Workers(preset, home, progress=progress)
        self._held: dict[tuple[Path, SplitName], str] = {}
        self._offered: dict[tuple[Path, SplitName], ModelsForNode] = {}

    @property
    def student(self) -> Student:
        preset = self.preset
        published = {
            "preset": preset.name,
            "student_share": preset.student_share,
            "weak": preset.weak.name,
            "strong": preset.strong.name,
            "recipe": preset.recipe.model_dump(mode="json"),
        }
        return Student(
            name=f"{preset.name}-{self._digest()}",
            read=self._read,
            description=(
                f"{preset.strong.name}, fine-tuned; teacher: {preset.weak.name}, fine-tuned"
            ),
            label=self._label,
            open_socket=self._socket,
            elsewhere=self._elsewhere,
            published=published,
            module=__name__,
            identity=self._identity,
            has_device=lambda: self.workers.has_device,
            park=self.workers.park,
            close=self.workers.close,
        )

    def _digest(self) -> str:
        """Eight digits of a hash of the fields that decide results (not only speed); part of the
        testbed's name."""
        decides = self.preset.model_dump(mode="json", exclude={"hardware", "tasks", "name"})
        decides |= {"dtype": self.preset.hardware.dtype, "versions": list(COUNTED.values())}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]

    def _identity(self) -> str:
        """Identifies the two models by their files."""
        cache = self.home.cache / "tuned"
        return " ".join(
            fingerprint(self.workers.folders[which], cache)[:16] for which in ("weak", "strong")
        )

    def _read(self, asked: ToRead) -> RawFeatures:
        """The feature bank: the strong model's states at the preset's depths, and its zero-shot
        logit of every item."""
        items = asked.items
        item_batch = self._item_batch(items)
        hidden_LND: dict[int, list[np.ndarray]] = {layer: [] for layer in LAYERS}
        zero_shot_logit, order = [], []
        for done, (split, some) in enumerate(by_split(items).items()):
            asked.progress("feature bank", done, len(by_split(items)))
            states_LnD = self.workers.states("strong", item_batch, split, self.preset.depths)
            for layer, states_nD in zip(LAYERS, states_LnD, strict=True):
                hidden_LND[layer].append(states_nD)
            zero_shot_logit.append(self.workers.judge("strong", item_batch, split))
            order += [i.id for i in some]
        at = {name: n for n, name in enumerate(order)}
        rows = np.array([at[i.id] for i in items])
        hidden = {
            layer: np.concatenate(parts)[rows][:, None] for layer, parts in hidden_LND.items()
        }
        return RawFeatures(
            hidden=hidden,
            profile_NCP=np.zeros((len(items), 1, 0), np.float32),
            zero_shot_logit_NC=np.concatenate(zero_shot_logit)[rows][:, None].astype(np.float32),
            teacher_NCE=np.zeros((len(items), 1, 0), np.float32),
            fingerprint=(
                f"{self.preset.name} {hashlib.sha256(hidden[LAYERS[2]].tobytes()).hexdigest()[:12]}"
            ),
        )

    def _label(self, items: Sequence[AnyItem], progress: Progress) -> Labelled:
        progress("teachers and ceilings", 0, 1)
        store = self.home.cache / "critics"
        return label(
            items,
            preset=self.preset,
            workers=self.workers,
            item_batch=self._item_batch(items),
            store=store,
            progress=progress,
        )

    def _item_batch(self, items: Sequence[AnyItem]) -> str:
        return self._hold(
            {split: [question_of(i) for i in some] for split, some in by_split(items).items()}
        )

    def _hold(self, questions: dict[SplitName, list[Question]]) -> str:
        """Send the questions to the workers, named by their hash."""
        words = json.dumps(
            {split: [(q.question, q.choices) for q in some] for split, some in questions.items()}
        )
        name = hashlib.sha256(words.encode()).hexdigest()[:24]
        self.workers.add_item_batch(name, questions)
        return name

    @contextlib.contextmanager
    def _socket(
        self, bed: Testbed, split: SplitName, folder: Path, meter: DeviceMeter | None = None
    ) -> Iterator[Failed]:
        """Open the strong model's socket for a run: the student items and one test split. On an
        ablated testbed the texts are permuted over the items, so that the model's answers carry
        no information about them."""
        if (bed.folder, split) not in self._held:
            self._held[bed.folder, split] = self._hold(_questions(bed, split))
        with self.workers.open_socket(
            self._held[bed.folder, split], {"student": "student", "test": split}, folder, meter
        ) as path:
            yield lambda: self.workers.failed(path)

    def _elsewhere(self, bed: Testbed, split: SplitName) -> ModelsForNode:
        if (bed.folder, split) not in self._offered:
            self._offered[bed.folder, split] = self._offer(bed, split)
        return self._offered[bed.folder, split]

    def _offer(self, bed: Testbed, split: SplitName) -> ModelsForNode:
        batch = item_batch_of(_questions(bed, split))
        name = key(**batch.digests)[:24]
        folder = self.home.root / "workers" / "sent" / name
        write_item_batch(batch, folder)
        folders = self.workers.folders
        return ModelsForNode(
            preset=self.preset,
            models={w: fingerprint(f, self.home.cache / "tuned") for w, f in folders.items()},
            model_bytes=sum(_bytes(folder) for folder in folders.values()),
            items=folder,
            splits={"student": "student", "test": split},
        )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _questions(bed: Testbed, split: SplitName) -> dict[SplitName, list[Question]]:
    where = bed.sealed if split == "final" else bed.public
    questions = {"student": questions_of(bed.public, "student"), split: questions_of(where, split)}
    if bed.ablation != "ablated":
        return questions
    rng = np.random.default_rng(bed.dealt_by)
    return {s: [some[i] for i in rng.permutation(len(some))] for s, some in questions.items()}
