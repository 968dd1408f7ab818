"""What code inside a sandbox, or an unlucky operator, may do to a fleet: it ends no other researcher and hides no spending."""

import json

import pytest

from aarlab.fleet import transcripts
from aarlab.fleet.transcripts import Parser, last_action
from aarlab.researchers.claude_code import ClaudeCode
from aarlab.researchers.researcher import Options
from tests.fleet.programs import Program, events, quicken, run_fleet

ODD = (5, True, "x", {"a": 1}, [5], [[1]], 1e400, float("nan"), None, "\ud800", 10**400)
FIELDS = (
    "mcp_servers",
    "model",
    "subtype",
    "api_error_status",
    "terminal_reason",
    "result",
    "is_error",
    "timestamp",
    "message",
)


@pytest.mark.parametrize("kind", ["system", "result", "assistant", "user"])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_no_line_that_a_researcher_prints_is_an_error_of_ours(tmp_path, kind, field, value):
    line = json.dumps({"type": kind, "subtype": "init", field: value})
    (tmp_path / "001.jsonl").write_text(line + "\n")
    assert last_action(tmp_path / "001.jsonl")[1].encode(), "it can be written to a file and a terminal"
    assert ClaudeCode(Options()).ended(0, line) in {"crashed", "again", "outage", "spent"}
    blocks = [{"type": t, "text": value, "name": value, "input": value, "content": value} for t in ("text", "tool_use")]
    said = json.dumps({"type": kind, "message": {"id": "m", "content": [*blocks, {"type": "tool_result", "content": value}]}})
    assert all(step.text.encode() is not None for step in Parser().steps(said.encode()))


def test_looking_for_the_last_action_reads_few_lines_however_many_say_nothing(tmp_path, monkeypatch):
    read = []
    real = Parser.steps
    monkeypatch.setattr(Parser, "steps", lambda self, line: read.append(line) or real(self, line))
    (tmp_path / "001.jsonl").write_bytes(b'{"type":"a"}\n' * 1_000_000)
    assert last_action(tmp_path / "001.jsonl")[1] == "prints a long line"
    assert 0 < len(read) <= 2 * transcripts._TAIL_LINES


def test_a_line_that_one_prints_does_not_end_the_fleet(bed, tmp_path, monkeypatch):
    quicken(monkeypatch)
    code = 'import json; print(json.dumps({"type": "system", "subtype": "init", "mcp_servers": 5}), flush=True)'
    why, entries = run_fleet(bed, tmp_path / "campaign", Program(code, ClaudeCode(Options()).ended), seconds=60, researchers=1)
    assert why == "all have ended"
    assert events(entries)[-2:] == ["ended: crashed", "gave up"]
