"""Meter and ledgers against each other: what one of them has lost or another changed is found, by a
start and by `verify`."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, TestbedFolder
from aarlab.core.records import Family
from aarlab.evaluation import receipts
from aarlab.evaluation.agreement import read_book, require_agreement
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.leaders import claims, leaders
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.restore import restore_meter
from aarlab.evaluation.scoring.tries import tries_of
from aarlab.redteam.system import write_problem
from tests.fleet.fleets import confirmation

ITEMS, FAMILY = 200, Family.OTHER
LABELS = np.random.default_rng(3).random(ITEMS) < 0.5


def send(evaluator, number, right=0.5, who="ann"):
    code = evaluator.commit_code(who, {"method.py": f"# {number}"}, FAMILY)
    rows = LABELS ^ (np.random.default_rng(number).random((5, ITEMS)) > right)
    sent = {
        str(s): "".join("01"[int(a)] for a in row)
        for s, row in zip(code["seeds"], rows, strict=True)
    }
    return evaluator.submit(who, code["snapshot"], sent, FAMILY)


@pytest.fixture
def files(tmp_path):
    """A campaign of six submissions, some of which improved, on labels of its own."""
    made = Files(tmp_path / "campaign", write_problem(tmp_path / "problem", LABELS))
    with Evaluator(made.problem, made.campaign) as evaluator:
        assert [send(evaluator, n, 0.5 + 0.08 * n).improved for n in range(6)].count(True) > 0
    return made


def faults(files):
    return audit(files, load_key(files.key)).faults


def refusal(files):
    """Why nothing can be said of the record; empty if something can."""
    try:
        faults(files)
    except Misconfigured as error:
        return [str(error)]
    return []


def change(path, *statements):
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement)


def again(files):
    with Evaluator(files.problem, files.campaign) as evaluator:
        return evaluator.meter.channel.released


def rows_of(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("SELECT * FROM answers ORDER BY seq").fetchall()


def test_what_agrees_is_served_and_has_no_fault(files):
    assert faults(files) == ()
    assert again(files) > 0
    assert len(read_book(files.meter).heads) == 7


CHANGES = [
    "DELETE FROM answers WHERE seq = 6",
    "DELETE FROM answers WHERE seq = 2",
    "DELETE FROM answers",
    "UPDATE answers SET bits = 0, mass = 0",
    "UPDATE answers SET who = 'bob' WHERE seq = 3",
    "UPDATE answers SET level = 0.55 WHERE improved",
    "UPDATE answers SET improved = 1 - improved WHERE seq = 1",
    "UPDATE answers SET campaign = x'ff'",
    "UPDATE origin SET level = 0.1",
]


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("digest", ["kept", "dropped"])
def test_changed_meter_is_refused_with_and_without_its_digest(files, statement, digest):
    change(files.meter, statement, *(["DROP TABLE head"] if digest == "dropped" else []))
    assert faults(files)
    with pytest.raises(Misconfigured, match="Nothing is answered"):
        again(files)


def test_noise_anywhere_in_the_meter_is_found_or_changes_no_answer(files):
    """Every byte of every page, in strides: a page of noise once passed for a whole record."""
    whole, before = files.meter.read_bytes(), rows_of(files.meter)
    rng, found = np.random.default_rng(0), 0
    for at in range(0, len(whole) - 1024, 1024):
        files.meter.write_bytes(whole[:at] + rng.bytes(1024) + whole[at + 1024 :])
        said = faults(files)
        found += bool(said)
        assert said or rows_of(files.meter) == before, at
    assert found > 3


def test_noise_in_the_ledgers_pages_is_found_without_a_traceback(files):
    whole, rng = files.database.read_bytes(), np.random.default_rng(0)
    for at in range(4096, len(whole), 4096):
        files.database.write_bytes(whole[:at] + rng.bytes(4096) + whole[at + 4096 :])
        assert all("Restore a copy" in words for words in refusal(files)), at
        assert refusal(files) or faults(files), at


def test_older_meter_and_ledger_are_adopted_when_they_agree(tmp_path, monkeypatch):
    draft = receipts.draft

    def without_place(*given):
        made = draft(*given)
        del made.body["meter"]
        return made

    monkeypatch.setattr("aarlab.evaluation.evaluator.draft", without_place)
    files = Files(tmp_path / "campaign", write_problem(tmp_path / "problem", LABELS))
    with Evaluator(files.problem, files.campaign) as evaluator:
        send(evaluator, 0, 0.7)
    change(files.meter, "DROP TABLE head")
    shutil.copytree(
        tmp_path, tmp_path / "copy", dirs_exist_ok=False, ignore=shutil.ignore_patterns("copy")
    )
    monkeypatch.undo()
    assert faults(files) == ()
    with Evaluator(files.problem, files.campaign) as evaluator:
        bits = evaluator.meter.channel.released
        assert bits > 0
        send(evaluator, 1)
    assert again(files) >= bits
    assert faults(files) == ()
    old = Files(tmp_path / "copy" / "campaign", tmp_path / "copy" / "problem")
    shutil.rmtree(old.meter.parent)
    with pytest.raises(Misconfigured, match="is gone"):
        again(old)
    with pytest.raises(Misconfigured, match="take another data seed"):
        restore_meter(old.problem, old.campaign)


def test_campaigns_on_one_label_set_at_once_agree_and_start_again(files, tmp_path):
    other = Files(tmp_path / "other", files.problem)
    with (
        Evaluator(files.problem, files.campaign) as mine,
        Evaluator(files.problem, other.campaign) as theirs,
    ):
        for number in range(10, 16):
            send(mine, number)
            send(theirs, 100 + number)
            assert send(theirs, number).id != ""  # what the first has asked
    for one in (files, other):
        assert faults(one) == ()
        again(one)


def test_another_campaign_is_no_way_around_a_lost_meter(files, tmp_path):
    shutil.rmtree(files.meter.parent)
    with pytest.raises(Misconfigured, match="is gone"):
        again(Files(tmp_path / "other", files.problem))
    assert not files.meter.exists(), "a refusal begins no new meter"


def test_a_ledger_beside_it_that_cannot_be_read_is_another_campaigns(files, tmp_path):
    other = Files(tmp_path / "other", files.problem)
    again(other)
    other.database.write_bytes(b"noise" * 1000)
    again(files)
    with pytest.raises(Misconfigured, match="aar ledger verify"):
        require_agreement(files.problem, other.campaign)


def test_a_record_of_tries_that_was_reset_is_found_and_refused(files):
    with Evaluator(files.problem, files.campaign) as evaluator:
        tried = Confirmations(evaluator).tries.begin("campaign", "0" * 64, "f" * 32)
        body = confirmation("0" * 64, "ann", verdict="confirmed", token=tried.token)
        evaluator.ledger.append("confirmation", "evaluator", body)
    again(files)
    TestbedFolder(files.problem).tries.unlink()
    tries_of(files.problem)  # an empty one
    assert any("put to confirmation does not know it" in f for f in faults(files))
    with pytest.raises(Misconfigured, match="budget of confirmations would begin again"):
        again(files)


# --- made again -----------------------------------------------------------------------------------


def cut_off(evaluator, number, monkeypatch):
    """A submission whose process ends between the meter's commit and the ledger's."""

    def ended(drafts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(evaluator.ledger, "append_many", ended)
        send_known(evaluator, number)


def send_known(evaluator, number):
    snapshot = next(iter(evaluator._snapshots.kept()["_known"]))
    rows = LABELS ^ (np.random.default_rng(number).random((5, ITEMS)) > 0.5)
    seeds = evaluator.seeds("feedback", snapshot)
    sent = {str(s): "".join("01"[int(a)] for a in row) for s, row in zip(seeds, rows, strict=True)}
    return evaluator.submit("ann", snapshot, sent, FAMILY)


@pytest.mark.parametrize("lost", ["all of it", "the last two answers", "its pages"])
def test_a_lost_meter_is_made_again_exactly(files, tmp_path, lost, monkeypatch):
    with Evaluator(files.problem, tmp_path / "other") as theirs:
        send(theirs, 50, 0.6, who="eve")
        cut_off(theirs, 51, monkeypatch)
    with Evaluator(files.problem, tmp_path / "other") as theirs:
        send(theirs, 52)
    with Evaluator(files.problem, files.campaign) as mine:
        send(mine, 53)
    before, bits = rows_of(files.meter), again(files)
    if lost == "all of it":
        shutil.rmtree(files.meter.parent)
    elif lost == "its pages":
        files.meter.write_bytes(bytes(files.meter.stat().st_size))
    else:
        change(files.meter, "DELETE FROM answers WHERE seq > 8", "DROP TABLE head")
    with pytest.raises(Misconfigured, match="aar ledger restore-meter"):
        again(files)
    answers, aside = restore_meter(files.problem, files.campaign)
    assert (answers, aside is None) == (10, lost == "all of it")
    assert rows_of(files.meter) == before
    assert again(files) == bits
    assert faults(files) == faults(Files(tmp_path / "other", files.problem)) == ()


def test_meter_is_rebuilt_only_from_all_ledgers_and_unserved(files, tmp_path):
    with Evaluator(files.problem, tmp_path / "other") as theirs:
        send(theirs, 50)
    with Evaluator(files.problem, files.campaign) as mine:
        send(mine, 51)
        with pytest.raises(Misconfigured, match="runs already, as process"):
            restore_meter(files.problem, files.campaign)
    shutil.rmtree(files.meter.parent)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(Misconfigured, match="has the meter's answer 7 of 8"):
        restore_meter(files.problem, files.campaign)
    assert not TestbedFolder(files.problem).meter.exists()


# --- the same code by two -------------------------------------------------------------------------


def same(evaluator, who, number=77):
    """A submission of the same code and answers, whoever sends it."""
    code = evaluator.commit_code(who, {"method.py": f"# {number}"}, FAMILY)
    rows = LABELS ^ (np.random.default_rng(number).random((5, ITEMS)) > 0.999)
    sent = {
        str(s): "".join("01"[int(a)] for a in row)
        for s, row in zip(code["seeds"], rows, strict=True)
    }
    return evaluator.pending(who, code["snapshot"], sent, FAMILY)


@pytest.mark.parametrize("order", [["ann", "bob"], ["bob", "ann"], "at once"])
def test_two_with_the_same_code_count_both_and_the_author_can_claim(files, order):
    with Evaluator(files.problem, files.campaign) as evaluator:
        board = evaluator.view("board", Board(evaluator.ledger))
        by = {who: same(evaluator, who) for who in ("ann", "bob")}  # ann was first to commit it
        before, flags = board.by_submitter()["ann"].submissions, evaluator.ledger.count("flag")
        got = []

        def submit(pending):
            evaluator.submit_all(
                pending, lambda made: got.extend(future.result() for future in made)
            )

        for pending in [list(by.values())] if order == "at once" else [[by[w]] for w in order]:
            submit(pending)
        bits = evaluator.meter.channel.released
        submit(list(by.values()))  # again: nothing new
        assert [r.repeated for r in got] == [False, True, True, True]
        assert len({(r.improved, r.level_accuracy) for r in got}) == 1
        assert len({r.id for r in got}) == 2
        counts = {who: done.submissions for who, done in board.by_submitter().items()}
        assert counts == {"ann": before + 1, "bob": 1}
        assert claims(evaluator.ledger)[by["ann"].snapshot].who == "ann"
        assert by["ann"].snapshot in leaders(evaluator.ledger, 2)
        assert evaluator.meter.channel.released == bits
        assert evaluator.ledger.count("flag") == flags
        recorded = evaluator.ledger.count("submission")
    assert faults(files) == ()
    for _ in range(2):  # from what was kept, and from the ledger
        with Evaluator(files.problem, files.campaign) as evaluator:
            evaluator.submit_all([by["bob"]], lambda made: got.append(made[0].result()))
            assert (got[-1].repeated, got[-1].id) == (True, got[1 if order[0] != "bob" else 0].id)
            assert evaluator.ledger.count("submission") == recorded
        CampaignFolder(files.campaign).server.derived.unlink()
    shutil.rmtree(files.meter.parent)
    restore_meter(files.problem, files.campaign)
    assert again(files) == bits
