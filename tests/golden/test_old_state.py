"""State that version 0.1.0 wrote (at cc6824e, `aar demo` on generated-chat with the double): it
verifies, loads and goes on.

campaign-0.1.0.tar.xz holds a finished campaign (ledger, meter, checkpoints, signed confirmations,
report), its testbed, and the proof of a receipt. Absolute paths in it stand as HOME.
"""

import json
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Family
from aarlab.core.settings import Home
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.evaluation.ledger.chain import RELEASED_FIELDS
from aarlab.evaluation.ledger.merkle import leaf_hash
from aarlab.evaluation.ledger.signed import verify_record
from aarlab.evaluation.ledger.views import flags_in
from aarlab.evaluation.proofs import check_proof, find, prove
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from tests.golden.golden_archive import unpack

ENTRIES, SUBMISSIONS, FINDINGS, CONFIRMATIONS = 224, 67, 67, 3


@pytest.fixture
def files(tmp_path):
    unpack(tmp_path)
    campaign = tmp_path / "campaigns" / "golden"
    for name in ("problem.txt", "targets.json"):
        note = campaign / "server" / name
        note.write_text(note.read_text().replace("HOME", str(tmp_path)))
    return Files(campaign, tmp_path / "problems" / "generated-chat-v1-double-seed1")


def looked_at(files):
    return audit(files, load_key(files.key))


def test_an_old_campaign_verifies(files):
    made = looked_at(files)
    assert made.faults == ()
    assert (made.entries, made.covered, made.graded) == (ENTRIES, ENTRIES, SUBMISSIONS)
    assert made.confirmations == CONFIRMATIONS


def test_old_confirmations_are_signed_and_load(files):
    folder = files.campaign / "confirmations"
    records = [verify_record(path, folder / "key.pub") for path in sorted(folder.glob("*.json"))]
    loaded = [ConfirmationRecord.model_validate_json(json.dumps(record)) for record in records]
    assert len(loaded) == CONFIRMATIONS
    assert {record.campaign for record in loaded} == {"golden"}


def test_an_old_campaign_goes_on_and_verifies(files):
    before = files.checkpoints.read_bytes()
    with Evaluator(files.problem, files.campaign) as evaluator:
        assert evaluator.ledger.count("submission") == SUBMISSIONS
        assert len(Forum(evaluator).since(0, 100)) == FINDINGS
        assert len(list(flags_in(evaluator.ledger.entries()))) == evaluator.ledger.count("flag")
        code = evaluator.commit_code("ann", {"method.py": "# new"}, Family.OTHER)
        rows = {
            str(seed): {i: n % 2 for n, i in enumerate(evaluator.ids)} for seed in code["seeds"]
        }
        receipt = evaluator.submit("ann", code["snapshot"], rows, Family.OTHER)
        assert receipt.id == f"r-{SUBMISSIONS + 1:06d}"
    made = looked_at(files)
    assert made.faults == ()
    assert made.graded == SUBMISSIONS + 1
    assert files.checkpoints.read_bytes().startswith(before)


@pytest.mark.slow
def test_new_testbed_of_old_labels_continues_the_old_meter(files, tmp_path):
    """A field that a new version adds to items is no new label: else an upgrade would give the
    budget a second time."""
    made = prepare(
        "generated-chat", 1, home=Home(tmp_path), student=student.COUNTING, progress=lambda *_: None
    )
    assert made.folder != files.problem
    with Evaluator(files.problem, files.campaign) as evaluator:
        told = evaluator.meter.state()
    assert told["answers"] == SUBMISSIONS
    for name in ("naive_tuned.txt", "baselines.npz"):
        shutil.copy(files.problem / "private" / name, made.private / name)
    with Evaluator(made.folder, tmp_path / "campaigns" / "new") as evaluator:
        assert evaluator.meter.state()["answers"] == SUBMISSIONS
        assert evaluator.meter.channel.released > 0


def test_the_root_of_an_old_ledger_is_masked_before_anybody_sees_it(files):
    """Its entries are hashed without a salt: one that is salted stands over them before a root is
    signed or told."""
    signed = files.checkpoints.read_bytes()
    Evaluator(files.problem, files.campaign).close()
    with closing(sqlite3.connect(files.database)) as raw:
        rows = raw.execute(
            "SELECT seq, hidden IS NOT NULL AND salt IS NOT NULL FROM entries WHERE seq > ?",
            (ENTRIES,),
        )
        assert rows.fetchall()[0] == (ENTRIES + 1, 1)
    sizes = [
        int(line)
        for line in files.checkpoints.read_text()[len(signed.decode()) :].splitlines()
        if line.isdigit()
    ]
    assert sizes
    assert min(sizes) > ENTRIES


def test_an_old_proof_is_read_and_an_old_score_is_not_proved_again(files):
    document = json.loads((files.campaign.parents[1] / "proof-of-r-000003.json").read_text())
    shown, checkpoint = check_proof(document, load_key(files.key))
    assert json.loads(shown.body)["receipt"]["id"] == "r-000003"
    assert checkpoint.size <= ENTRIES
    with pytest.raises(Misconfigured, match="a proof would show them"):
        prove(files, load_key(files.key), find(files, "r-000003"))


@pytest.mark.long
def test_no_proof_holds_the_hash_of_an_old_score(files):
    """It would be found by trying: an old row's hash has no salt. What stands beside no old score
    is proved."""
    with Evaluator(files.problem, files.campaign) as evaluator:
        for number in range(9):
            evaluator.ledger.append("campaign", "evaluator", {"event": f"new {number}"})
    scores = {
        leaf
        for seq in range(1, ENTRIES + 1)
        if (row := find(files, str(seq))).kind in RELEASED_FIELDS
        for leaf in (row.hash, leaf_of(row))
    }
    proved = 0
    for row in (find(files, str(seq)) for seq in range(1, ENTRIES + 10, 3)):
        with suppress(Misconfigured):
            made = prove(files, load_key(files.key), row)
            assert not scores & {made["entry"]["prev"], *made["path"]}
            assert check_proof(made, load_key(files.key))
            proved += 1
    assert proved > 0
    beside = next(
        row
        for seq in range(2, ENTRIES)
        if (row := find(files, str(seq))).kind == "finding" and row.prev in scores
    )
    with pytest.raises(Misconfigured, match="could be tried"):
        prove(files, load_key(files.key), beside)


def leaf_of(row):
    return leaf_hash(row.canonical).hex()
