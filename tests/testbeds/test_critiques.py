"""The critic's pipeline on doubles: who sees which half, what the teacher reads, and what is done
twice."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from aarlab.core.errors import Transient
from aarlab.core.records import Pair
from aarlab.models.student_contract import Question
from aarlab.testbeds.critiques import critic_labels, halves, question_of


def pair(n: int, split: str, label: int) -> Pair:
    return Pair(
        id=f"{split}-{n}",
        label=label,
        split=split,
        part="id",
        level=1,
        prompt=f"q{n}",
        first="a",
        second=f"b{n} {split}",
    )


SPLITS = {
    split: [pair(n, split, n % 2) for n in range(count)]
    for split, count in (("teacher", 12), ("student", 8), ("final", 4))
}
TRUTH = {question_of(i): i.label for some in SPLITS.values() for i in some}


@dataclass
class CriticDouble:
    """Says "helpful" of items whose second answer is the better one, and a verdict that must not
    get through."""

    identity: str = "one"
    trained: list = field(default_factory=list)
    written: list = field(default_factory=list)

    def train(self, folder, questions, labels, seed, heard):
        self.trained.append((folder, list(questions), list(labels)))
        heard(2, 2)
        return folder / "adapter"

    def write(self, folder, questions, adapter, seed, heard):
        self.written.append((folder, list(questions), adapter))
        heard(len(questions), len(questions))
        return tuple(f"{'helpful' if TRUTH[q] else 'vague'} text.\nVerdict: B" for q in questions)


@dataclass
class WorkersDouble:
    """A teacher that learns which way "helpful" points from the labels that it is given."""

    item_batches: dict = field(default_factory=dict)
    jobs: list = field(default_factory=list)
    parked: int = 0

    def add_item_batch(self, name, splits):
        self.item_batches[name] = splits

    def map(self, jobs):
        self.jobs += jobs
        return [self._one(job) for job in jobs]

    def park(self):
        self.parked += 1

    def _one(self, job):
        assert job.model == "weak"
        item_batch = self.item_batches[job.item_batch]
        seen = np.array([1.0 if "helpful" in q.critique else -1.0 for q in item_batch[job.split]])
        way = np.sign((seen * (2 * job.targets - 1)).sum()) + job.seed / 100
        return {
            s: way * np.array([1.0 if "helpful" in q.critique else -1.0 for q in item_batch[s]])
            for s in job.answer
        }


@pytest.fixture
def run(tmp_path):
    critic, workers, said = CriticDouble(), WorkersDouble(), []
    labels = critic_labels(
        SPLITS,
        workers=workers,
        critic=critic,
        store=tmp_path,
        seeds=(0, 1, 2),
        progress=lambda what, done, of: said.append((what, done, of)),
    )
    return labels, critic, workers, said


def test_one_row_a_teacher_seed_of_probabilities_of_the_student_items(run):
    labels, _, workers, said = run
    assert labels.probs_TN.shape == (3, 8)
    truth = np.array([i.label for i in SPLITS["student"]])
    assert ((labels.probs_TN > 0.5) == truth).all()
    assert logit(labels.probs_TN[1]) == pytest.approx(1.01 * (2 * truth - 1))
    assert [job.seed for job in workers.jobs] == [0, 1, 2]
    assert ("critic: GRPO steps", 2, 2) in said


def test_no_item_trains_both_the_critic_and_the_teacher_that_reads_it(run):
    _, critic, workers, _ = run
    ((_, first, first_labels),) = critic.trained
    job = workers.jobs[0]
    second = [
        Question(q.question, q.choices) for q in workers.item_batches[job.item_batch]["teacher"]
    ]
    assert set(first) | set(second) == {question_of(i) for i in SPLITS["teacher"]}
    assert not set(first) & set(second)
    assert first_labels == [TRUTH[q] for q in first]
    assert job.targets.tolist() == [TRUTH[q] for q in second]
    assert job.split == "teacher"


def test_every_item_that_is_read_has_its_critique_without_the_verdict(run):
    labels, critic, workers, _ = run
    ((_, asked, adapter),) = critic.written
    assert adapter == critic.trained[0][0] / "adapter"
    assert len(asked) == 6 + 8 + 4
    item_batch = workers.item_batches[workers.jobs[0].item_batch]
    for split in ("student", "final"):
        for item, question in zip(SPLITS[split], item_batch[split], strict=True):
            assert question.choices == item.choices
            assert (
                question.critique
                == labels.critiques[item.id]
                == f"{'helpful' if item.label else 'vague'} text."
            )
    assert all("Verdict" not in text for text in labels.critiques.values())


def test_the_devices_are_free_before_the_critic_takes_them(tmp_path):
    workers, seen = WorkersDouble(), []

    class Looks(CriticDouble):
        def train(self, *args):
            seen.append(workers.parked)
            return super().train(*args)

    critic_labels(SPLITS, workers=workers, critic=Looks(), store=tmp_path, seeds=(0,))
    assert seen == [1]


def test_folders_follow_from_what_is_in_them(tmp_path):
    folders = {}

    def where(critic, splits=SPLITS):
        critic_labels(splits, workers=WorkersDouble(), critic=critic, store=tmp_path, seeds=(0,))
        return critic.trained[0][0], critic.written[0][0]

    folders = [where(CriticDouble()), where(CriticDouble()), where(CriticDouble("another"))]
    assert folders[0] == folders[1]
    assert set(folders[0]).isdisjoint(folders[2])
    fewer = where(CriticDouble(), {**SPLITS, "final": SPLITS["final"][:2]})
    assert fewer[0] == folders[0][0], "the same critic"
    assert fewer[1] != folders[0][1], "other texts"


def test_critic_failure_reaches_the_caller_before_training(tmp_path):
    class Fails(CriticDouble):
        def write(self, *args) -> tuple[str, ...]:
            raise Transient("ended; ask again")

    workers = WorkersDouble()
    with pytest.raises(Transient, match="ask again"):
        critic_labels(SPLITS, workers=workers, critic=Fails(), store=Path(tmp_path), seeds=(0,))
    assert not workers.jobs


@given(st.lists(st.integers(0, 1), max_size=40))
def test_halves_are_a_partition_with_labels_in_equal_numbers(labels):
    items = [pair(n, "teacher", label) for n, label in enumerate(labels)]
    first, second = halves(items)
    assert sorted(first + second, key=lambda i: int(i.id[8:])) == items
    assert abs(len(first) - len(second)) <= 1
    assert abs(sum(i.label for i in first) - sum(i.label for i in second)) <= 1
    assert (first, second) == halves(items)
