"""What is charged, and when: nothing for an answer that could not be made; once, and before it is
told, for every other."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Family
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.meter import Meter, MeteredSubmission
from aarlab.evaluation.scoring.policies import POLICIES, Answer, Outlook

N = 400


class OfTheTest:
    """A policy whose answers are those of a function of (channel, accuracy)."""

    def __init__(self, answer):
        self._answer = answer

    def answer(self, channel, who, accuracy):
        del who
        return self._answer(channel, accuracy)

    def outlook(self, channel, who):
        del who
        return Outlook(channel.level + 0.01, 1.0, "open", None)


def meter(path, policy):
    return Meter(path / "meter" / "feedback.sqlite", policy, baseline=0.5, n=N)


def one(made, key="a", accuracy=0.9):
    return made.answer_all([MeteredSubmission(key, "one", "ann", accuracy)])[0]


def submit(evaluator, answers, right, number=0):
    """One bundle of that share of right answers."""
    code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
    truth = answers["feedback"]
    sent = {
        i: label if k < right * len(truth) else 1 - label
        for k, (i, label) in enumerate(sorted(truth.items()))
    }
    return evaluator.submit(
        "ann", code["snapshot"], {str(s): sent for s in code["seeds"]}, Family.OTHER
    )


@contextmanager
def full(evaluator):
    """The ledger's store takes no submission: the trigger stands for a full disk."""
    path = evaluator.folder / "ledger.sqlite"
    for words in (
        "CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.kind = 'submission' BEGIN SELECT "
        "RAISE(ABORT, 'full'); END",
        "DROP TRIGGER full",
    ):
        with sqlite3.connect(path, timeout=30) as store:
            store.execute(words)
        store.close()
        if words.startswith("CREATE"):
            yield


# --- before the meter has it ----------------------------------------------------------------------


def test_an_answer_of_numpys_types_is_kept_as_plain_ones(tmp_path):
    """numpy's bool, intp and float32 are none of Python's: sqlite3 refuses the first, JSON all
    three."""
    made = meter(
        tmp_path,
        OfTheTest(lambda c, a: Answer(np.bool_(True), np.float32(0.75), np.intp(3), np.float32(0))),
    )
    reported = one(made)
    assert [type(x) for x in vars(reported.answer).values()] == [bool, float, float, float]
    assert one(made).answer == reported.answer
    again = meter(tmp_path, POLICIES["default"])
    assert again.channel == made.channel
    made.close()
    again.close()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(True, 0.9, bits=float("nan")),
        Answer(True, 0.9, bits=-1.0),
        Answer(True, 1.5, bits=1.0),
        Answer(False, 0.5, mass=1.0),
        Answer(False, 0.5, mass=-0.1),
    ],
)
def test_what_no_policy_may_answer_is_refused_and_not_charged(tmp_path, answer):
    """Negative bits would give budget back; a mass of one is all of the code; NaN is never beyond a
    cap."""
    made = meter(tmp_path, OfTheTest(lambda channel, accuracy: answer))
    with pytest.raises(Misconfigured, match="The policy's answer"):
        one(made)
    assert (made.state()["answers"], made.channel.level, made.channel.released) == (0, 0.5, 0)
    made.close()


def test_a_policy_that_fails_in_the_middle_of_a_batch_has_decided_nothing(tmp_path):
    def answer(channel, accuracy):
        return Answer(True, accuracy, bits=5.0 / (accuracy != 0.8))

    made = meter(tmp_path, OfTheTest(answer))
    with pytest.raises(ZeroDivisionError):
        made.answer_all(
            [MeteredSubmission("a", "one", "ann", 0.7), MeteredSubmission("b", "one", "ann", 0.8)]
        )
    assert (made.channel.level, made.channel.bits, made.state()["answers"]) == (0.5, 0, 0)
    assert one(made, "a", 0.7).bits == 5
    made.close()


