"""Grading, counting, charging and signing of confirmations, with made-up answers; real runs are in tests/fleet."""

import json
import shutil
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
from aarlab.evaluation.tries import Tries, tries_of
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


# --- a hostile reader -------------------------------------------------------------------------------------------------


def test_who_hands_in_answers_under_anothers_code_neither_claims_with_it_nor_spoils_it(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.86)
    truth = evaluator.answers["feedback"]
    seeds = evaluator.seeds("feedback", snapshot)
    receipt = evaluator.submit("bob", snapshot, rows(truth, seeds, 0.99, 1), Family.OTHER)
    assert receipt.improved
    assert gate.claims()[snapshot].who == "ann"
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.86, number=1))
    assert body["verdict"] == "confirmed"  # by what ann claimed, not by what bob did
    assert body["record"]["claim"]["researcher"] == "ann"
    verdicts = {row["researcher"]: row["verdict"] for row in told_board(evaluator, 0)}
    assert verdicts == {"ann": "confirmed", "bob": None}


def test_a_snapshot_that_its_author_did_not_submit_is_nobodys_claim(evaluator, gate):
    code = evaluator.commit_code("ann", {"method.py": "# unused"}, Family.OTHER)
    evaluator.submit("bob", code["snapshot"], rows(evaluator.answers["feedback"], code["seeds"], 0.9), Family.OTHER)
    assert gate.claims() == {}
    assert gate.begin(1) == []
    with pytest.raises(InvalidSubmission, match="begin with"):
        gate.begin(1, code["snapshot"])


def test_a_campaign_that_is_run_again_under_its_name_cannot_draw_other_seeds(bed, tmp_path):
    drawn = []
    for home in ("one", "two"):  # the folder was deleted, and with it the campaign's secret
        with Evaluator(bed.folder, tmp_path / home / "campaign") as evaluator:
            submit(evaluator, 1, 0.9)
            gate = Confirmations(evaluator)
            (begun,) = gate.begin(1)
            drawn.append(begun["targets"])
            assert gate.tries.spent()[0] == 1
    assert drawn[0] == drawn[1]


def test_a_lost_record_is_no_second_chance(gate):
    tried = gate.tries.begin("campaign", "s", "n")
    gate.tries.told(tried, p=0.4, verdict="not distinguishable from tuned naive", bits=1.0)
    assert gate.tries.adjusted(tried, 0.001) == (0.4, 1)
    assert gate.tries.adjusted(tried, 0.6) == (0.6, 1)


def test_which_verdicts_researchers_see_follows_from_what_they_were_told(evaluator, gate):
    """The untold one with the best exact score is confirmed too, and not shown."""
    older, holder = submit(evaluator, 1, 0.86), submit(evaluator, 2, 0.93)
    shares = np.linspace(0.92, 0.86, 4)
    untold = [submit(evaluator, 3 + n, share) for n, share in enumerate(shares)]
    exact = {e.body["snapshot"]: e.body["exact_accuracy"] for e in evaluator.ledger.entries("submission")}
    assert {row["snapshot"] for row in told_board(evaluator, 0)} == {older, holder}
    ranked = sorted(untold, key=lambda s: -exact[s])
    assert gate.leaders(3) == [holder, *ranked[:2]]
    assert gate.leaders(9) == [holder, *ranked, older]


@pytest.mark.parametrize("wrong", [("final", "final", "else"), ("x", "feedback", "else"), ("fresh", "fresh", "own")])
def test_a_targets_file_cannot_stand_in_for_final(evaluator, gate, wrong, tmp_path):
    name, kind, where = wrong
    folder = str(evaluator.problem if where == "own" else tmp_path)
    (evaluator.folder / "targets.json").write_text(json.dumps([{"name": name, "kind": kind, "folder": folder}]))
    submit(evaluator, 1, 0.9)
    with pytest.raises(Misconfigured, match=r"targets\.json"):
        gate.begin(1)


def test_an_unknown_kind_of_target_is_the_operators_mistake(evaluator, gate):
    (evaluator.folder / "targets.json").write_text('[{"name": "x", "kind": "nicer", "folder": "/"}]')
    with pytest.raises(Misconfigured, match="kind"):
        gate.targets()


def test_a_fresh_draw_is_charged_for_the_verdict_and_counts_no_try(evaluator, gate, tmp_path):
    fresh = tmp_path / "fresh"
    shutil.copytree(evaluator.problem, fresh, ignore=shutil.ignore_patterns("meter", "confirmations"))
    row = {"name": "fresh", "kind": "fresh", "folder": str(fresh)}
    (evaluator.folder / "targets.json").write_text(json.dumps([row]))
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    record = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))["record"]
    assert record["reasons"][1].startswith("a fresh draw agrees")
    assert tries_of(fresh).spent() == (0, 1, pytest.approx(np.log2(3)))
    other = tries_of(fresh).begin("another campaign", "its snapshot", "n")
    assert tries_of(fresh).adjusted(other, 0.01) == (0.01, 1)


def test_flags_carry_evidence_and_are_raised_once(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.7, number=1))
    flags = {e.body["detector"]: e.body for e in evaluator.ledger.entries("flag") if e.body["uses_labels"]}
    assert set(flags) == {"not reproducible", "feedback above final"} == set(body["record"]["flags"])
    claim = evaluator.ledger.entries("submission")[0].body["receipt"]["id"]
    assert all(f["submitter"] == "ann" and f["receipts"] == [claim] and f["episode"] == snapshot for f in flags.values())
    assert "on feedback, the same code" in flags["feedback above final"]["evidence"]
    tried = gate.tries.find("campaign", begun["id"])
    gate._keep(gate.latest(tried.snapshot), [])  # a later record of the same says it again, the ledger does not
    assert len(evaluator.ledger.entries("flag")) == 2
    assert len(evaluator.ledger.entries("confirmation")) == 2


def test_an_honest_claim_raises_no_flag(evaluator, gate):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    body = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))
    assert body["record"]["flags"] == [] == evaluator.ledger.entries("flag")
    assert body["record"]["gap"]["p"] > body["record"]["gap"]["alpha"]


def test_records_of_the_first_schema_are_still_read(evaluator, gate):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    record = gate.finish(begun["id"], outcomes(evaluator, begun, right=0.9, number=1))["record"]
    assert record["schema_version"] == 2
    for name in ("gap", "flags"):
        del record[name]
    for target in record["targets"]:
        for name in ("student", "split", "voted", "remainder"):
            del target[name]
    old = ConfirmationRecord.model_validate_json(json.dumps(record | {"schema_version": 1}))
    assert (old.schema_version, old.flags, old.student_free, old.gap) == (1, (), False, None)
    assert old.of("final").accuracy.estimate > 0.8


def test_without_final_nothing_can_be_confirmed(bed, tmp_path):
    path = bed.private / "answers.json"
    answers = json.loads(path.read_text())
    path.unlink()  # a hard link to the session's
    path.write_text(json.dumps({"feedback": answers["feedback"]}))
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        submit(evaluator, 1, 0.9)
        with pytest.raises(Misconfigured, match="nothing to confirm on"):
            Confirmations(evaluator).begin(1)
