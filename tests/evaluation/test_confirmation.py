"""Grading, counting, charging and signing of confirmations, with made-up answers; real runs are in
tests/fleet."""

import json
import math
import shutil
import sqlite3
import stat
from dataclasses import replace

import numpy as np
import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient
from aarlab.core.intervals import holm
from aarlab.core.layout import PublicFolder, TestbedFolder
from aarlab.core.records import VERDICTS, Family, Measure
from aarlab.evaluation.confirmation.confirmation_record import (
    ConfirmationRecord,
    record_path,
    reported_accuracy,
    reported_bits,
    reported_step,
)
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.leaders import claims, leaders
from aarlab.evaluation.confirmation.run_order import (
    CodeFailed,
    NotRun,
    NoVerdict,
    RunAnswers,
    Target,
)
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.signed import Signer, canonical, verify_record
from aarlab.evaluation.ledger.views import flags_in
from aarlab.evaluation.scoring.packed import unpack
from aarlab.evaluation.scoring.tries import Tries, tries_of
from tests.evaluation.board_page import reported_board


def rows(labels, seeds, right, seed=0):
    """Answers on every seed, about a share `right` of them correct: the same items whatever the
    seed, but for a few."""
    rng = np.random.default_rng(seed)
    truth = np.array([labels[i] for i in sorted(labels)]) == 1
    known = rng.random(len(truth)) < right
    made = {str(s): np.where(known ^ (rng.random(len(truth)) < 0.04), truth, ~truth) for s in seeds}
    return {s: dict(zip(sorted(labels), map(int, row), strict=True)) for s, row in made.items()}


def submit(evaluator, number, right):
    code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
    given = rows(evaluator.answers["feedback"], code["seeds"], right, number)
    evaluator.submit("ann", code["snapshot"], given, Family.OTHER)
    return code["snapshot"]


def outcomes(evaluator, begun, *, right, naive=0.7, number=0):
    """Runs of a snapshot that keeps what it promised."""
    made = {}
    for run in begun.runs:
        labels = evaluator.answers[run.target.split]
        made[run.target.name] = RunAnswers(
            rows(labels, run.seeds, right, number), rows(labels, run.seeds, naive, 99)
        )
    return made


RAISED = CodeFailed("ended with an error", "it raised")


@pytest.fixture
def gate(evaluator):
    return Confirmations(evaluator)


def own(evaluator, snapshot, *, right, number=1, runs=2):
    """Our runs of a snapshot on the seeds that were issued: its own answers, which depend on the
    seeds alone."""
    seeds = evaluator.seeds("feedback", snapshot)
    return [
        RunAnswers(rows(evaluator.answers["feedback"], seeds, right, number)) for _ in range(runs)
    ]


def test_seeds_are_fresh_and_the_same_when_asked_again(evaluator, gate):
    submit(evaluator, 0, 0.8)
    best = submit(evaluator, 1, 0.95)
    (first,), (again,) = gate.begin(1), gate.begin(1)
    assert first == again
    assert first.snapshot == best
    seeds = {run.target.name: run.seeds for run in first.runs}
    assert set(seeds) == {"feedback", "final"}
    assert {name: len(some) for name, some in seeds.items()} == {"feedback": 5, "final": 15}
    assert len({*seeds["feedback"], *seeds["final"], *evaluator.seeds("feedback", best)}) == 25


def test_where_a_seed_trains_a_whole_model_it_is_five(evaluator, gate):
    submit(evaluator, 1, 0.9)
    PublicFolder(TestbedFolder(evaluator.problem).public).strong.write_text('{"preset": "cpu"}')
    assert [len(run.seeds) for run in gate.begin(1)[0].runs] == [5, 5]


def test_those_begun_together_share_seeds_so_that_naive_is_run_once(evaluator, gate):
    for number in range(3):
        submit(evaluator, number, 0.8)
    begun = gate.begin(3)
    assert len({run.seeds for one in begun for run in one.runs if run.target.name == "final"}) == 1
    assert len({one.token for one in begun}) == 3


