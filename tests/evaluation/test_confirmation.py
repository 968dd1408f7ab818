"""Grading, counting, charging and signing of confirmations, with made-up answers; real runs are in tests/fleet."""

import json
import sqlite3
import stat

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.intervals import holm
from aarlab.core.records import Family, Measure
from aarlab.evaluation.confirmation import Confirmations
from aarlab.evaluation.confirmation_record import ConfirmationRecord, record_path, told_accuracy, told_bits, told_step
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import told_board
from aarlab.evaluation.signed import Signer, canonical, verify_record
from aarlab.evaluation.tries import Tries
from aarlab.evaluation.verdict import VERDICTS


def rows(labels, seeds, right, seed=0):
    """Answers on every seed, about a share `right` of them correct: the same items whatever the seed, but for a few."""
    rng = np.random.default_rng(seed)
    truth = np.array([labels[i] for i in sorted(labels)]) == 1
    known = rng.random(len(truth)) < right
    return {str(s): "".join(map(str, np.where(known ^ (rng.random(len(truth)) < 0.04), truth, ~truth) * 1)) for s in seeds}


def submit(evaluator, number, right):
    code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
    given = rows(evaluator.answers["feedback"], code["seeds"], right, number)
    evaluator.submit("ann", code["snapshot"], given, Family.OTHER)
    return code["snapshot"]


def outcomes(evaluator, begun, *, right, naive=0.7, number=0):
    """Runs of a snapshot that keeps what it promised."""
    made = {}
    for t in begun["targets"]:
        labels = evaluator.answers[t["split"]]
        made[t["name"]] = {
            "method": rows(labels, t["seeds"], right, number),
            "naive": rows(labels, t["seeds"], naive, 99),
        }
    return made


@pytest.fixture
def gate(evaluator):
    return Confirmations(evaluator)


def test_seeds_are_fresh_and_the_same_when_asked_again(evaluator, gate):
    submit(evaluator, 0, 0.8)
    best = submit(evaluator, 1, 0.95)
    (first,), (again,) = gate.begin(1), gate.begin(1)
    assert first == again
    assert first["snapshot"] == best
    seeds = {t["name"]: t["seeds"] for t in first["targets"]}
    assert set(seeds) == {"feedback", "final"}
    assert len({*seeds["feedback"], *seeds["final"], *evaluator.seeds("feedback", best)}) == 15


def test_those_begun_together_share_seeds_so_that_naive_is_run_once(evaluator, gate):
    for number in range(3):
        submit(evaluator, number, 0.8)
    begun = gate.begin(3)
    assert len({tuple(t["seeds"]) for one in begun for t in one["targets"] if t["name"] == "final"}) == 1
    assert len({one["id"] for one in begun}) == 3


def test_confirmed_once_signed_and_settled(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))
    assert body["verdict"] == "confirmed"
    assert gate.begin(1) == []
    with pytest.raises(InvalidSubmission, match="exactly"):
        gate.finish(begun["id"], {})
    path = record_path(gate.folder, snapshot)
    record = verify_record(path, gate.folder / "key.pub")
    assert record == evaluator.ledger.entries("confirmation")[0].body["record"]
    assert record["claim"]["ledger_seq"] == evaluator.ledger.entries("submission")[0].seq
    assert record["ledger_head"] == evaluator.ledger.entries()[-2].hash
    assert record["reproduction"]["reproduced"]
    assert {t["name"] for t in record["targets"]} == {"feedback", "final"}
    evaluator.ledger.verify()
    final = next(t for t in record["targets"] if t["name"] == "final")
    stored = evaluator.predictions(final["predictions"]["method"])
    right = np.mean([[row[i] == label for i, label in evaluator.answers["final"].items()] for row in stored.values()])
    assert final["accuracy"]["estimate"] == pytest.approx(right)


def test_a_record_that_was_touched_is_not_believed(evaluator, gate, tmp_path):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))
    path = record_path(gate.folder, snapshot)
    signed = json.loads(path.read_text())
    signed["record"]["p_adjusted"] /= 2
    path.write_text(json.dumps(signed))
    with pytest.raises(Misconfigured, match="not what was signed"):
        verify_record(path, gate.folder / "key.pub")
    other = Signer(tmp_path / "other.key", tmp_path / "other.pub")
    path.write_text(json.dumps(other.sign(signed["record"])))  # a forger's own key inside the file does not help
    with pytest.raises(Misconfigured):
        verify_record(path, gate.folder / "key.pub")
    assert verify_record(path, other.public)["p_adjusted"] == signed["record"]["p_adjusted"]
    with pytest.raises(Misconfigured):
        verify_record(tmp_path / "missing.json", other.public)


def test_the_key_is_made_once_and_is_the_operators(evaluator, gate):
    key = evaluator.folder / "confirmation.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(gate.folder.stat().st_mode) == 0o700  # records hold exact figures
    before = key.read_bytes()
    Confirmations(evaluator)
    assert key.read_bytes() == before
    key.write_bytes(b"short")
    with pytest.raises(Misconfigured, match="damaged"):
        Confirmations(evaluator)
    assert canonical({"b": 1, "a": [1.5]}) == b'{"a":[1.5],"b":1}'


def test_naive_itself_is_not_distinguishable(evaluator, gate):
    submit(evaluator, 99, 0.7)
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.7, naive=0.7, number=99))
    assert body["verdict"] == "not distinguishable from tuned naive"


def test_answers_far_better_than_the_code_are_not_reproducible(evaluator, gate):
    submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))
    assert body["verdict"] == "not reproducible"
    assert body["record"]["p_adjusted"] < 0.05  # better than naive it is, but not as it was claimed


