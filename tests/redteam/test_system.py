"""The whole evaluator against its attackers, small: every row must hold, and each kind of row is
shown able to fail."""

import hashlib
import itertools
import json

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Choice, Pair
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger import chain
from aarlab.evaluation.ledger.repeated_submissions import RepeatedSubmissions
from aarlab.fleet import evaluator_process
from aarlab.fleet.folder_runs import FolderRuns
from aarlab.redteam import on_confirmation, on_evaluator, on_ledger, system
from aarlab.redteam.on_evaluator import refusal
from aarlab.redteam.on_system import attack_system
from aarlab.redteam.side_channels import rank_test
from aarlab.redteam.system import (
    SMALL,
    SYSTEM,
    AttackRow,
    markdown,
    random_labels,
    summary,
    write_problem,
)

pytestmark = pytest.mark.process

TIMED = [name for name in SYSTEM if name.startswith("timing")]
STALL = "wrong bodies that stall the server"


# see the marker `long`
SLOW = {
    *("a confirmation that the machine kills", "code that kills itself"),
    *("answers that were looked up", "answers smuggled in a snapshot"),
    *("an honest claim with lucky seeds", "two servers", "metadata over HTTP"),
    *("labels by a grader's faults", "answers generated again by the problem's code"),
    "a grader's faults, shown beside its answer",
}
ROWS = [
    pytest.param(name, marks=pytest.mark.long) if name in SLOW else name
    for name in SYSTEM
    if name not in (*TIMED, STALL)
]


@pytest.mark.parametrize("attack", ROWS)
def test_the_evaluator_holds(attack, tmp_path):
    row = SYSTEM[attack](tmp_path, SMALL)
    assert row.attack == attack
    assert row.held, row


@pytest.mark.parametrize("attack", TIMED)
def test_timing_rows_run_and_report_what_they_measured(attack, tmp_path):
    row = SYSTEM[attack](tmp_path, SMALL)
    assert "AUC" in row.came_back
    assert "p = " in row.came_back


@pytest.mark.long
def test_the_stalling_row_runs_and_every_body_is_refused_in_little_memory(tmp_path, monkeypatch):
    """How long anybody waits is measured and not judged here."""
    monkeypatch.setattr("aarlab.redteam.on_stall.MOST_S", float("inf"))
    row = SYSTEM[STALL](tmp_path, SMALL)
    assert row.held, row
    assert " ms (" in row.came_back


def test_the_rank_test_is_right_by_hand_and_by_design():
    assert rank_test([2, 3], [0, 1])[0] == 1
    assert rank_test([0, 3], [1, 2])[0] == 0.5
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(1, 1, 200), rng.normal(0, 1, 200)
    auc, p = rank_test(list(slow), list(fast))
    assert auc > 0.7
    assert p < 1e-6
    assert rank_test(list(fast), list(rng.normal(0, 1, 200)))[1] > 0.001


def test_a_value_that_is_let_through_shows(tmp_path, monkeypatch):
    """An evaluator that takes abstentions, as the published one did, loses the row."""
    strict = on_evaluator.Evaluator.submit

    def lenient(self, who, snapshot, predictions, family):
        if any(isinstance(row, dict) and 0.5 in row.values() for row in predictions.values()):
            return "0.5 taken for an abstention"
        return strict(self, who, snapshot, predictions, family)

    monkeypatch.setattr(Evaluator, "submit", lenient)
    row = SYSTEM["values that are no answer"](tmp_path, SMALL)
    assert not row.held
    assert "0.5" in row.came_back


def test_a_reply_that_depends_on_labels_shows(tmp_path, monkeypatch):
    """One byte of the exact score in a text is enough."""
    honest = Evaluator._answer_all

    def leaky(self, batch):
        def reported(p, receipt):
            first = p.handed.answers_SM[0, 0] == self.marking._truth_M[0]
            return receipt.model_copy(update={"meaning": f"{receipt.meaning}{int(first)}"})

        return [reported(*pair) for pair in zip(batch, honest(self, batch), strict=True)]

    monkeypatch.setattr(Evaluator, "_answer_all", leaky)
    row = SYSTEM["metadata"](tmp_path, SMALL)
    assert not row.held
    assert not row.came_back.startswith("0 ")


def test_an_answer_that_is_recorded_twice_shows(tmp_path, monkeypatch):
    """An evaluator that forgets between batches what it was asked, as one without a common memory
    would."""
    answer_all = Evaluator._answer_all

    def forgetful(self, batch):
        self._asked = RepeatedSubmissions()
        return answer_all(self, batch)

    monkeypatch.setattr(Evaluator, "_answer_all", forgetful)
    assert not SYSTEM["races"](tmp_path, SMALL).held


