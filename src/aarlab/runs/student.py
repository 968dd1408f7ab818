"""How a testbed's texts are read: by the student of the small preset and the teachers' own eyes, or by the double.

Legend: N items, C choices an item, D hidden width, P numbers of a surprisal profile, E numbers that the teacher reads.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import AarError, Misconfigured
from aarlab.core.records import AnyItem, Pair, SplitName
from aarlab.core.settings import Home
from aarlab.labels.anchors import Labelled
from aarlab.models import double, minilm, smollm
from aarlab.models.count_lm import CountLM
from aarlab.models.vectors import static_vectors
from aarlab.problems.problem import Problem

if TYPE_CHECKING:
    from aarlab.runs.testbed import Testbed

Say = Callable[[str, int, int], None]  # (what, done, of): progress of one step
Failed = Callable[[], AarError | None]  # what failed on our side of a door so far
OpenDoor = Callable[["Testbed", SplitName, Path], AbstractContextManager[Failed]]
"""(testbed, test split, folder): the strong model can be asked at the folder's socket about the student split and that one."""


@dataclass(frozen=True)
class Reading:
    """What the models make of N items, before any scaling."""

    hidden: dict[int, NDArray[np.float16]]  # layer -> (N, C, D), the student's
    profile_NCP: NDArray[np.float32]  # the student's surprisal; P = 0 for pairs
    favour_NC: NDArray[np.float32]  # the student's zero-shot judgement
    teacher_NCE: NDArray[np.float32]  # of another lineage than the student; E = 0 where the teacher is fine-tuned
    fingerprint: str


@dataclass(frozen=True)
class Student:
    """A named way to read items: `read(problem, items, data_seed, say)`; `words` says who the student and its teacher are, and
    `pair` is another student with another teacher, whose layers go by the same names.

    Of a student that is fine-tuned: `label` trains teachers and ceilings, `open_door` lets a run ask it, `told` is published,
    `identity` says what its models are by their files, and `close` ends its workers."""

    name: str
    read: Callable[[Problem, Sequence[AnyItem], int, Say], Reading]
    words: str = ""
    pair: "Student | None" = None
    label: Callable[[Sequence[AnyItem], Say], Labelled] | None = None
    open_door: OpenDoor | None = None
    told: Mapping[str, object] = field(default_factory=dict)
    identity: Callable[[], str] = lambda: ""
    close: Callable[[], None] = lambda: None


def smollm2(home: Home, workers: int, *, random_weights: bool = False) -> Student:
    """SmolLM2-135M-Instruct, frozen, over `workers` processes; with random weights it is a control."""
    name = "smollm2-random" if random_weights else "smollm2"

    def read(problem: Problem, items: Sequence[AnyItem], data_seed: int, say: Say) -> Reading:
        say("student: weights", 0, 1)
        weights = smollm.random_weights(home.cache) if random_weights else smollm.ensure_weights(home.cache)
        asked = [(i.question, c) for i in items for c in i.choices]
        pairs = isinstance(items[0], Pair)
        reader = smollm.read_snippets if pairs else partial(smollm.read_choices, example=problem.example)
        features = reader(asked, weights=weights, cache=home.cache, workers=workers, progress=partial(say, "student: texts"))
        say("teacher: what it reads", 0, 1)
        corpus = problem.corpus(home.cache, data_seed)
        teacher_TE = static_vectors(corpus, [c for _, c in asked]) if pairs else CountLM(corpus).profiles(asked)
        return Reading(
            hidden={layer: _by_item(h, items) for layer, h in zip(smollm.LAYERS, features.hidden_LTD, strict=True)},
            profile_NCP=_by_item(features.profile_TP, items),
            favour_NC=_by_item(features.favour_T, items),
            teacher_NCE=_by_item(teacher_TE, items),
            fingerprint=f"{name} {hashlib.sha256(features.hidden_LTD.tobytes()).hexdigest()[:12]}",
        )

    size = "SmolLM2-135M with random weights" if random_weights else "SmolLM2-135M-Instruct"
    return Student(name, read, f"{size}; teacher: word vectors, or a language model of counts", pair=minilm_l6(home))


def minilm_l6(home: Home) -> Student:
    """all-MiniLM-L6-v2, frozen, with a teacher that reads characters: another pair for problems of paired texts."""

    def read(problem: Problem, items: Sequence[AnyItem], data_seed: int, say: Say) -> Reading:
        if not isinstance(items[0], Pair):
            words = f"MiniLM reads pairs of texts only, and '{problem.name}' has single choices."
            raise Misconfigured(f"{words} Set confirm_on_pair: false.")
        say("student: weights", 0, 1)
        weights = minilm.ensure_weights(home.cache)
        texts = [c for i in items for c in i.choices]
        features = minilm.read_snippets(texts, weights=weights, cache=home.cache, progress=partial(say, "student: texts"))
        say("teacher: what it reads", 0, 1)
        teacher_TE = static_vectors(problem.corpus(home.cache, data_seed), texts, characters=True)
        return Reading(
            hidden={layer: _by_item(h, items) for layer, h in zip(minilm.BLOCK_OF, features.hidden_LTD, strict=True)},
            profile_NCP=_by_item(features.profile_TP, items),
            favour_NC=_by_item(features.favour_T, items),
            teacher_NCE=_by_item(teacher_TE, items),
            fingerprint=f"minilm {hashlib.sha256(features.hidden_LTD.tobytes()).hexdigest()[:12]}",
        )

    return Student("minilm", read, "all-MiniLM-L6-v2 (22 M); teacher: character vectors")


def _counting(problem: Problem, items: Sequence[AnyItem], data_seed: int, say: Say, *, other: bool = False) -> Reading:
    del problem, data_seed
    say("double: features", 0, 1)
    texts = [c for i in items for c in i.choices]
    hidden_LTD, favour_T = double.features(texts, other=other)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    hidden = {layer: _by_item(h, items) for layer, h in zip(double.LAYERS, hidden_LTD, strict=True)}
    return Reading(
        hidden={layer: h for layer, h in hidden.items() if layer != double.TEACHER_LAYER},
        profile_NCP=np.zeros((len(items), len(items[0].choices), 0), np.float32),
        favour_NC=_by_item(favour_T, items),
        teacher_NCE=hidden[double.TEACHER_LAYER].astype(np.float32),
        fingerprint=f"double{' other' if other else ''} {digest[:12]}",
    )


_OTHER = Student("double-other", partial(_counting, other=True), "a second double; teacher: its first layer")
COUNTING = Student("double", _counting, "the double; teacher: its first layer", pair=_OTHER)  # milliseconds, no download


def _by_item(values_T: NDArray, items: Sequence[AnyItem]) -> NDArray:
    """(T, ...) over all choices in order -> (N, C, ...)."""
    return values_T.reshape(len(items), len(items[0].choices), *values_T.shape[1:])
