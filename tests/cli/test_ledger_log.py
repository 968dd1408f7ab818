"""`aar ledger log`: every kind of entry in words, nothing that harms a terminal."""

import pytest
from typer.testing import CliRunner

from aarlab.cli.ledger_command import app
from aarlab.core.errors import Misconfigured
from aarlab.evaluation.ledger.ledger import Ledger
from tests.fleet.fleets import call, confirmation, submission

ENTRIES = (
    ("researcher", "ann", {"event": "running", "incarnation": 2}, "running (incarnation 2)"),
    (
        "campaign",
        "operator",
        {"event": "server is down", "detail": "no room"},
        "server is down no room",
    ),
    ("code", "ann", {"snapshot": "ab" * 32, "family": "other", "bytes": 9}, "ab" * 32),
    (
        "submission",
        "ann",
        submission(1, improved=True, level=0.5),
        "r-000001 ensemble: improved (passed the next step), level PGR 0.50",
    ),
    (
        "finding",
        "ann",
        {"kind": "result", "family": "other", "title": "red \x1b[31malert", "text": ""},
        "f-000005 result, other: red alert",
    ),
    (
        "flag",
        "evaluator",
        {"detector": "chains", "submitter": "ann", "receipts": [], "evidence": "e"},
        "chains: ann",
    ),
    (
        "confirmation",
        "evaluator",
        confirmation("cd" * 32, "ann", verdict="confirmed"),
        "cdcdcdcdcdcd confirmed",
    ),
    ("spend", "ann", {"usd": 0.25, "call": call("m")}, "m $0.2500"),
    ("spend", "bob", {"usd": None, "wall_s": 2.0}, "2.0 s, no price"),
)


@pytest.fixture
def campaign(tmp_path):
    (tmp_path / "server").mkdir()
    ledger = Ledger(tmp_path / "server" / "ledger.sqlite")
    for kind, who, body, _ in ENTRIES:
        ledger.append(kind, who, body)
    ledger.close()
    return tmp_path


def test_every_kind_of_entry_has_a_line(campaign):
    lines = CliRunner().invoke(app, ["log", str(campaign), "--spends"]).output.splitlines()
    assert len(lines) == len(ENTRIES)
    for line, (kind, who, _, words) in zip(lines, ENTRIES, strict=True):
        assert line.endswith(f"{who} {kind} {words}")
        assert "\x1b" not in line


def test_spends_are_left_out_and_one_researcher_picked(campaign):
    lines = CliRunner().invoke(app, ["log", str(campaign), "--who", "ann"]).output.splitlines()
    assert len(lines) == 4


def test_a_campaign_that_is_not_there_is_the_operators_to_name(tmp_path):
    assert isinstance(CliRunner().invoke(app, ["log", str(tmp_path)]).exception, Misconfigured)
