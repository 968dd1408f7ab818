"""Frozen students and what their teachers read: SmolLM2, MiniLM, and a test double without weights.

Legend: N items, C choices an item, T texts, D hidden width, P numbers of a surprisal profile, E
numbers that the teacher reads.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.progress_callback import Progress
from aarlab.core.records import AnyItem, Pair, SplitName
from aarlab.core.settings import Home
from aarlab.models import double, minilm, smollm, smollm_weights
from aarlab.models.count_lm import CountLM
from aarlab.models.device_meter import DeviceMeter
from aarlab.models.feature_store import Features
from aarlab.models.preset import Preset
from aarlab.models.vectors import static_vectors
from aarlab.problems.problem import Problem
from aarlab.testbeds.anchors import Labelled
from aarlab.testbeds.testbed import Testbed

Failed = Callable[[], AarError | None]  # the last failure of the strong model's worker during a run
OpenSocket = Callable[
    [Testbed, SplitName, Path, DeviceMeter | None], AbstractContextManager[Failed]
]
"""(testbed, test split, folder, meter): a context in which the folder holds the strong model's
socket. It answers about the student split and that test split; the meter counts what it takes."""


@dataclass(frozen=True)
class ModelsForNode:
    """What another machine needs to open such a socket: the preset, the fingerprints of both
    models' files (weak, strong) and their bytes, and a folder with one file, the item batch of the
    splits that are called student and test."""

    preset: Preset
    models: dict[str, str]
    model_bytes: int
    items: Path
    splits: dict[str, str]


OfferElsewhere = Callable[[Testbed, SplitName], ModelsForNode]


@dataclass(frozen=True)
class RawFeatures:
    """The models' features of N items, before any scaling."""

    hidden: dict[int, NDArray[np.float16]]  # layer -> (N, C, D), the student's
    profile_NCP: NDArray[np.float32]  # the student's surprisal; P = 0 for pairs
    zero_shot_logit_NC: NDArray[np.float32]  # the student's zero-shot logits
    # of another lineage than the student; E = 0 where the teacher is fine-tuned
    teacher_NCE: NDArray[np.float32]
    fingerprint: str

    def before(self, other: "RawFeatures") -> "RawFeatures":
        """The features of these items, and after them those of other items."""
        return RawFeatures(
            hidden={k: np.concatenate([h, other.hidden[k]]) for k, h in self.hidden.items()},
            profile_NCP=np.concatenate([self.profile_NCP, other.profile_NCP]),
            zero_shot_logit_NC=np.concatenate([self.zero_shot_logit_NC, other.zero_shot_logit_NC]),
            teacher_NCE=np.concatenate([self.teacher_NCE, other.teacher_NCE]),
            fingerprint=f"{self.fingerprint}, {other.fingerprint}",
        )


class ToRead(NamedTuple):
    """What a student is asked to read."""

    problem: Problem
    items: Sequence[AnyItem]
    among: Sequence[AnyItem]  # all items of the problem
    data_seed: int
    progress: Progress


@dataclass(frozen=True)
class Student:
    """A student: `read` computes its features of items, and of the items of the `teacher` split
    only what the teacher reads. `description` names the student and its teacher. `pair` is another
    student with another teacher and the same names of layers. `reads_ahead`: what it read is kept,
    also a part of it, so that another process may read what is needed later.

    Only for a fine-tuned student: `label` trains teachers and ceilings; `open_socket` lets a run
    use the strong model here, and `elsewhere` says what another machine needs for that; `published`
    is written to public/strong.json; `identity` identifies the models by their files; `has_device`:
    whether a device for it is here; `park` frees that, and `close` stops its workers. `module` is
    the root of its code."""

    name: str
    read: Callable[[ToRead], RawFeatures]
    description: str = ""
    pair: "Student | None" = None
    reads_ahead: bool = False
    label: Callable[[Sequence[AnyItem], Progress], Labelled] | None = None
    open_socket: OpenSocket | None = None
    elsewhere: OfferElsewhere | None = None
    published: Mapping[str, object] = field(default_factory=dict)
    module: str = __name__
    identity: Callable[[], str] = lambda: ""
    has_device: Callable[[], bool] = lambda: True
    park: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


def smollm2(home: Home, workers: int, *, random_weights: bool = False) -> Student:
    """SmolLM2-135M-Instruct, frozen, in `workers` processes. With random weights it is a
    control."""
    name = "smollm2-random" if random_weights else "smollm2"

    def read(asked: ToRead) -> RawFeatures:
        problem, items, among, data_seed, progress = asked
        progress("teacher: what it reads", 0, 1)
        teacher_TE = _teachers_view(problem, items, problem.corpus(home.cache, data_seed))
        progress("student: weights", 0, 1)
        weights = (
            smollm_weights.random_weights(home.cache)
            if random_weights
            else smollm_weights.ensure_weights(home.cache)
        )
        shared: dict[str, Any] = {
            "weights": weights,
            "cache": home.cache,
            "workers": workers,
            "progress": partial(progress, "student: texts"),
            "heard": partial(_report_again, progress),
        }
        # one prompt of all is an instruction
        if isinstance(items[0], Pair) and len({i.question for i in among}) == 1:
            features = _snippets(problem, items, **shared)
        else:
            features = smollm.read_choices(
                _asked(items), among=_asked(among), example=problem.example, **shared
            )
        layers = smollm.LAYERS[: len(features.hidden_LTD)]  # nothing above is read of snippets
        return _reading(name, items, layers, features, teacher_TE)

    size = "SmolLM2-135M with random weights" if random_weights else "SmolLM2-135M-Instruct"
    return Student(
        name,
        read,
        f"{size}; teacher: word vectors, or a language model of counts",
        pair=minilm_l6(home),
        reads_ahead=True,
    )


