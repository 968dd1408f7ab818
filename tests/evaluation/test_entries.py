"""Bodies of entries as records: what old ledgers hold is read, and what is written stays as it is,
byte for byte."""

import json
import sqlite3
from contextlib import closing

import pytest

from aarlab.core.entries import (
    BODIES,
    CodeBody,
    EventBody,
    FindingBody,
    Flag,
    MeterNote,
    OutcomeBody,
    RequestBody,
    SpendBody,
    SubmissionBody,
    UnreleasedAnswer,
)
from aarlab.core.errors import Misconfigured
from aarlab.core.own_code import Build
from aarlab.core.records import Entry, EntryKind, Family
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.chain import LedgerRow
from tests.fleet.fleets import confirmation, submission
from tests.golden.golden_archive import unpack

RECEIPT = SubmissionBody.model_validate_json(
    json.dumps(submission(1, improved=True, level=0.4))
).receipt
RECEIPT_TEXT = (
    '{"certified_accuracy": null, "certified_pgr": null, "combined": false, '
    '"diagnostics": {"class_share": 0.5, '
    '"nearest_earlier": null, '
    '"noise_accuracy": 0.05, "noise_pgr": null, "seed_disagreement": 0.1, "warnings": []}, '
    '"family": "ensemble", '
    '"id": "r-000001", "improved": true, "level_accuracy": 0.6, "level_pgr": 0.4, "meaning": null, '
    '"next_step_accuracy": 0.9, "next_step_pgr": null, "price_of_next_yes_bits": 3.5, '
    '"provisional": true, '
    '"released": {"bits": 41.25, "cap_bits": 140.0, "independent_labels": null, '
    '"inflation_bound": 0.11, '
    '"inflation_bound_at_cap": null, "inflation_bound_at_cap_pgr": null, "inflation_bound_pgr": '
    "null, "
    '"share_of_labels": 0.033, "verdict_bits": null}, "repeated": false, "snapshot": "s", "tier": '
    '"open"}'
)
WRITTEN = (
    (
        CodeBody(snapshot="s", family=Family.OTHER, bytes=9),
        '{"bytes": 9, "family": "other", "snapshot": "s"}',
    ),
    (
        SubmissionBody(
            snapshot="s",
            family=Family.OTHER,
            predictions="p",
            receipt=RECEIPT,
            exact_accuracy=0.75,
            exact_pgr=None,
            meter=MeterNote(answers=2, head="h", independent=300, scales=((0.6, 0.9),)),
        ),
        '{"exact_accuracy": 0.75, "exact_pgr": null, "family": "other", "meter": {"answers": 2, '
        '"head": "h", "independent": 300, "scales": [[0.6, 0.9]]}, "predictions": "p", '
        '"receipt": ' + RECEIPT_TEXT + ', "snapshot": "s"}',
    ),
    (
        MeterNote(answers=2, head="h", independent=300, scales=(), level=0.5, bits=1.5, mass=0.25),
        '{"answers": 2, "bits": 1.5, "head": "h", "independent": 300, "level": 0.5, "mass": 0.25, '
        '"scales": []}',
    ),
    (
        FindingBody(
            kind="result",
            title="t",
            text="x",
            family=Family.OTHER,
            receipts=("r-000001",),
            snapshot=None,
            parent=None,
        ),
        '{"family": "other", "kind": "result", "parent": null, "receipts": ["r-000001"], '
        '"snapshot": null, "text": "x", "title": "t"}',
    ),
    (
        Flag(
            detector="d",
            submitter="ann",
            episode="e",
            receipts=(),
            evidence="w",
            figures={},
            items=(),
            uses_labels=False,
        ),
        '{"detector": "d", "episode": "e", "evidence": "w", "figures": {}, "items": [], '
        '"receipts": [], "submitter": "ann", "uses_labels": false}',
    ),
    (RequestBody(snapshot="s", family=Family.OTHER), '{"family": "other", "snapshot": "s"}'),
    (
        OutcomeBody(ticket="q-000001", state="done", receipt=RECEIPT, failure=None, log=None),
        '{"failure": null, "log": null, "receipt": '
        + RECEIPT_TEXT
        + ', "state": "done", "ticket": "q-000001"}',
    ),
    (
        OutcomeBody(ticket="q-000001", state="failed", receipt=None, failure="timed out", log="l"),
        '{"failure": "timed out", "log": "l", "receipt": null, "state": "failed", "ticket": '
        '"q-000001"}',
    ),
    (EventBody(event="finished"), '{"event": "finished"}'),
    (
        EventBody(event="server started", build=Build(version="1", commit=None, source="x")),
        '{"build": {"commit": null, "source": "x", "version": "1"}, "event": "server started"}',
    ),
    (
        EventBody(
            event="recovered",
            untold=("q",),
            meter={
                "q": UnreleasedAnswer(
                    answers=1, who="ann", improved=True, level=0.5, bits=1.5, mass=0.25
                )
            },
        ),
        '{"event": "recovered", "meter": {"q": {"answers": 1, "bits": 1.5, "improved": true, '
        '"level": 0.5, "mass": 0.25, "who": "ann"}}, "untold": ["q"]}',
    ),
    (
        EventBody(event="could not be run", detail="d", snapshot="s", researcher="ann", id="t"),
        '{"detail": "d", "event": "could not be run", "id": "t", "researcher": "ann", "snapshot": '
        '"s"}',
    ),
)