def test_confirmed_once_signed_and_settled(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    body = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    assert body.verdict == "confirmed"
    assert gate.begin(1) == []
    with pytest.raises(InvalidSubmission, match="exactly"):
        gate.finish(begun.token, {})
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
    right = np.mean(
        [
            [row[i] == label for i, label in evaluator.answers["final"].items()]
            for row in stored.values()
        ]
    )
    assert final["accuracy"]["estimate"] == pytest.approx(right)


def bundle(evaluator, code, right, number):
    given = rows(evaluator.answers["feedback"], code["seeds"], right, number)
    return evaluator.submit("ann", code["snapshot"], given, Family.OTHER)


def test_claim_is_the_bundle_whose_score_was_disclosed(evaluator, gate):
    """The best bundle by its exact score was the claim once; a verdict on it is reported, so that
    this read the score at 0 bits."""
    code = evaluator.commit_code("ann", {"method.py": "# several"}, Family.OTHER)
    first = bundle(evaluator, code, 0.4, 1)
    better = bundle(evaluator, code, 0.6, 2)
    exact = [e.body["exact_accuracy"] for e in evaluator.ledger.entries("submission")]
    assert not first.improved
    assert not better.improved
    assert exact[1] > exact[0]
    assert claims(evaluator.ledger)[code["snapshot"]].body["receipt"]["id"] == first.id
    reported = [
        bundle(evaluator, code, right, number) for number, right in ((3, 0.9), (4, 0.98), (5, 0.8))
    ]
    assert [t.improved for t in reported] == [True, True, False]
    assert claims(evaluator.ledger)[code["snapshot"]].body["receipt"]["id"] == reported[1].id


def test_disclosed_verdicts_count_in_the_feedback_bound(evaluator, gate, bed, tmp_path):
    submit(evaluator, 1, 0.9)
    before = evaluator.meter.now("ann")
    assert before.verdict_bits == 0
    (begun,) = gate.begin(1)
    gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    after = evaluator.meter.now("ann")
    assert after.verdict_bits == pytest.approx(math.log2(2 * len(VERDICTS)))
    assert (after.bits, after.level) == (before.bits, before.level)
    more = (after.bound**2 - before.bound**2) * 2 * len(evaluator.ids) / math.log(2)
    assert more == pytest.approx(after.verdict_bits)
    assert after.certified < before.certified
    reported = submit(evaluator, 2, 0.9)
    receipt = next(
        e.body["receipt"]
        for e in evaluator.ledger.entries("submission")
        if e.body["snapshot"] == reported
    )
    assert receipt["released"]["verdict_bits"] == round(after.verdict_bits, 2)
    with Evaluator(bed.folder, tmp_path / "another") as other:
        assert other.meter.now("bob").verdict_bits == after.verdict_bits


def test_verdict_on_a_fresh_draw_is_not_charged_to_its_feedback(evaluator, gate):
    tried = Tries(evaluator.folder / "fresh.sqlite")
    tried.note_answer(gate.tries.begin("c", "s" * 64, "n"), p=None, verdict="confirmed", bits=1.6)
    assert tried.spent()[1] == 1
    assert tried.verdict_bits_of_feedback() == 0


def test_a_record_that_was_touched_is_not_believed(evaluator, gate, tmp_path):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    path = record_path(gate.folder, snapshot)
    signed = json.loads(path.read_text())
    signed["record"]["p_adjusted"] /= 2
    path.write_text(json.dumps(signed))
    with pytest.raises(Misconfigured, match="not what was signed"):
        verify_record(path, gate.folder / "key.pub")
    other = Signer(tmp_path / "other.key", tmp_path / "other.pub")
    # a forger's own key inside the file does not help
    path.write_text(json.dumps(other.sign(signed["record"])))
    with pytest.raises(Misconfigured, match=r"\(InvalidSignature\)"):
        verify_record(path, gate.folder / "key.pub")
    assert verify_record(path, other.public)["p_adjusted"] == signed["record"]["p_adjusted"]
    with pytest.raises(Misconfigured, match="missing.json"):
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
    body = gate.finish(begun.token, outcomes(evaluator, begun, right=0.7, naive=0.7, number=99))
    assert body.verdict == "not distinguishable from tuned naive"


def test_answers_far_better_than_the_code_are_not_reproducible(evaluator, gate):
    submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    found = outcomes(evaluator, begun, right=0.9, number=1)
    assert gate.issued_seeds(begun.token, found) == tuple(
        evaluator.seeds("feedback", begun.snapshot)
    )
    body = gate.finish(begun.token, found, own(evaluator, begun.snapshot, right=0.9))
    assert body.verdict == "not reproducible"
    assert body.p_adjusted < 0.05  # better than naive it is, but not as it was claimed
    issued = body.issued
    assert (issued.found, issued.compared, issued.equal_among_runs) == ("different", 1500, 1.0)
    assert issued.equal < 0.95
    assert f"{issued.equal:.2%} of 1,500 answers" in " ".join(body.reasons)
    stored = [unpack(evaluator.ledger.blob(name)).answers_SM for name in issued.predictions]
    claimed = unpack(
        evaluator.ledger.blob(evaluator.ledger.entries("submission")[0].body["predictions"])
    ).answers_SM
    # whoever doubts the accusation can compare again
    assert (stored[0] == claimed).mean() == issued.equal


def test_nobody_is_accused_by_a_test_on_other_seeds(evaluator, gate):
    """An honest claim whose issued seeds were lucky: before, signed "not reproducible" with a
    flag."""
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    unlucky = outcomes(evaluator, begun, right=0.93, number=1)
    with pytest.raises(InvalidSubmission, match="doubted"):
        gate.finish(begun.token, unlucky)
    assert evaluator.ledger.entries("confirmation") == []
    body = gate.finish(begun.token, unlucky, own(evaluator, snapshot, right=0.99))
    assert body.verdict == "confirmed"  # by what it scores on final, not by what was claimed
    assert not body.reproduction.reproduced
    assert body.issued.found == "equal"
    assert body.issued.equal == 1.0
    assert "luck of seeds" in " ".join(body.reasons)
    assert "not reproducible" not in body.flags


def test_a_lucky_claim_that_is_no_better_than_naive_is_not_distinguishable(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    body = gate.finish(
        begun.token,
        outcomes(evaluator, begun, right=0.7, number=1),
        own(evaluator, snapshot, right=0.99),
    )
    assert body.verdict == "not distinguishable from tuned naive"
    assert "luck of seeds" in " ".join(body.reasons)


def test_code_that_ignores_its_seed_is_not_accused_and_not_confirmed(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    truth, seeds = evaluator.answers["feedback"], evaluator.seeds("feedback", begun.snapshot)
    noisy = [rows(truth, [s + n for s in seeds], 0.9, n) for n in (5, 6)]
    renamed = [RunAnswers(dict(zip(map(str, seeds), one.values(), strict=True))) for one in noisy]
    body = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1), renamed)
    assert body.verdict == "not distinguishable from tuned naive"
    assert body.issued.found == "undecided"
    assert "not reproducible" not in body.flags
    assert snapshot == begun.snapshot


def unrun(evaluator, begun, names, **how):
    return outcomes(evaluator, begun, **how) | dict.fromkeys(
        names, NotRun("it was ended by signal 9")
    )


@pytest.mark.parametrize("names", [("final",), ("feedback",), ("feedback", "final")])
def test_run_killed_by_the_machine_is_uncharged_and_resumed_later(evaluator, gate, names):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    given = unrun(evaluator, begun, names, right=0.9, number=1)
    assert gate.issued_seeds(begun.token, given) is None
    body = gate.finish(begun.token, given)
    assert body == NoVerdict(
        begun.token, snapshot, "ann", dict.fromkeys(names, "it was ended by signal 9")
    )
    assert evaluator.ledger.entries("confirmation") == evaluator.ledger.entries("flag") == []
    assert gate.tries.spent() == (1, 0, 0.0)
    noted = evaluator.ledger.entries("campaign")[-1].body
    assert (noted["event"], noted["snapshot"]) == ("could not be run", snapshot)
    assert reported_board(evaluator, 0)[0]["verdict"] is None
    assert reported_board(evaluator, 0)[0]["provisional"]
    assert gate.begin(1) == [begun]  # the same seeds: nothing is gained by being ended
    assert gate.tries.spent()[0] == 1
    assert (
        gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1)).verdict
        == "confirmed"
    )
    evaluator.ledger.verify()