def test_a_ledger_that_hashes_scores_without_a_salt_shows(tmp_path, monkeypatch):
    """As entries were hashed before: every exact score is read off the root."""

    def unsalted(row):
        return chain.Shown(*row[:4], json.dumps(row.entry.body, sort_keys=True), row.prev)

    monkeypatch.setattr(chain.LedgerRow, "shown", property(unsalted))
    row = SYSTEM["hashes of exact scores"](tmp_path, SMALL)
    assert not row.held
    assert row.came_back.startswith(f"{on_ledger.TRIES} of")


def test_a_lab_that_runs_as_the_evaluators_user_reads_everything(tmp_path, monkeypatch):
    """Where there is no sandbox, two processes of one user are no wall against code."""
    monkeypatch.setattr(evaluator_process, "probe", lambda: "switched off")
    row = SYSTEM["a compromised lab process"](tmp_path, SMALL)
    assert not row.held
    assert row.came_back.startswith(
        "read: labels, scales, meter, ledger, secret, tokens, operator's token"
    )
    assert "NOTHING" in row.evidence


def test_a_salt_that_a_proof_shows_is_no_salt(tmp_path, monkeypatch):
    """A commitment that is keyed with the mask of the same proof is guessed."""

    def careless(row):
        mask = "00" * 32
        return chain.Shown(*row[:6], mask, hashlib.sha256(row.hidden.encode()).hexdigest())

    monkeypatch.setattr(chain.LedgerRow, "shown", property(careless))
    assert not SYSTEM["hashes of exact scores"](tmp_path, SMALL).held


@pytest.mark.long
def test_without_the_secret_draw_a_generator_gives_every_answer(tmp_path):
    assert on_confirmation.rebuilt(tmp_path, in_secret=False) == 1


@pytest.mark.long
def test_without_a_secret_a_graders_data_are_made_again_and_its_faults_tell_labels(
    tmp_path, monkeypatch
):
    """Both rows can fail."""
    monkeypatch.setattr("aarlab.runs.prepared.secret_seed", lambda _home, _name, seed: seed)
    monkeypatch.setattr("aarlab.fleet.folder_runs.FREE_FAULTS", 100)
    names = ["secrets made again from the card", "labels by a grader's faults"]
    assert [row.held for row in attack_system(tmp_path, SMALL, names)] == [False, False]


@pytest.mark.long
def test_a_failed_grading_that_asks_another_question_shows(tmp_path, monkeypatch):
    """As it was before: the same submission again said whether it had failed."""
    nothing, asked = FolderRuns._nothing, itertools.count()
    monkeypatch.setattr(
        FolderRuns, "_nothing", lambda self, _, seeds: nothing(self, f"{next(asked)}", seeds)
    )
    (row,) = attack_system(tmp_path, SMALL, ["a grader's faults, shown beside its answer"])
    assert not row.held
    assert row.came_back == "not the same: the same submission again"


def test_words_of_a_refusal_or_what_was_let_through():
    def refused():
        raise InvalidSubmission("No.")

    assert refusal(refused) == "No."
    assert refusal(lambda: 7) == "LET THROUGH: 7"
    with pytest.raises(ZeroDivisionError):
        refusal(lambda: 1 / 0)


def test_labels_are_balanced_and_drawn_anew():
    first, second = random_labels(SMALL), random_labels(SMALL, 1)
    assert first.mean() == 0.5
    assert (first != second).any()
    assert (random_labels(SMALL) == first).all()


def test_texts_are_the_same_but_for_case_spaces_and_numbering():
    about = {"id": "i", "label": 1, "split": "final", "part": "id", "level": 1}
    pair = Pair(prompt="Q", first="The  Plot no17x", second="a DOOR", **about)
    assert on_confirmation._texts(pair) == {"the plot", "a door"}
    assert on_confirmation._texts(Choice(question="Q", choice="A", **about)) == {"q a"}


def test_rows_are_shown_and_one_that_did_not_hold_stands_out(tmp_path):
    rows = attack_system(tmp_path, SMALL, ["another split, seed or baseline"])
    bad = AttackRow(attack="a|b", tried="x", came_back="y\nz", held=False, evidence="e")
    page = markdown([*rows, bad], "aar redteam --system")
    assert "| a\\|b | x | y z | **NO** | e |" in page
    assert page.count("\n| ") == 4
    assert summary(rows).row_count == 1
    assert write_problem(tmp_path / "p", random_labels(SMALL)).is_dir()
    assert system.SMALL.items < system.AttackScale().items