def test_nobody_sees_a_level_that_was_never_committed(tmp_path, monkeypatch):
    """A thread that asks after the store has rolled an answer back and before the meter has
    forgotten it."""
    made, looking = (
        meter(tmp_path, OfTheTest(lambda channel, accuracy: Answer(True, accuracy, bits=7.0))),
        [],
    )
    with ThreadPoolExecutor(1) as pool:

        def forget_late(forget=made._forget):
            looking.append(pool.submit(made.now, "bob"))
            wait(looking, timeout=0.5)
            forget()

        monkeypatch.setattr(made, "_forget", forget_late)
        with (
            pytest.raises(ArithmeticError),
            made.answers([MeteredSubmission("a", "one", "ann", 0.9)]) as reported,
        ):
            assert reported[0].level == 0.9
            raise ArithmeticError
        seen = looking[0].result()
    assert (seen.level, seen.bits) == (0.5, 0.0)
    made.close()


OUTLOOKS = [
    Outlook(0.5, float("inf"), "open", None),
    Outlook(float("nan"), 1.0, "open", None),
    Outlook(0.5, -1.0, "open", None),
    Outlook(0.5, 1.0, "open", None, slack_bits=float("nan")),
    Outlook(0.5, 1.0, "ajar", None),  # type: ignore[arg-type]
    Outlook("half", 1.0, "open", None),  # type: ignore[arg-type]
    None,
]


class Foreseeing(OfTheTest):
    """Whose every outlook is the given one."""

    def __init__(self, outlook):
        super().__init__(lambda channel, accuracy: Answer(True, accuracy, bits=7.0))
        self.given = outlook

    def outlook(self, channel, who):
        return self.given


@pytest.mark.parametrize("outlook", OUTLOOKS)
def test_a_receipt_that_cannot_be_made_is_not_charged(bed, tmp_path, answers, monkeypatch, outlook):
    """An infinite price cannot be written as JSON, say: the answer never leaves, and the label set
    is as it was."""
    monkeypatch.setitem(POLICIES._things, "strange", Foreseeing(outlook))
    with Evaluator(bed.folder, tmp_path / "campaign", policy="strange") as evaluator:
        for _ in range(2):
            with pytest.raises(Misconfigured, match="The policy's outlook"):
                submit(evaluator, answers, 0.9)
            assert (evaluator.meter.channel.bits, evaluator.meter.channel.passed) == (0, 0)
        assert evaluator.ledger.entries("submission") == []
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        assert evaluator.meter.state()["answers"] == 0


def test_an_outlook_of_numpys_types_is_reported_as_plain_ones(bed, tmp_path, answers, monkeypatch):
    given = Outlook(np.float32(0.5), np.float64(1), "open", np.intp(9), np.float32(2))
    monkeypatch.setitem(POLICIES._things, "numpys", Foreseeing(given))
    with Evaluator(bed.folder, tmp_path / "campaign", policy="numpys") as evaluator:
        receipt = submit(evaluator, answers, 0.9)
        assert (
            receipt.next_step_accuracy,
            receipt.price_of_next_yes_bits,
            receipt.released.cap_bits,
        ) == (0.5, 1.0, 9.0)


@pytest.mark.parametrize(
    "answer", [None, 0.9, Answer("yes", "high"), Answer(True, np.array([0.5, 0.6]))]
)
def test_an_answer_that_is_none_is_the_policys_fault_in_words(tmp_path, answer):
    made = meter(tmp_path, OfTheTest(lambda channel, accuracy: answer))
    with pytest.raises(Misconfigured, match="answer cannot be released.*Fix the policy"):
        one(made)
    assert made.state()["answers"] == 0
    made.close()


