"""What one researcher may store is limited, and told before the limit is met."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aarlab.core import quotas
from aarlab.core.callers import token_hash
from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.handlers import Handlers
from aarlab.evaluation.identity import TokenStore
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.redteam.system import write_problem

CODE = {"family": "other", "bytes": 1_000}
FINDING = {"kind": "insight", "title": "tä", "text": "x" * 97, "family": "other"}


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.sqlite")
    yield made
    made.close()


def test_code_counts_once_and_each_entry_counts(ledger):
    board = Board(ledger)
    ledger.append("code", "ann", CODE | {"snapshot": "a"})
    ledger.append("code", "bob", CODE | {"snapshot": "a"})
    ledger.append("code", "bob", CODE | {"snapshot": "b"})
    ledger.append("finding", "bob", FINDING)
    for seen in (board, Board(ledger)):
        assert seen.stored("ann").code == 1_000 + quotas.ENTRY_BYTES
        assert seen.stored("bob").code == 1_000 + 2 * quotas.ENTRY_BYTES
        assert seen.stored("bob").findings == 100 + quotas.ENTRY_BYTES
        assert seen.stored("eve").findings_left == quotas.FINDING_BYTES


def test_what_fits_exactly_is_taken_and_a_byte_more_is_not_and_others_go_on(ledger, monkeypatch):
    monkeypatch.setattr(quotas, "CODE_BYTES", 3_000)
    monkeypatch.setattr(quotas, "FINDING_BYTES", 1_000)
    board = Board(ledger)
    ledger.append("code", "ann", CODE | {"snapshot": "a"})
    left = board.stored("ann").code_left
    assert left == 3_000 - 1_000 - quotas.ENTRY_BYTES
    board.require_room_for_code("ann", "b", left - quotas.ENTRY_BYTES)
    board.require_room_for_code("ann", "a", 10**9)  # it is here
    with pytest.raises(InvalidSubmission, match="3,000 bytes of code has 1,488 bytes left"):
        board.require_room_for_code("ann", "b", left - quotas.ENTRY_BYTES + 1)
    board.require_room_for_code("bob", "b", 2_000)
    board.stored("ann").require_room(findings=1_000)
    with pytest.raises(InvalidSubmission, match="bytes of findings has 1,000 bytes left"):
        board.stored("ann").require_room(findings=1_001)


def test_many_at_once_get_no_more_than_one_after_the_other(tmp_path, monkeypatch):
    """Each would find room, or nothing of its kind, if it looked before the others recorded."""
    monkeypatch.setattr(quotas, "FINDING_BYTES", 1_400)
    problem = write_problem(tmp_path / "problem", np.arange(40) % 2 == 1)
    with Evaluator(problem, tmp_path / "campaign") as evaluator:
        tokens = TokenStore(evaluator.folder)
        token, handlers = token_hash(tokens.issue("ann", "researcher")), Handlers(evaluator, tokens)
        together, append = threading.Barrier(4), evaluator.ledger.append

        def slow(*given):
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(0.2)
            return append(*given)

        def share(text):
            body = json.dumps(FINDING | {"text": text, "receipts": []}).encode()
            try:
                return handlers.do("share_finding", token, {}, body).id
            except InvalidSubmission as error:
                return str(error)

        monkeypatch.setattr(evaluator.ledger, "append", slow)
        with ThreadPoolExecutor(4) as pool:
            same = set(pool.map(share, ["x"] * 4))
            others = list(pool.map(share, "abcd"))
    assert len(same) == 1, "the same again is the one that was posted"
    assert sum("quota" in one for one in others) == 3, "there was room for one"
