"""Campaigns for other tools: what goes into Weights & Biases, Trackio and Inspect, with the real
libraries where they are installed, and no exact score."""

import importlib.util
import json
import re
import sqlite3
import struct
import sys

import pytest

import aarlab
from aarlab.core.errors import Misconfigured
from aarlab.programs.inspect_log import to_inspect
from aarlab.programs.series import points, settings_of
from aarlab.programs.trackers import to_trackio, to_wandb
from tests.fleet.fleets import HOSTILE, campaign_folder, confirmation
from tests.web.scenes import golden, ledger_of

BLOCK = 32_768
EXACT = ("0.87654", "0.76543")
EXPORTS = {"wandb": to_wandb, "trackio": to_trackio, "inspect": to_inspect}
LIBRARIES = {"wandb": "wandb", "trackio": "trackio", "inspect": "inspect_ai"}


def there(name: str) -> bool:
    return importlib.util.find_spec(LIBRARIES[name]) is not None


def real(name: str):
    """A test with that library itself."""
    reason = f"{LIBRARIES[name]} is not installed here: make test-sinks"
    return [pytest.mark.sinks, pytest.mark.skipif(not there(name), reason=reason)]


def needs(name: str):
    def marked(test):
        for mark in (*real(name), pytest.mark.process):
            test = mark(test)
        return test

    return marked


@pytest.fixture
def reader(tmp_path):
    """Two reported improvements, spends, a verdict, and a transcript of two incarnations."""
    folder = campaign_folder(tmp_path / "campaigns")
    ledger = ledger_of(tmp_path)
    ledger.append(
        "confirmation", "evaluator", confirmation("s", "researcher-1", verdict="confirmed")
    )
    ledger.close()
    home = folder / "transcripts" / "researcher-1"
    home.mkdir(parents=True)
    used = {"type": "tool_use", "name": "Bash", "input": {"command": "python method.py"}}
    blocks = [{"type": "text", "text": f"It works. {HOSTILE}"}, used]
    rows = [
        {"type": "assistant", "message": {"content": blocks}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": "0.42"}]}},
    ]
    for n in (1, 2):
        (home / f"00{n}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return aarlab.open(folder)


def test_points_are_what_was_reported_and_spent_in_order(reader):
    found = list(points(reader))
    assert [point.entry for point in found] == sorted(point.entry for point in found)
    assert [p.values.get("reported_level_pgr") for p in found[:3]] == [0.31, 0.31, 0.42]
    assert found[2].values["researcher-1/reported_level_pgr"] == 0.42
    assert found[2].values["improvements"] == 2
    assert found[4].values["known_usd"] == 1.25
    assert found[4].values["researcher_hours"] == 0.5
    assert found[-1].values["confirmed_accuracy"] == 0.5
    assert not [value for value in EXACT if value[:5] in repr(found)]


def test_settings_name_no_path_of_the_operator(reader):
    mine = reader.settings.model_copy(update={"problem": "mine/kept.jsonl", "directions": "/x/y"})
    reader.settings = mine
    found = settings_of(reader)
    assert found["problem"] == "a file"
    assert "/" not in re.sub("https?://", "", json.dumps(found))
    assert json.loads(json.dumps(found)) == found


@pytest.mark.process
@pytest.mark.parametrize("name", EXPORTS)
def test_a_library_that_is_missing_is_named_and_nothing_is_left(reader, tmp_path, name):
    if there(name):
        pytest.skip(f"{LIBRARIES[name]} is installed")
    with pytest.raises(Misconfigured, match=rf"pip install 'aarlab\[{name}\]'"):
        EXPORTS[name](reader, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs("wandb")
def test_an_offline_run_of_wandb_has_the_points(reader, tmp_path):
    said = to_wandb(reader, tmp_path / "out")
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*/*.wandb")
    assert "wandb sync" in said
    history, config = _records(run)
    assert [row["reported_level_pgr"] for row in history if "reported_level_pgr" in row] == [
        *("0.31", "0.31", "0.42")
    ]
    assert config["problem"] == '"small-chat"'
    _holds_nothing_exact(tmp_path / "out")


def _records(path):
    """The rows of history, and the settings, of a run: records of its wire format, in a log of
    LevelDB's format behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, whole, history, config = path.read_bytes(), 7, b"", [], {}
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # the rest of a block is empty
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            items = record.history.item
            history += [{i.key or i.nested_key[0]: i.value_json for i in items}] if items else []
            config |= {u.key: u.value_json for u in record.run.config.update}
            whole = b""
    return history, config


@needs("trackio")
def test_a_project_of_trackio_has_the_points(reader, tmp_path):
    to_trackio(reader, tmp_path / "out")
    with sqlite3.connect(tmp_path / "out" / "aarlab.db") as base:
        rows = base.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    base.close()
    found = [json.loads(metrics) for _, metrics in rows]
    assert [r["reported_level_pgr"] for r in found if "reported_level_pgr" in r] == [
        *(0.31, 0.31, 0.42)
    ]
    assert [step for step, _ in rows] == [point.entry for point in points(reader)]
    _holds_nothing_exact(tmp_path / "out")


@needs("inspect")
def test_inspect_reads_its_log_of_a_transcript(reader, tmp_path):
    from inspect_ai.log import list_eval_logs, read_eval_log

    (path,) = to_inspect(reader, tmp_path / "out")
    assert len(list_eval_logs(str(tmp_path / "out"))) == 1
    log = read_eval_log(str(path))
    assert (log.status, log.eval.task) == ("success", "small/researcher-1")
    assert [sample.id for sample in log.samples] == [1, 2]
    says, calls, gets = log.samples[0].messages
    assert (says.role, says.text.startswith("It works.")) == ("assistant", True)
    assert "\x1b" not in says.text
    assert calls.tool_calls[0].function == "Bash"
    assert calls.tool_calls[0].arguments == {"given": "python method.py"}
    assert (gets.role, gets.text, gets.tool_call_id) == ("tool", "0.42", calls.tool_calls[0].id)
    assert log.eval.metadata["reported_level_pgr"] == 0.42
    assert not [value for value in EXACT if value[:5] in log.model_dump_json()]


def _holds_nothing_exact(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert not [value for value in EXACT if value[:5].encode() in content], path


@needs("inspect")
def test_a_campaign_of_version_0_1_0_is_a_log_too(tmp_path):
    golden(tmp_path).pages.close()
    reader = aarlab.open(tmp_path / "campaigns" / "golden")
    assert len(to_inspect(reader, tmp_path / "out")) == len(
        list((tmp_path / "campaigns" / "golden" / "transcripts").glob("*"))
    )
    assert "inspect_ai" in sys.modules


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_there_is_not_written_over(reader, tmp_path, name):
    if not there(name) and name != "trackio":
        pytest.skip(f"{LIBRARIES[name]} is not installed here: make test-sinks")
    (tmp_path / "out").mkdir()
    with pytest.raises(Misconfigured, match="is there already"):
        EXPORTS[name](reader, tmp_path / "out")