def entry(kind: EntryKind, text: str) -> Entry:
    return Entry(7, "2026-01-01T00:00:00+00:00", "ann", kind, text, "", "")


@pytest.mark.parametrize(("body", "text"), WRITTEN)
def test_a_body_is_written_byte_for_byte_as_ledgers_hold_it(body, text):
    assert json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True) == text
    assert type(body).model_validate_json(text).model_dump(mode="json") == body.model_dump(
        mode="json"
    )


def test_a_confirmation_is_written_as_it_is_read():
    body = confirmation("s", "ann", verdict="confirmed")
    assert entry("confirmation", json.dumps(body)).read(BODIES["confirmation"]).plain() == body


def old_entries(tmp_path):
    unpack(tmp_path)
    with closing(
        sqlite3.connect(tmp_path / "campaigns" / "golden" / "server" / "ledger.sqlite")
    ) as raw:
        return [LedgerRow(*row).entry for row in raw.execute("SELECT * FROM entries ORDER BY seq")]


def test_every_entry_of_an_old_ledger_is_read_and_says_the_same_when_it_is_written_again(tmp_path):
    kinds = set()
    for old in old_entries(tmp_path):
        again, was = old.read(BODIES[old.kind]).plain(), json.loads(old.text)
        # new receipts say more, and one figure of old ones is reported no more
        if old.kind == "submission":
            receipt, had = again.pop("receipt"), was.pop("receipt")
            assert had["diagnostics"].pop("weak_agreement") is not None
            for name, value in had.items():
                held = (
                    receipt[name]
                    if not isinstance(value, dict)
                    else {n: receipt[name][n] for n in value}
                )
                assert held == value
        assert again == was
        kinds.add(old.kind)
    assert kinds == {
        "campaign",
        "researcher",
        "code",
        "submission",
        "finding",
        "spend",
        "confirmation",
        "flag",
    }


def test_a_field_that_this_version_does_not_know_is_named_with_what_to_do():
    with pytest.raises(
        Misconfigured,
        match=r"Entry 7 of the ledger, a code, .*colour: unknown field.*aar ledger verify",
    ):
        entry("code", '{"bytes": 1, "family": "other", "snapshot": "s", "colour": 1}').read(
            CodeBody
        )
    with pytest.raises(Misconfigured, match="bytes"):
        entry("code", '{"bytes": "1", "family": "other", "snapshot": "s"}').read(CodeBody)


def test_an_entry_is_not_read_as_another_kind():
    with pytest.raises(TypeError, match="entry 7 is a code, which is no SpendBody"):
        entry("code", "{}").read(SpendBody)


def test_there_is_one_record_for_each_kind_of_entry():
    assert set(BODIES) == set(EntryKind.__args__)


def test_a_flag_of_before_there_were_episodes_has_a_key_too():
    old = entry(
        "flag", '{"detector": "d", "submitter": "s", "receipts": [], "evidence": {"a": 1}}'
    ).read(Flag)
    assert old.key == ("d", "s", "")
    assert old.uses_labels  # not known: then it is the operator's alone


def test_a_spend_knows_whether_the_processor_was_measured():
    assert not entry("spend", '{"wall_s": 1.0}').read(SpendBody).measured
    assert entry("spend", '{"wall_s": 1.0, "cpu_s": 0.0}').read(SpendBody).measured


def test_hidden_and_told_part_are_one_body():
    row = LedgerRow(1, "t", "ann", "code", '{"a": 1}', "", "", '{"b": 2}', "5a" * 32)
    assert row.entry.body == {"a": 1, "b": 2}
    assert row._replace(body="{}").entry.body == {"b": 2}
    assert row._replace(hidden="{}").entry.body == {"a": 1}
    assert row._replace(body="{}", hidden=None).entry.body == {}


def test_an_entry_that_cannot_be_read_is_a_fault_of_the_record(bed, tmp_path):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        evaluator.ledger.append("finding", "eve", {"title": "and nothing else"})
    files = Files(tmp_path / "campaign", bed.folder)
    faults = audit(files, load_key(files.key)).faults
    assert any("Entry 1 of the ledger, a finding, cannot be read" in fault for fault in faults)