@pytest.mark.parametrize("how", ["fail", "error", "no answers", "letters"])
def test_code_that_fails_is_not_reproducible_and_settled(evaluator, gate, how):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    given = outcomes(evaluator, begun, right=0.9, number=1)
    if how == "fail":
        body = gate.fail(begun["id"], "it raised")
    else:
        seeds = given["final"]["method"]
        given["final"] |= {"method": {} if how == "no answers" else {s: "x" * len(a) for s, a in seeds.items()}}
        body = gate.finish(begun["id"], given if how != "error" else given | {"final": {"error": "it raised"}})
    assert body["verdict"] == "not reproducible"
    assert body["told_accuracy"] is None
    assert gate.begin(1) == []


def test_holm_counts_every_snapshot_that_was_ever_tried_on_this_final(evaluator, gate, bed, tmp_path):
    for number in (1, 2):
        submit(evaluator, number, 0.9)
    begun = gate.begin(2)
    one = gate.finish(begun[0]["id"], outcomes(evaluator, begun[0], right=0.9, number=1))["record"]
    assert one["m"] == 2  # the other was begun: its p-value counts as 1
    assert one["p_adjusted"] == pytest.approx(min(1.0, holm([one["p"], 1.0])[0]))
    with Evaluator(bed.folder, tmp_path / "another") as other:
        submit(other, 3, 0.9)
        elsewhere = Confirmations(other)
        (third,) = elsewhere.begin(1)
        record = elsewhere.finish(third["id"], outcomes(other, third, right=0.9, number=3))["record"]
        assert record["m"] == 3
        known = holm([one["p"], 1.0, record["p"]])
        assert record["p_adjusted"] == pytest.approx(known[2])
        with pytest.raises(InvalidSubmission, match="No confirmation"):
            elsewhere.finish(begun[1]["id"], {})  # another campaign's
    now, m_now = gate.tries.adjusted(gate.tries.find("campaign", one["id"]), one["p"])
    assert (now, m_now) == (pytest.approx(known[0]), 3)


def test_the_label_sets_budget_ends(evaluator):
    gate = Confirmations(evaluator, cap=2)
    for number in (1, 2, 3):
        submit(evaluator, number, 0.8 + number / 20)
    assert len(gate.begin(2)) == 2
    with pytest.raises(Misconfigured, match="another data seed"):
        gate.begin(3)
    assert len(gate.begin(2)) == 2  # those that were begun go on
    assert gate.tries.spent()[0] == 2


def test_what_is_told_is_charged_before_it_is_told(evaluator, gate, bed):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    assert gate.tries.spent() == (1, 0, 0.0)
    record = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))["record"]
    assert Tries(bed.private / "confirmations" / "final.sqlite").spent() == (1, 1, record["bits"])
    items = len(evaluator.answers["final"])
    made = ConfirmationRecord.model_validate_json(json.dumps(record))
    shown = {told_accuracy(with_accuracy(made, k / items / 5), items) for k in range(5 * items + 1)}
    assert 2 ** told_bits(items) == pytest.approx(len(VERDICTS) * (len(shown) + 1) * 2)  # and whether it is student-free
    assert told_step(items) == pytest.approx(2 * 0.5 / items**0.5)


def with_accuracy(record, value):
    measure = Measure(estimate=value, lower=value, upper=value, n=1, resampled="made up")
    targets = tuple(t.model_copy(update={"accuracy": measure}) if t.kind == "final" else t for t in record.targets)
    return record.model_copy(update={"targets": targets})


def test_tries_are_append_only_and_a_store_that_cannot_be_written_is_no_result(gate, tmp_path):
    tries = Tries(tmp_path / "x" / "final.sqlite")
    tries.begin("c", "s", "n")
    assert tries.begin("c", "s", "another").nonce == "n"
    connection = sqlite3.connect(tmp_path / "x" / "final.sqlite", isolation_level=None)
    for statement in ("DELETE FROM tries", "UPDATE tries SET nonce = 'z'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.execute("DROP TABLE told")
    connection.close()
    with pytest.raises(Transient):
        tries.spent()


def test_the_board_shows_confirmed_first_and_refuted_last(evaluator, gate):
    steps = [(1, 0.85), (2, 0.92), (3, 0.99)]
    for number, right in steps:
        submit(evaluator, number, right)
    told = told_board(evaluator, 0)
    assert len(told) == 3
    assert {row["verdict"] for row in told} == {None}
    begun = gate.begin(2)  # the best two
    gate.finish(begun[0]["id"], outcomes(evaluator, begun[0], right=0.7, number=50))
    gate.finish(begun[1]["id"], outcomes(evaluator, begun[1], right=0.92, number=2))
    board = told_board(evaluator, 0)
    assert [row["verdict"] for row in board] == ["confirmed", None, "not reproducible"]
    assert [row["provisional"] for row in board] == [False, True, True]
    step = told_step(len(evaluator.answers["final"]))
    assert board[0]["final_accuracy"] == pytest.approx(round(board[0]["final_accuracy"] / step) * step, abs=1e-4)
    assert "accuracy" not in json.dumps(board[1]).replace("final_accuracy", "")


def test_a_snapshot_is_named_by_the_beginning_of_its_hash(evaluator, gate):
    low, best = submit(evaluator, 1, 0.7), submit(evaluator, 2, 0.9)
    assert best != low
    assert gate.begin(1, low[:12])[0]["snapshot"] == low
    for wrong in ("", "zz"):
        with pytest.raises(InvalidSubmission, match="begin with"):
            gate.begin(1, wrong)
