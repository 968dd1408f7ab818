"""What one can download to check a receipt elsewhere: it is enough for `aar ledger check`, and
holds no exact score."""

import json

import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.ledger.checkpoints import Checkpoints, Key, read
from aarlab.evaluation.proofs import check_proof
from tests.web.scenes import GOLDEN, golden, ledger_of, small

SMALL = "/campaign/small"


@pytest.fixture
def signed(tmp_path):
    """A small campaign with a checkpoint."""
    browser, place = small(tmp_path), CampaignFolder(tmp_path / "campaigns" / "small")
    ledger = ledger_of(tmp_path)
    Checkpoints(place.checkpoints.root, place.server.checkpoint_key, "small").sign(*ledger.head())
    ledger.close()
    return browser


def test_proof_and_key_are_enough_to_check_a_receipt(signed):
    text = signed.text(f"{SMALL}/submission/r-000003")
    assert f'href="{SMALL}/submission/r-000003/proof"' in text
    answer = signed.get(f"{SMALL}/submission/r-000003/proof")
    assert answer.headers["content-disposition"] == (
        'attachment; filename="small-r-000003-proof.json"'
    )
    key = Key.parse(signed.text(f"{SMALL}/key"))
    shown, checkpoint = check_proof(answer.json(), key)
    assert (shown.seq, shown.kind, checkpoint.size) == (3, "submission", 7)
    assert json.loads(shown.body)["receipt"]["id"] == "r-000003"
    assert "0.87654" not in answer.text
    assert "0.76543" not in answer.text
    changed = answer.text.replace("r-000003", "r-000002")
    with pytest.raises(InvalidSubmission, match="Do not believe it"):
        check_proof(json.loads(changed), key)


def test_the_signed_checkpoints_are_those_on_disk(signed, tmp_path):
    key = Key.parse(signed.text(f"{SMALL}/key"))
    copy = tmp_path / "copy.txt"
    copy.write_bytes(signed.get(f"{SMALL}/checkpoints").content)
    (only,) = read(copy, key)
    ledger = ledger_of(tmp_path)
    assert (only.size, only.root) == ledger.head()
    ledger.close()
    assert f'href="{SMALL}/checkpoints"' in signed.text(f"{SMALL}/integrity")


def test_a_receipt_that_no_checkpoint_covers_has_no_proof_yet(tmp_path):
    browser = small(tmp_path)
    text = browser.text(f"{SMALL}/submission/r-000001")
    assert "No signed checkpoint covers this receipt yet" in text
    assert "/proof" not in text
    for path in ("checkpoints", "key"):
        assert browser.get(f"{SMALL}/{path}").status_code == 404
    assert browser.get(f"{SMALL}/submission/r-000009/proof").status_code == 404


def test_a_proof_that_would_show_hidden_numbers_is_refused_in_words(tmp_path):
    """Version 0.1.0 hashed exact scores without a salt."""
    answer = golden(tmp_path).get(f"{GOLDEN}/submission/r-000001/proof")
    assert answer.status_code == 500
    assert "a proof would show them" in answer.text
    assert "content-disposition" not in answer.headers