def _asked(items: Sequence[AnyItem]) -> list[tuple[str, str]]:
    """(question, choice) of T = N C choices, in order."""
    return [(i.question, c) for i in items for c in i.choices]


def _snippets(
    problem: Problem, items: Sequence[AnyItem], *, weights: Path, cache: Path, **shared: Any
) -> smollm.Features:
    """The features of the items' texts. If the problem knows the zero-shot logits of this model,
    the student does not read the texts of the `teacher` split; its states of them are NaN."""
    asked, known = _asked(items), problem.zero_shot
    read = partial(smollm.read_snippets, weights=weights, cache=cache, **shared)
    if known is None or known.weights_sha256 != smollm_weights.weights_sha256(weights):
        return read(asked)
    logit_T = known.of(cache, [c for _, c in asked])
    studied = [t for t, i in enumerate(i for i in items for _ in i.choices) if i.split != "teacher"]
    features = read([asked[t] for t in studied], zero_shot_logit_T=logit_T[studied])
    layers, _, width = features.hidden_LTD.shape
    hidden_LTD = np.full((layers, len(asked), width), np.nan, np.float16)
    hidden_LTD[:, studied] = features.hidden_LTD
    return smollm.Features(hidden_LTD, logit_T, np.zeros((len(asked), 0), np.float32))


def _teachers_view(
    problem: Problem, items: Sequence[AnyItem], corpus: Sequence[str]
) -> NDArray[np.float32]:
    """The teacher's features of each choice, (T, E). They are computed before the student reads
    a text, so that a corpus that is too small raises its error early."""
    asked = _asked(items)
    if isinstance(items[0], Pair):
        return static_vectors(corpus, [c for _, c in asked])
    return (
        static_vectors(corpus, [f"{q}\n{c}" for q, c in asked])
        if problem.worded
        else CountLM(corpus).profiles(asked)
    )


def minilm_l6(home: Home) -> Student:
    """all-MiniLM-L6-v2, frozen, with a teacher that reads characters: the other pair for
    problems of paired texts."""

    def read(asked: ToRead) -> RawFeatures:
        problem, items, _, data_seed, progress = asked
        if not isinstance(items[0], Pair):
            raise Misconfigured(
                f"MiniLM reads only pairs of texts, but '{problem.name}' has single choices. Set "
                "confirm_on_pair: false in the campaign."
            )
        texts = [c for i in items for c in i.choices]
        progress("teacher: what it reads", 0, 1)
        teacher_TE = static_vectors(problem.corpus(home.cache, data_seed), texts, characters=True)
        progress("student: weights", 0, 1)
        weights = minilm.ensure_weights(home.cache)
        texts_done, heard = partial(progress, "student: texts"), partial(_report_again, progress)
        features = minilm.read_snippets(
            texts, weights=weights, cache=home.cache, progress=texts_done, heard=heard
        )
        return _reading("minilm", items, tuple(minilm.BLOCK_OF), features, teacher_TE)

    return Student("minilm", read, "all-MiniLM-L6-v2 (22 M); teacher: character vectors")


def _report_again(progress: Progress, why: str) -> None:
    progress(f"student: texts are read again, {why}", 0, 1)


def _counting(asked: ToRead, *, other: bool = False) -> RawFeatures:
    items = asked.items
    asked.progress("double: features", 0, 1)
    texts = [c for i in items for c in i.choices]
    hidden_LTD, zero_shot_logit_T = double.features(texts, other=other)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    hidden = {layer: _by_item(h, items) for layer, h in zip(double.LAYERS, hidden_LTD, strict=True)}
    return RawFeatures(
        hidden={layer: h for layer, h in hidden.items() if layer != double.TEACHER_LAYER},
        profile_NCP=np.zeros((len(items), len(items[0].choices), 0), np.float32),
        zero_shot_logit_NC=_by_item(zero_shot_logit_T, items),
        teacher_NCE=hidden[double.TEACHER_LAYER].astype(np.float32),
        fingerprint=f"double{' other' if other else ''} {digest[:12]}",
    )


_OTHER = Student(
    "double-other", partial(_counting, other=True), "a second double; teacher: its first layer"
)
# milliseconds, no download
COUNTING = Student("double", _counting, "the double; teacher: its first layer", pair=_OTHER)


def _reading(
    name: str,
    items: Sequence[AnyItem],
    layers: Sequence[int],
    features: Features,
    teacher_TE: NDArray[np.float32],
) -> RawFeatures:
    return RawFeatures(
        hidden={
            layer: _by_item(h, items) for layer, h in zip(layers, features.hidden_LTD, strict=True)
        },
        profile_NCP=_by_item(features.profile_TP, items),
        zero_shot_logit_NC=_by_item(features.zero_shot_logit_T, items),
        teacher_NCE=_by_item(teacher_TE, items),
        fingerprint=f"{name} {hashlib.sha256(features.hidden_LTD.tobytes()).hexdigest()[:12]}",
    )


def _by_item(values_T: NDArray, items: Sequence[AnyItem]) -> NDArray:
    """(T, ...) over all choices in order -> (N, C, ...)."""
    return values_T.reshape(len(items), len(items[0].choices), *values_T.shape[1:])