def test_one_submission_that_fails_spoils_no_other_of_its_batch(
    bed, tmp_path, answers, monkeypatch
):
    """Five wait for one commit; the policy cannot answer the third. It is charged nothing, and the
    others have receipts."""

    def answer(channel, accuracy):
        return Answer(True, accuracy, bits=5.0 / (round(accuracy, 1) != 0.7))

    monkeypatch.setitem(POLICIES._things, "picky", OfTheTest(answer))
    with (
        Evaluator(bed.folder, tmp_path / "campaign", policy="picky") as evaluator,
        ThreadPoolExecutor(5) as pool,
    ):
        evaluator._group._turn.acquire()  # so that all wait
        sent = [
            pool.submit(submit, evaluator, answers, 0.5 + number / 10, number)
            for number in range(5)
        ]
        while evaluator._group.waiting < len(sent):
            time.sleep(0.001)
        evaluator._group._turn.release()
        failed = [number for number, future in enumerate(sent) if future.exception()]
        assert failed == [2]
        assert isinstance(sent[2].exception(), ZeroDivisionError)
        assert evaluator.ledger.count("submission") == evaluator.meter.state()["answers"] == 4
        assert evaluator.meter.channel.bits == 20
    files = Files(tmp_path / "campaign", bed.folder)
    assert audit(files, load_key(files.key)).faults == ()


def test_a_scale_without_a_gap_costs_nobody_a_bit(bed, tmp_path, answers):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        evaluator.pgr_scale = type(evaluator.pgr_scale)(0.7, 0.7, 0.5)
        with pytest.raises(Misconfigured, match="no gap"):
            submit(evaluator, answers, 0.9)
        assert evaluator.meter.state()["answers"] == 0


# --- between the meter and the ledger -------------------------------------------------------------


def test_answer_unwritten_by_the_ledger_is_delivered_later_uncharged(bed, tmp_path, answers):
    """The meter's commit comes first, so that nothing is reported that is not charged. What is
    charged and untold waits: whoever sends the same answers again gets the same answer."""
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        with full(evaluator), pytest.raises(Transient, match="Not recorded"):
            submit(evaluator, answers, 0.95)
        charged = evaluator.meter.state()
        assert charged["answers"] == 1
        assert evaluator.ledger.entries("submission") == []
        receipt = submit(evaluator, answers, 0.95)
        assert (receipt.id, receipt.improved, receipt.repeated) == ("r-000001", True, True)
        assert evaluator.meter.state() == charged
        assert submit(evaluator, answers, 0.2, 1).id == "r-000002"
    files = Files(tmp_path / "campaign", bed.folder)
    assert audit(files, load_key(files.key)).faults == ()


def test_undelivered_answer_is_recorded_as_undelivered(bed, tmp_path, answers):
    with (
        Evaluator(bed.folder, tmp_path / "campaign") as evaluator,
        full(evaluator),
        pytest.raises(Transient),
    ):
        submit(evaluator, answers, 0.95)
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        (noted,) = [
            e.body["untold"] for e in evaluator.ledger.entries("campaign") if e.body.get("untold")
        ]
        assert noted == sorted(evaluator.meter.answers_to("campaign"))
        level = evaluator.meter.channel.level
        receipt = submit(evaluator, answers, 0.95)
        assert (receipt.improved, receipt.repeated, receipt.level_accuracy) == (
            True,
            True,
            round(level, 6),
        )
    files = Files(tmp_path / "campaign", bed.folder)
    assert audit(files, load_key(files.key)).faults == ()


def test_a_detector_that_fails_leaves_the_numbers_of_receipts_right(
    evaluator, answers, monkeypatch
):
    """It fails after both answers of the batch were recorded: both are remembered, and the next
    submission is the third."""
    batch = []

    def see(submitted):
        raise ArithmeticError(submitted.receipt)

    with monkeypatch.context() as patch:
        patch.setattr(evaluator._group, "do", batch.append)
        for number, right in enumerate((0.9, 0.4)):
            submit(evaluator, answers, right, number)
        patch.setattr(evaluator.detection.watch, "see", see)
        evaluator._answer_all(batch)
        with pytest.raises(ArithmeticError):
            evaluator.detection.look()
    again = [submit(evaluator, answers, right, number) for number, right in enumerate((0.9, 0.4))]
    assert [(r.id, r.repeated) for r in again] == [("r-000001", True), ("r-000002", True)]
    assert submit(evaluator, answers, 0.2, 2).id == "r-000003"
