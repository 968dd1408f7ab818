"""A student that is fine-tuned: how a preset's models read and label a problem, and how a run asks the strong one.

Legend: N items, L layers, D hidden width.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aarlab.core.records import AnyItem, SplitName
from aarlab.core.settings import Home
from aarlab.labels.anchors import Labelled
from aarlab.labels.critiques import question_of
from aarlab.labels.tuned import by_split, label
from aarlab.models.preset import Preset
from aarlab.models.requests import TRAINING_VERSION
from aarlab.models.results import fingerprint
from aarlab.models.smollm import LAYERS
from aarlab.models.strong import Question
from aarlab.models.tuned.prompts import TEMPLATE_VERSION
from aarlab.models.workers import Workers
from aarlab.problems.problem import Problem
from aarlab.runs.data import questions_of
from aarlab.runs.student import Failed, Reading, Say, Student
from aarlab.runs.testbed import Testbed


def tuned(preset: Preset, home: Home, say: Say) -> Student:
    """The student of a preset. Its workers start when they are first asked; `close` ends them."""
    return _Tuned(preset, home, say).student


class _Tuned:
    def __init__(self, preset: Preset, home: Home, say: Say) -> None:
        self.preset, self.home = preset, home
        self.workers = Workers(preset, home, say=say)
        self._held: dict[tuple[Path, SplitName], str] = {}

    @property
    def student(self) -> Student:
        preset = self.preset
        layers = preset.recipe.screen_layers
        tier = "" if layers is None else f", SCREENING TIER: top {layers} layers only"
        told = {
            "preset": preset.name,
            "student_share": preset.student_share,
            "screening": layers is not None,
            "weak": preset.weak.name,
            "strong": preset.strong.name,
            "recipe": preset.recipe.model_dump(mode="json"),
        }
        return Student(
            name=f"{preset.name}{'' if layers is None else '-screening'}-{self._digest()}",
            read=self._read,
            words=f"{preset.strong.name}, fine-tuned; teacher: {preset.weak.name}, fine-tuned{tier}",
            label=self._label,
            open_door=self._door,
            told=told,
            identity=self._identity,
            close=self.workers.close,
        )

    def _digest(self) -> str:
        """What decides results, and not only speed, in eight digits: part of the testbed's name."""
        decides = self.preset.model_dump(mode="json", exclude={"hardware", "tasks", "name"})
        decides |= {"dtype": self.preset.hardware.dtype, "versions": [TEMPLATE_VERSION, TRAINING_VERSION]}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]

    def _identity(self) -> str:
        """What the two models are, by their files."""
        cache = self.home.cache / "tuned"
        return " ".join(fingerprint(self.workers.folders[which], cache)[:16] for which in ("weak", "strong"))

    def _read(self, problem: Problem, items: Sequence[AnyItem], data_seed: int, say: Say) -> Reading:
        """The feature bank: states at the preset's depths and the zero-shot logit of every item, by the strong model."""
        del problem, data_seed
        deck = self._deck(items)
        hidden_LND: dict[int, list[np.ndarray]] = {layer: [] for layer in LAYERS}
        favour, order = [], []
        for done, (split, some) in enumerate(by_split(items).items()):
            say("feature bank", done, len(by_split(items)))
            states_LnD = self.workers.states("strong", deck, split, self.preset.depths)
            for layer, states_nD in zip(LAYERS, states_LnD, strict=True):
                hidden_LND[layer].append(states_nD)
            favour.append(self.workers.judge("strong", deck, split))
            order += [i.id for i in some]
        at = {name: n for n, name in enumerate(order)}
        rows = np.array([at[i.id] for i in items])
        hidden = {layer: np.concatenate(parts)[rows][:, None] for layer, parts in hidden_LND.items()}
        return Reading(
            hidden=hidden,
            profile_NCP=np.zeros((len(items), 1, 0), np.float32),
            favour_NC=np.concatenate(favour)[rows][:, None].astype(np.float32),
            teacher_NCE=np.zeros((len(items), 1, 0), np.float32),
            fingerprint=f"{self.preset.name} {hashlib.sha256(hidden[LAYERS[2]].tobytes()).hexdigest()[:12]}",
        )

    def _label(self, items: Sequence[AnyItem], say: Say) -> Labelled:
        say("teachers and ceilings", 0, 1)
        store = self.home.cache / "critics"
        return label(items, preset=self.preset, workers=self.workers, deck=self._deck(items), store=store, say=say)

    def _deck(self, items: Sequence[AnyItem]) -> str:
        return self._hold({split: [question_of(i) for i in some] for split, some in by_split(items).items()})

    def _hold(self, questions: dict[SplitName, list[Question]]) -> str:
        """Give the workers the questions, under the name of their hash."""
        words = json.dumps({split: [(q.question, q.choices) for q in some] for split, some in questions.items()})
        name = hashlib.sha256(words.encode()).hexdigest()[:24]
        self.workers.deck(name, questions)
        return name

    @contextlib.contextmanager
    def _door(self, bed: Testbed, split: SplitName, folder: Path) -> Iterator[Failed]:
        """A run may ask the strong model about the published student items and one test split. On an ablated testbed the
        texts are dealt to other items, so that what the model says of an item has nothing to do with it."""
        if (bed.folder, split) not in self._held:
            self._held[bed.folder, split] = self._hold(_questions(bed, split))
        with self.workers.door(self._held[bed.folder, split], {"student": "student", "test": split}, folder) as path:
            yield lambda: self.workers.failed(path)


def _questions(bed: Testbed, split: SplitName) -> dict[SplitName, list[Question]]:
    where = bed.sealed if split == "final" else bed.public
    questions = {"student": questions_of(bed.public, "student"), split: questions_of(where, split)}
    if bed.ablation != "ablated":
        return questions
    rng = np.random.default_rng(bed.dealt_by)
    return {s: [some[i] for i in rng.permutation(len(some))] for s, some in questions.items()}
