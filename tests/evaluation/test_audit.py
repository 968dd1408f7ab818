"""Every way to change a campaign's record behind its back that we know, and what `aar ledger
verify` says of it."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.hold import Hold
from aarlab.core.layout import CampaignFolder
from aarlab.core.records import Family
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.evaluation.ledger.chain import GENESIS, LedgerRow
from aarlab.evaluation.ledger.checkpoints import notes, opened
from aarlab.evaluation.proofs import check_proof, find, prove

SUBMISSIONS = 4
AAR = Path(sys.executable).with_name("aar")


def fill(evaluator, answers):
    """Code, submissions and a finding that cites one."""
    ids = sorted(answers["feedback"])
    rng = np.random.default_rng(0)
    for number in range(SUBMISSIONS):
        code = evaluator.commit_code("ann", {"method.py": f"# {number}"}, Family.OTHER)
        right = 0.6 + 0.1 * number
        rows = {
            str(s): {i: int(answers["feedback"][i] ^ (rng.random() > right)) for i in ids}
            for s in code["seeds"]
        }
        evaluator.submit("ann", code["snapshot"], rows, Family.OTHER)
    given = {
        "kind": "result",
        "title": "t",
        "text": "x",
        "family": Family.OTHER,
        "receipts": ["r-000002"],
    }
    Forum(evaluator).share("ann", **given)


@pytest.fixture
def files(bed, tmp_path, answers):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        fill(evaluator, answers)
    return Files(tmp_path / "campaign", bed.folder)


def looked_at(files, **more):
    return audit(files, load_key(files.key), **more)


def change(path: Path, *statements: str):
    """As somebody with the file in an editor would."""
    with closing(sqlite3.connect(path)) as raw, raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)


def rechain(path: Path):
    """Compute all hashes again, as somebody who knows how would."""
    with closing(sqlite3.connect(path)) as raw, raw:
        prev = GENESIS
        for old in map(
            LedgerRow._make, raw.execute("SELECT * FROM entries ORDER BY seq").fetchall()
        ):
            made = hashlib.sha256(old._replace(prev=prev).canonical).hexdigest()
            raw.execute(
                "UPDATE entries SET prev = ?, hash = ? WHERE seq = ?", (prev, made, old.seq)
            )
            prev = made


def test_nothing_is_wrong_with_an_honest_record(files):
    made = looked_at(files)
    assert made.faults == ()
    assert made.entries == made.covered == 2 * SUBMISSIONS + 1
    assert made.graded == SUBMISSIONS
    assert made.checkpoints >= 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = replace(body, 'r-000002', 'r-000009') WHERE seq = 4",
        "UPDATE entries SET who = 'bob' WHERE seq = 2",
        "UPDATE entries SET at = '2030-01-01T00:00:00.000+00:00' WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 5",
        "DELETE FROM entries WHERE seq = 1",
        "UPDATE entries SET seq = 90 WHERE seq = 4",
        "UPDATE entries SET kind = 'flag' WHERE seq = 2",
        "UPDATE entries SET body = x'00' WHERE seq = 6",
        "UPDATE entries SET hidden = replace(hidden, '0.', '0.9') WHERE seq = 4",
        "UPDATE entries SET salt = hidden, hidden = salt WHERE seq = 4",
        "UPDATE entries SET salt = NULL, hidden = NULL WHERE seq = 4",
        "UPDATE entries SET salt = 'no digits' WHERE seq = 4",
    ],
)
@pytest.mark.parametrize("clever", [False, True])
def test_a_row_that_was_changed_dropped_or_moved_is_found(files, statement, clever):
    change(files.database, statement)
    if clever and not any(
        broken in statement for broken in ("x'00'", "salt = hidden", "no digits")
    ):
        rechain(files.database)
    assert looked_at(files).faults


def test_two_rows_that_changed_places_are_found(files):
    swap = ("UPDATE entries SET seq = -1 WHERE seq = 3", "UPDATE entries SET seq = 3 WHERE seq = 5")
    change(files.database, *swap, "UPDATE entries SET seq = 5 WHERE seq = -1")
    assert any("breaks at entry 3" in f for f in looked_at(files).faults)
    rechain(files.database)
    assert any("rewritten or cut off" in f for f in looked_at(files).faults)


def test_a_tail_that_was_cut_off_is_found(files):
    change(files.database, "DELETE FROM entries WHERE seq > 5")
    assert any("rewritten or cut off" in f for f in looked_at(files).faults)
    files.checkpoints.write_text("")  # and the checkpoints with it: the meter remembers
    assert any(
        "1 answers of this campaign that the ledger has not" in f or "answers of this" in f
        for f in looked_at(files).faults
    )


@pytest.mark.parametrize("kept", ["none", "the first"])
def test_a_history_that_nobody_signed_is_found(files, bed, kept):
    """Whoever has no key rewrites the ledger, and leaves no checkpoint that it does not fit: all of
    them are gone, or all but those of before what was rewritten."""
    with Evaluator(bed.folder, files.campaign) as evaluator:
        evaluator.commit_code("ann", {"method.py": "# last"}, Family.OTHER)
    first, key = notes(files.checkpoints.read_bytes())[0][0], load_key(files.key)
    size = 0 if kept == "none" else opened(first, key).size
    files.checkpoints.write_text(first if size else "")
    later = f"UPDATE entries SET at = '2030-01-01' || substr(at, 11) WHERE seq > {size}"
    change(files.database, later)
    rechain(files.database)
    made = audit(files, key)
    assert made.covered == size < made.entries
    assert any(f"covers entries {size + 1} to {made.entries}" in fault for fault in made.faults)
    assert audit(files, key, running=True).faults == (), "who runs signs them within seconds"


@pytest.mark.parametrize("runs", ["its own server", "somebody else's", "nobody"])
def test_who_runs_is_its_own_server_alone(files, tmp_path, runs):
    """A lock in the folder that is a link to one which is held makes nothing run."""
    files.checkpoints.write_text("")
    lock, other = CampaignFolder(files.campaign).server.lock, tmp_path / "other.lock"
    if runs == "somebody else's":
        lock.unlink(missing_ok=True)
        lock.symlink_to(other)
    with (
        Hold(lock if runs == "its own server" else other, str)
        if runs != "nobody"
        else nullcontext()
    ):
        said = CliRunner().invoke(app, ["ledger", "verify", str(files.campaign)])
    assert ("No checkpoint covers" in said.output) == (runs != "its own server")
    assert said.exit_code == (runs != "its own server")


@pytest.mark.slow
def test_a_history_that_was_signed_anew_does_not_fit_an_older_copy(files, tmp_path, bed):
    witness = shutil.copy(files.checkpoints, tmp_path / "witness.txt")
    change(files.database, "UPDATE entries SET who = 'bob'")
    rechain(files.database)
    files.checkpoints.unlink()
    with Evaluator(bed.folder, files.campaign):
        pass
    assert looked_at(files).faults == (), "whoever holds the private key can do this"
    assert any(
        "witness.txt was signed for" in f
        for f in looked_at(files, witnesses=[Path(witness)]).faults
    )


@pytest.mark.process
def test_the_evaluator_itself_does_not_open_a_rewritten_ledger(files, bed):
    change(files.database, "UPDATE entries SET who = 'bob' WHERE seq = 2")
    rechain(files.database)
    with pytest.raises(Misconfigured, match="aar ledger verify"):
        Evaluator(bed.folder, files.campaign)


def test_changed_answers_and_snapshots_are_found(files):
    change(
        files.database,
        "UPDATE blobs SET data = substr(data, 1, length(data) - 1) || x'5a' WHERE rowid = 1",
    )
    snapshot = next((files.campaign / "server" / "blobs").iterdir())
    snapshot.write_text("{}")
    faults = looked_at(files).faults
    assert any("stored answers" in f and "were changed" in f for f in faults)
    assert any(f"snapshot {snapshot.name} is gone or was changed" in f for f in faults)


def test_exchanged_labels_and_a_lost_meter_are_found(files):
    path = files.problem / "private" / "answers.json"
    held = json.loads(path.read_text())
    held["feedback"] = {i: 1 - y for i, y in held["feedback"].items()}
    path.unlink()  # it is a hard link to another test's
    path.write_text(json.dumps(held))
    files.meter.unlink()
    faults = looked_at(files).faults
    assert sum("by the hidden labels as they are now" in f for f in faults) == SUBMISSIONS
    assert any("meter" in f and "is gone" in f for f in faults)


def test_a_citation_of_what_was_not_given_is_found(files, bed):
    with Evaluator(bed.folder, files.campaign) as evaluator:
        evaluator.ledger.append(
            "finding",
            "eve",
            {
                "kind": "error",
                "title": "t",
                "text": "x",
                "family": "other",
                "receipts": ["r-000099"],
            },
        )
    assert any("cites the receipt r-000099" in f for f in looked_at(files).faults)


def test_every_figure_resolves_to_its_entry(files):
    assert json.loads(find(files, "r-000002").body)["receipt"]["id"] == "r-000002"
    assert find(files, "f-000009").kind == "finding"
    assert find(files, "1").seq == 1
    with pytest.raises(InvalidSubmission, match="no entry 'r-9'"):
        find(files, "r-9")


def test_a_proof_is_believed_without_the_ledger_and_only_as_it_is(files, tmp_path):
    key = load_key(files.key)
    document = json.loads(json.dumps(prove(files, key, find(files, "r-000003"))))
    row, checkpoint = check_proof(document, key)
    assert json.loads(row.body)["receipt"]["id"] == "r-000003"
    assert checkpoint.size == 2 * SUBMISSIONS + 1
    forged = json.loads(json.dumps(document))
    forged["entry"]["body"] = forged["entry"]["body"].replace(
        '"improved": false', '"improved": true'
    )
    forged["entry"]["who"] = "eve"
    for wrong in (
        forged,
        document | {"path": document["path"][::-1]},
        document | {"path": []},
        {},
        [],
        None,
        7,
    ):
        with pytest.raises(InvalidSubmission, match="Do not believe it"):
            check_proof(wrong, key)
    with Evaluator(files.problem, tmp_path / "other"):
        pass
    with pytest.raises(InvalidSubmission, match="Do not believe it"):
        check_proof(document, load_key(tmp_path / "other" / "checkpoints" / "key.pub"))


def aar(*words):
    return subprocess.run([AAR, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.process
def test_the_command_line(files, tmp_path):
    good = aar("ledger", "verify", files.campaign, "--key", files.key)
    assert (good.returncode, good.stderr) == (0, "")
    assert f"{SUBMISSIONS} submissions graded again" in good.stdout
    assert "0 faults" in good.stdout
    assert '"improved"' in aar("ledger", "show", files.campaign, "r-000001").stdout
    proof = tmp_path / "proof.json"
    assert aar("ledger", "prove", files.campaign, "r-000001", "--out", proof).returncode == 0
    assert "signed at 9 entries" in aar("ledger", "check", proof, "--key", files.key).stdout
    change(files.database, "DELETE FROM entries WHERE seq = 5")
    bad = aar("ledger", "verify", files.campaign)
    assert bad.returncode == 1
    assert "WRONG The ledger's chain breaks at entry 6: entry 5 is missing." in bad.stdout
    nothing = aar("ledger", "verify", tmp_path)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: ")
