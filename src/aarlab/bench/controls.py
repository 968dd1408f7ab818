"""Controls of a testbed: what must fail fails, what must succeed succeeds. One command: `aar
controls`.

Each control breaks one thing on purpose. Legend: N student items, M test items, S seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aarlab.bench.bench_record import ControlRow
from aarlab.bench.table import Truth, truth_of
from aarlab.core.intervals import accuracy_measure
from aarlab.core.records import Measure, SplitName
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.methods.baselines import naive
from aarlab.methods.method import Array, Inputs, Task
from aarlab.testbeds.task_data import load_task
from aarlab.testbeds.testbed import Testbed

# (task, true labels of its student items, seed) -> probabilities (M,)
Run = Callable[[Task, NDArray[np.bool_], int], Array]
CHANCE = 0.04  # an accuracy whose interval comes within this of one half is called chance


@dataclass(frozen=True)
class Control:
    """`expects(accuracy, truth)` says whether what was seen is what a sound testbed shows."""

    name: str
    expected: str
    run: Run
    expects: Callable[[Measure, Truth], bool]


def shuffled_labels(task: Task, truth_N: NDArray[np.bool_], seed: int) -> Array:
    """Naive on weak labels that were dealt to other items."""
    del truth_N
    return naive(
        replace(task, weak_probs_N=np.random.default_rng(seed).permutation(task.weak_probs_N)), seed
    )


def flipped_labels(task: Task, truth_N: NDArray[np.bool_], seed: int) -> Array:
    """Naive on the opposite of the weak labels."""
    del truth_N
    return naive(replace(task, weak_probs_N=1 - task.weak_probs_N), seed)


def true_labels(task: Task, truth_N: NDArray[np.bool_], seed: int) -> Array:
    """Naive with a teacher that is always right: the ceiling, by the path of a method."""
    return naive(replace(task, weak_probs_N=truth_N.astype(np.float64)), seed)


def text_only(task: Task, truth_N: NDArray[np.bool_], seed: int) -> Array:
    """Character n-grams (2 to 5) under logistic regression, trained on true labels: no student, no
    pretraining."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    counter = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    counter.fit([text for texts in _texts(task.student) for text in texts])

    def counts(inputs: Inputs) -> csr_matrix:  # second minus first, or the question with its choice
        *first, second = (counter.transform(texts) for texts in _texts(inputs))
        return second - first[0] if first else second

    model = LogisticRegression(max_iter=1000, random_state=seed).fit(counts(task.student), truth_N)
    return model.predict_proba(counts(task.test))[:, 1]


def _texts(inputs: Inputs) -> list[list[str]]:
    """One list a choice: the two texts of pairs, or questions with their only choice."""
    if len(inputs.choices[0]) == 2:
        return [list(texts) for texts in zip(*inputs.choices, strict=True)]
    return [[f"{q}\n{c}" for q, (c,) in zip(inputs.questions, inputs.choices, strict=True)]]


CONTROLS = (
    Control(
        "shuffled weak labels",
        "chance",
        shuffled_labels,
        lambda a, _: a.lower - CHANCE < 0.5 < a.upper + CHANCE,
    ),
    Control("flipped weak labels", "below one half", flipped_labels, lambda a, _: a.upper < 0.5),
    Control(
        "teacher = truth",
        "the ceiling",
        true_labels,
        lambda a, t: abs(a.estimate - t.ceiling_SM.mean()) < 0.02,
    ),
    Control(
        "text-only classifier on true labels",
        "well below the ceiling; chance on math and code",
        text_only,
        lambda a, t: a.upper < accuracy_measure(t.ceiling_SM, t.units_M).lower,
    ),
)


def task_of(testbed: Testbed, split: SplitName, seed: int) -> Task:
    """The task of one seed; `final` is read from the sealed folder, since this is the operator's
    process."""
    folder = testbed.sealed if split == "final" else testbed.public
    return load_task(testbed.public, folder, split, seed)


def control_rows(task: str, beds: Sequence[Testbed], seeds: Sequence[int]) -> list[ControlRow]:
    """All controls that need no other student."""
    truth = truth_of(beds, "final")
    rows = []
    for control in CONTROLS:
        correct_SM = np.concatenate([_correct(control.run, bed, seeds) for bed in beds], axis=1)
        accuracy = accuracy_measure(correct_SM, truth.units_M)
        rows.append(
            ControlRow(
                task=task,
                control=control.name,
                expected=control.expected,
                accuracy=accuracy,
                as_expected=bool(control.expects(accuracy, truth)),
            )
        )
    return rows


def random_student_row(
    task: str, beds: Sequence[Testbed], random_beds: Sequence[Testbed]
) -> ControlRow:
    """The ceiling of a student whose weights were drawn, not learned: what true labels alone can
    teach its head."""
    drawn, learned = truth_of(random_beds, "final"), truth_of(beds, "final")
    accuracy = accuracy_measure(drawn.ceiling_SM, drawn.units_M)
    ceiling = accuracy_measure(learned.ceiling_SM, learned.units_M)
    return ControlRow(
        task=task,
        control="random-initialised student on true labels",
        expected="well below the ceiling",
        accuracy=accuracy,
        as_expected=accuracy.upper < ceiling.lower,
    )


def _correct(run: Run, bed: Testbed, seeds: Sequence[int]) -> NDArray[np.bool_]:
    """(S, M), items in the order of sorted ids."""
    answers = load_answers(bed.folder)
    rows = []
    for seed in seeds:
        task = task_of(bed, "final", seed)
        truth_N = np.array([answers["student"][i] == 1 for i in task.student.ids])
        right_M = np.array([answers["final"][i] == 1 for i in task.test.ids])
        correct_M = (run(task, truth_N, seed) > 0.5) == right_M
        rows.append(correct_M[np.argsort(np.array(task.test.ids))])
    return np.stack(rows)
