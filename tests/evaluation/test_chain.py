"""What of a row is reported, what is hidden, and what its hash commits to."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.evaluation.ledger.chain import (
    GENESIS,
    RELEASED_FIELDS,
    SALT_BYTES,
    LedgerRow,
    Shown,
    new_salt,
    parted,
)

SALT = "5a" * SALT_BYTES


def row(body=None, kind="submission", salt=SALT):
    reported, hidden = parted(kind, body or {"receipt": {"id": "r-000001"}, "exact_accuracy": 0.75})
    return LedgerRow(
        1, "2026-11-28T00:00:00.000+00:00", "ann", kind, reported, GENESIS, "", hidden, salt
    )


@pytest.mark.parametrize("kind", RELEASED_FIELDS)
def test_a_field_that_nobody_listed_is_hidden(kind):
    reported, hidden = parted(kind, {"of_tomorrow": 1} | dict.fromkeys(RELEASED_FIELDS[kind], 0))
    assert json.loads(hidden) == {"of_tomorrow": 1}
    assert json.loads(reported) == dict.fromkeys(RELEASED_FIELDS[kind], 0)


def test_what_depends_on_no_label_is_reported():
    assert parted("finding", {"b": 1, "a": 2}) == ('{"a": 2, "b": 1}', "{}")
    assert row({"a": 1}, "finding").entry.body == {"a": 1}


def test_both_parts_together_are_the_body():
    assert row().entry.body == {"receipt": {"id": "r-000001"}, "exact_accuracy": 0.75}


def test_what_is_hashed_holds_no_hidden_byte_and_changes_with_the_salt():
    text = row().canonical
    assert b"0.75" not in text
    assert SALT.encode() not in text
    assert text != row(salt=new_salt()).canonical


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_commitment_is_to_one_hidden_part(one, other):
    first, second = row({"exact_accuracy": one}), row({"exact_accuracy": other})
    assert (first.canonical == second.canonical) == (json.dumps(one) == json.dumps(other))


def test_the_mask_and_the_commitment_by_hand():
    """HMAC-SHA256, computed here from its definition (RFC 2104)."""

    def hmac_by_hand(message: bytes) -> str:
        key = bytes.fromhex(SALT).ljust(64, b"\0")
        inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + message).digest()
        return hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).hexdigest()

    shown = row().shown
    assert shown.mask == hmac_by_hand(b"mask")
    assert shown.commitment == hmac_by_hand(b'{"exact_accuracy": 0.75}')


def test_a_row_of_before_there_were_salts_is_hashed_as_it_was():
    old = LedgerRow(1, "t", "ann", "spend", "{}", GENESIS, "")
    assert old.canonical == f'[1,"t","ann","spend","{{}}","{GENESIS}"]'.encode()
    assert old.shown == Shown(1, "t", "ann", "spend", "{}", GENESIS)


@pytest.mark.parametrize(
    "half", [{"salt": None}, {"hidden": None}, {"salt": "5a"}, {"salt": "no digits"}]
)
def test_half_of_a_hidden_part_is_refused(half):
    with pytest.raises(ValueError, match=r"salt|hex"):
        assert row()._replace(**half).shown


def test_no_two_salts_are_alike():
    assert len({new_salt() for _ in range(100)}) == 100