def test_where_the_issued_seeds_could_not_be_run_nobody_is_accused(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    given = outcomes(evaluator, begun, right=0.9, number=1)
    one = own(evaluator, snapshot, right=0.9)[0]
    body = gate.finish(begun.token, given, [one, NotRun("it was ended by signal 9")])
    assert body.verdict is None
    assert (
        gate.finish(begun.token, given, own(evaluator, snapshot, right=0.9)).verdict
        == "not reproducible"
    )


def test_secondary_target_that_could_not_run_stays_missing(evaluator, gate):
    gate = Confirmations(evaluator, [Target("elsewhere", "transfer", evaluator.problem)])
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    first = gate.finish(begun.token, unrun(evaluator, begun, ["elsewhere"], right=0.9, number=1))
    assert first.verdict == "confirmed"
    assert [e.body["event"] for e in evaluator.ledger.entries("campaign")][-1] == "could not be run"
    (again,) = gate.begin(1)
    assert [run.target.name for run in again.runs] == ["elsewhere"]
    reported = gate.tries.spent()
    assert (
        gate.finish(again.token, unrun(evaluator, again, ["elsewhere"], right=0.9)).verdict is None
    )
    assert gate.tries.spent() == reported
    second = gate.finish(again.token, outcomes(evaluator, again, right=0.9, number=1))
    assert [t.name for t in second.targets] == ["feedback", "final", "elsewhere"]


@pytest.mark.parametrize(("right", "verdict"), [(0.99, "confirmed"), (0.9, "not reproducible")])
def test_accusation_before_issued_seeds_is_examined_again(evaluator, gate, right, verdict):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    gate.finish(
        begun.token,
        outcomes(evaluator, begun, right=0.93, number=1),
        own(evaluator, snapshot, right=0.9),
    )
    old = gate.latest(snapshot).model_copy(update={"schema_version": 2, "issued": None})
    assert old.verdict == "not reproducible"
    gate._keep(old, {})
    (again,) = gate.begin(1)
    assert (again.token, again.runs) == (begun.token, ())
    assert gate.issued_seeds(again.token, {}) == tuple(evaluator.seeds("feedback", snapshot))
    assert gate.finish(again.token, {}, own(evaluator, snapshot, right=right)).verdict == verdict
    assert gate.begin(1) == []
    assert (
        verify_record(record_path(gate.folder, snapshot), gate.folder / "key.pub")["schema_version"]
        == 6
    )


@pytest.mark.parametrize("how", ["everywhere", "error", "no answers", "letters"])
@pytest.mark.parametrize(
    ("on_issued", "verdict"),
    [
        (RAISED, "not reproducible"),
        (RunAnswers({}), "not reproducible"),
        (CodeFailed("timed out", "too late"), "not distinguishable from tuned naive"),
        (None, "not distinguishable from tuned naive"),
    ],
)
def test_failing_code_is_accused_only_if_it_fails_on_issued_seeds(
    evaluator, gate, how, on_issued, verdict
):
    snapshot = submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    given = outcomes(evaluator, begun, right=0.9, number=1)
    if how == "everywhere":
        given = dict.fromkeys(given, RAISED)
    elif how == "error":
        given["final"] = RAISED
    else:
        method = (
            {}
            if how == "no answers"
            else {s: "x" * len(a) for s, a in given["final"].method.items()}
        )
        given["final"] = replace(given["final"], method=method)
    issued = [on_issued] * 2 if on_issued else own(evaluator, snapshot, right=0.9)
    body = gate.finish(begun.token, given, issued)
    assert body.verdict == verdict
    assert evaluator.ledger.entries("confirmation")[0].body["told_accuracy"] is None
    assert ("not reproducible" in body.flags) == (verdict == "not reproducible")
    assert gate.begin(1) == []


def test_holm_counts_every_snapshot_that_was_ever_tried_on_this_final(
    evaluator, gate, bed, tmp_path
):
    for number in (1, 2):
        submit(evaluator, number, 0.9)
    begun = gate.begin(2)
    one = gate.finish(begun[0].token, outcomes(evaluator, begun[0], right=0.9, number=1))
    assert one.m == 2  # the other was begun: its p-value counts as 1
    assert one.p_adjusted == pytest.approx(min(1.0, holm([one.p, 1.0])[0]))
    with Evaluator(bed.folder, tmp_path / "another") as other:
        submit(other, 3, 0.9)
        elsewhere = Confirmations(other)
        (third,) = elsewhere.begin(1)
        record = elsewhere.finish(third.token, outcomes(other, third, right=0.9, number=3))
        assert record.m == 3
        known = holm([one.p, 1.0, record.p])
        assert record.p_adjusted == pytest.approx(known[2])
        with pytest.raises(InvalidSubmission, match="No confirmation"):
            elsewhere.finish(begun[1].token, {})  # another campaign's
    now, m_now = gate.tries.adjusted(gate.tries.find("campaign", one.id), one.p)
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


def test_what_is_reported_is_charged_before_it_is_reported(evaluator, gate, bed):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    assert gate.tries.spent() == (1, 0, 0.0)
    record = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    assert Tries(bed.private / "confirmations" / "final.sqlite").spent() == (1, 1, record.bits)
    items = len(evaluator.answers["final"])
    shown = {
        reported_accuracy(with_accuracy(record, k / items / 5), items) for k in range(5 * items + 1)
    }
    # and whether it is student-free
    assert 2 ** reported_bits(items) == pytest.approx(len(VERDICTS) * (len(shown) + 1) * 2)
    assert reported_step(items) == pytest.approx(2 * 0.5 / items**0.5)


def with_accuracy(record, value):
    measure = Measure(estimate=value, lower=value, upper=value, n=1, resampled="made up")
    targets = tuple(
        t.model_copy(update={"accuracy": measure}) if t.kind == "final" else t
        for t in record.targets
    )
    return record.model_copy(update={"targets": targets})


def test_tries_are_append_only_and_need_a_writable_store(gate, tmp_path):
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
    steps = [(1, 0.9), (2, 0.95), (3, 0.99)]
    for number, right in steps:
        submit(evaluator, number, right)
    reported = reported_board(evaluator, 0)
    assert len(reported) == 3
    assert {row["verdict"] for row in reported} == {None}
    begun = gate.begin(2)  # the best two
    wrong = outcomes(evaluator, begun[0], right=0.7, number=50)
    gate.finish(begun[0].token, wrong, own(evaluator, begun[0].snapshot, right=0.7, number=50))
    gate.finish(begun[1].token, outcomes(evaluator, begun[1], right=0.95, number=2))
    board = reported_board(evaluator, 0)
    assert [row["verdict"] for row in board] == ["confirmed", None, "not reproducible"]
    assert [row["provisional"] for row in board] == [False, True, True]
    step = reported_step(len(evaluator.answers["final"]))
    assert board[0]["final_accuracy"] == pytest.approx(
        round(board[0]["final_accuracy"] / step) * step, abs=1e-4
    )
    assert "accuracy" not in json.dumps(board[1]).replace("final_accuracy", "")


def test_a_snapshot_is_named_by_the_beginning_of_its_hash(evaluator, gate):
    low, best = submit(evaluator, 1, 0.7), submit(evaluator, 2, 0.9)
    assert best != low
    assert gate.begin(1, low[:12])[0].snapshot == low
    for wrong in ("", "zz"):
        with pytest.raises(Misconfigured, match="begins? with"):
            gate.begin(1, wrong)


# --- a hostile reader -----------------------------------------------------------------------------


def test_answers_under_anothers_code_neither_claim_nor_spoil_it(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.9)
    truth = evaluator.answers["feedback"]
    seeds = evaluator.seeds("feedback", snapshot)
    receipt = evaluator.submit("bob", snapshot, rows(truth, seeds, 0.99, 1), Family.OTHER)
    assert receipt.improved
    assert claims(evaluator.ledger)[snapshot].who == "ann"
    (begun,) = gate.begin(1)
    body = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    assert body.verdict == "confirmed"  # by what ann claimed, not by what bob did
    assert body.claim.researcher == "ann"
    verdicts = {row["researcher"]: row["verdict"] for row in reported_board(evaluator, 0)}
    assert verdicts == {"ann": "confirmed", "bob": None}


def test_snapshot_unsubmitted_by_its_author_is_no_claim(evaluator, gate):
    code = evaluator.commit_code("ann", {"method.py": "# unused"}, Family.OTHER)
    evaluator.submit(
        "bob",
        code["snapshot"],
        rows(evaluator.answers["feedback"], code["seeds"], 0.9),
        Family.OTHER,
    )
    assert claims(evaluator.ledger) == {}
    assert gate.begin(1) == []
    with pytest.raises(Misconfigured, match="its author submitted nothing with it"):
        gate.begin(1, code["snapshot"])


def test_rerun_campaign_of_one_name_draws_the_same_seeds(bed, tmp_path):
    drawn = []
    for home in ("one", "two"):  # the folder was deleted, and with it the campaign's secret
        with Evaluator(bed.folder, tmp_path / home / "campaign") as evaluator:
            submit(evaluator, 1, 0.9)
            gate = Confirmations(evaluator)
            (begun,) = gate.begin(1)
            drawn.append(begun.runs)
            assert gate.tries.spent()[0] == 1
    assert drawn[0] == drawn[1]


def test_a_lost_record_is_no_second_chance(gate):
    tried = gate.tries.begin("campaign", "s", "n")
    gate.tries.note_answer(tried, p=0.4, verdict="not distinguishable from tuned naive", bits=1.0)
    assert gate.tries.adjusted(tried, 0.001) == (0.4, 1)
    assert gate.tries.adjusted(tried, 0.6) == (0.6, 1)


def test_researchers_see_only_disclosed_verdicts(evaluator, gate):
    """The untold one with the best exact score is confirmed too, and not shown."""
    older, holder = submit(evaluator, 1, 0.9), submit(evaluator, 2, 0.95)
    shares = np.linspace(0.92, 0.86, 4)
    untold = [submit(evaluator, 3 + n, share) for n, share in enumerate(shares)]
    exact = {
        e.body["snapshot"]: e.body["exact_accuracy"] for e in evaluator.ledger.entries("submission")
    }
    assert {row["snapshot"] for row in reported_board(evaluator, 0)} == {older, holder}
    ranked = sorted(untold, key=lambda s: -exact[s])
    assert leaders(evaluator.ledger, 3) == [holder, *ranked[:2]]
    assert leaders(evaluator.ledger, 9) == [holder, *ranked, older]


@pytest.mark.parametrize(
    "wrong", [("final", "final", "else"), ("x", "feedback", "else"), ("fresh", "fresh", "own")]
)
def test_no_target_stands_in_for_the_campaigns_own(evaluator, wrong, tmp_path):
    name, kind, where = wrong
    with pytest.raises(Misconfigured, match="stands in|own data"):
        Confirmations(
            evaluator, [Target(name, kind, evaluator.problem if where == "own" else tmp_path)]
        )


def test_a_fresh_draw_is_charged_for_the_verdict_and_counts_no_try(evaluator, tmp_path):
    fresh = tmp_path / "fresh"
    shutil.copytree(
        evaluator.problem, fresh, ignore=shutil.ignore_patterns("meter", "confirmations")
    )
    gate = Confirmations(evaluator, [Target("fresh", "fresh", fresh)])
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    record = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    assert record.reasons[1].startswith("a fresh draw agrees")
    assert tries_of(fresh).spent() == (0, 1, pytest.approx(np.log2(3)))
    other = tries_of(fresh).begin("another campaign", "its snapshot", "n")
    assert tries_of(fresh).adjusted(other, 0.01) == (0.01, 1)


def raised(evaluator):
    return [flag for _, flag in flags_in(evaluator.ledger.entries())]


def test_irreproducible_answers_are_flagged_once_with_evidence(evaluator, gate):
    snapshot = submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    wrong = outcomes(evaluator, begun, right=0.7, number=1)
    body = gate.finish(begun.token, wrong, own(evaluator, snapshot, right=0.7))
    (flag,) = (flag for flag in raised(evaluator) if flag.uses_labels)
    assert (flag.detector,) == ("not reproducible",) == body.flags
    claim = evaluator.ledger.entries("submission")[0].body["receipt"]["id"]
    assert (flag.submitter, flag.receipts, flag.episode) == ("ann", (claim,), snapshot)
    # a later record of the same says it again, the ledger does not
    gate._keep(gate.latest(snapshot), {})
    assert len(raised(evaluator)) == 1
    assert len(evaluator.ledger.entries("confirmation")) == 2


def test_code_that_holds_answers_of_feedback_is_flagged_by_its_re_runs(evaluator, gate):
    submit(evaluator, 1, 0.99)
    (begun,) = gate.begin(1)
    known = outcomes(evaluator, begun, right=0.99, number=1)
    known["final"] = outcomes(evaluator, begun, right=0.6, number=1)["final"]
    body = gate.finish(begun.token, known)
    (flag,) = (flag for flag in raised(evaluator) if flag.uses_labels)
    assert (flag.detector,) == ("feedback above final",) == body.flags
    assert "on fresh seeds the code scores" in flag.evidence


def test_a_confirmation_adds_one_entry_whatever_it_raises(evaluator, gate):
    """The ledger's size is shown to readers; how many flags use labels must not show in it."""
    grown = []
    for number, right in ((1, 0.9), (2, 0.7)):
        submit(evaluator, number, 0.9 if number == 1 else 0.99)
        (begun,) = gate.begin(1, evaluator.ledger.entries("submission")[-1].body["snapshot"])
        before = evaluator.ledger.count()
        again = own(evaluator, begun.snapshot, right=right, number=number) if number == 2 else ()
        gate.finish(begun.token, outcomes(evaluator, begun, right=right, number=number), again)
        grown.append(evaluator.ledger.count() - before)
    assert len(raised(evaluator)) == 1
    assert grown == [1, 1]


def test_an_honest_claim_raises_no_flag(evaluator, gate):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    body = gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    assert body.flags == ()
    assert raised(evaluator) == []
    assert body.gap.p > body.gap.alpha


def test_records_of_the_first_schema_are_still_read(evaluator, gate):
    submit(evaluator, 1, 0.9)
    (begun,) = gate.begin(1)
    gate.finish(begun.token, outcomes(evaluator, begun, right=0.9, number=1))
    record = json.loads(json.dumps(evaluator.ledger.entries("confirmation")[0].body["record"]))
    assert record["schema_version"] == 6
    del record["issued"]
    second = ConfirmationRecord.model_validate_json(json.dumps(record | {"schema_version": 2}))
    assert (second.issued, second.verdict) == (None, "confirmed")
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
