"""Tokens: kept as hashes, ended at once, by whichever process."""

import hashlib
import json
import subprocess
import sys

import pytest

from aarlab.core.callers import REFUSED, Identity, hash_in, token_hash
from aarlab.core.errors import InvalidSubmission, Misconfigured, Unauthorised
from aarlab.evaluation.identity import TokenStore


def test_a_token_stands_for_its_name_and_only_its_hash_is_on_disk(tmp_path):
    tokens = TokenStore(tmp_path)
    token = tokens.issue("ann", "researcher")
    assert tokens.who(token_hash(token)) == Identity("ann", "researcher")
    # the scheme's case does not matter
    assert hash_in(f"bearer {token}") == hash_in(f"Bearer {token}") == token_hash(token)
    kept = (tmp_path / "tokens.json").read_text()
    assert token not in kept
    assert hashlib.sha256(token.encode()).hexdigest() in kept
    assert (tmp_path / "tokens.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Basic {}",
        "{}",
        "Bearer {} ",
        "Bearer \udcff",
    ],
)
def test_anything_else_gets_the_same_words(tmp_path, given):
    tokens = TokenStore(tmp_path)
    token = tokens.issue("ann", "researcher")
    with pytest.raises(Unauthorised) as caught:
        tokens.who(hash_in(given and given.format(token)))
    assert str(caught.value) == REFUSED


def test_a_new_token_ends_the_old_one_whatever_its_role(tmp_path):
    tokens = TokenStore(tmp_path)
    old, other = tokens.issue("ann", "researcher"), tokens.issue("bob", "researcher")
    new = tokens.issue("ann", "reader")
    assert tokens.who(token_hash(new)).role == "reader"
    assert tokens.who(token_hash(other)).name == "bob"
    with pytest.raises(Unauthorised):
        tokens.who(token_hash(old))


@pytest.mark.process
def test_another_process_ends_a_token_at_once(tmp_path):
    tokens = TokenStore(tmp_path)
    token = tokens.issue("ann", "researcher")
    assert tokens.who(token_hash(token)).name == "ann"
    code = (
        "import sys, pathlib; from aarlab.evaluation.identity import TokenStore; "
        "TokenStore(pathlib.Path(sys.argv[1])).revoke('ann')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    with pytest.raises(Unauthorised):
        tokens.who(token_hash(token))
    assert tokens.all() == []


@pytest.mark.process
def test_processes_that_issue_at_the_same_time_lose_nothing(tmp_path):
    code = (
        "import sys, pathlib; from aarlab.evaluation.identity import TokenStore; t = "
        "TokenStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(20): t.issue(f'{sys.argv[2]}-{n}', 'researcher')"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who]) for who in ("a", "b")
    ]
    assert [process.wait() for process in started] == [0, 0]
    assert {issued.name for issued in TokenStore(tmp_path).all()} == {
        f"{who}-{n}" for who in "ab" for n in range(20)
    }


def test_a_token_ends_when_its_time_is_over(tmp_path):
    clock = [1000.0]
    tokens = TokenStore(tmp_path, now=lambda: clock[0])
    token = tokens.issue("ann", "researcher", seconds=60)
    clock[0] = 1059.9
    assert tokens.who(token_hash(token)).name == "ann"
    clock[0] = 1060.0
    with pytest.raises(Unauthorised):
        tokens.who(token_hash(token))


@pytest.mark.parametrize(
    "name", ["operator", "evaluator", "", "Ann", "a b", "../x", "a" * 65, "é", ".a", "a\n"]
)
def test_names_that_are_ours_or_not_plain_are_refused(tmp_path, name):
    with pytest.raises(InvalidSubmission):
        TokenStore(tmp_path).issue(name, "researcher")


def test_the_operators_token_is_renewed_and_not_revoked(tmp_path):
    tokens = TokenStore(tmp_path)
    first = tokens.renew_operator().read_text()
    assert (tmp_path / "operator.token").stat().st_mode & 0o077 == 0
    second = tokens.renew_operator().read_text()
    assert tokens.who(token_hash(second)) == Identity("operator", "operator")
    with pytest.raises(Unauthorised):
        tokens.who(token_hash(first))
    with pytest.raises(InvalidSubmission, match="started again"):
        tokens.revoke("operator")
    with pytest.raises(InvalidSubmission, match="no token of 'joe'"):
        tokens.revoke("joe")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"x": {"name": "a", "role": "king"}})])
def test_a_damaged_file_is_the_operators_to_mend(tmp_path, text):
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(Misconfigured, match="damaged"):
        TokenStore(tmp_path).who(token_hash("x"))
