"""Transcripts read as steps: what the real Claude Code CLI printed (recorded), plain text, whatever
else may stand there."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.fleet import transcripts
from aarlab.fleet.transcripts import (
    STEP_CHARACTERS,
    Parser,
    Step,
    TranscriptReader,
    last_action,
    lines,
    steps_of,
    transcript_paths,
)

# version 2.1.331, --include-partial-messages, one 429 among it
RECORDED = Path(__file__).with_name("claude_code.jsonl")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)
TYPES = st.sampled_from(["assistant", "user", "system", "result", "stream_event", "x"])


def said(*blocks, message: str = "m1", role: str = "assistant") -> bytes:
    return json.dumps({"type": role, "message": {"id": message, "content": list(blocks)}}).encode()


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def test_what_the_real_cli_printed_is_read_step_by_step():
    steps = [(s.kind, s.words) for s in steps_of(RECORDED)]
    assert steps == [
        ("begins", steps[0][1]),
        ("says", "says: I look at the data first."),
        ("calls", "Bash: echo hello; printf '\\033]0;x\\007red'"),
        ("gets", "gets: hello red"),
        ("waits", "waits for the model: 429, attempt 1, again in 532 ms"),
        ("calls", "Read: /nonexistent/file"),
        (
            "fails",
            "fails: File does not exist. Note: your current working directory is /home/researcher.",
        ),
        ("says", "says: Nothing there. Done."),
        ("ends", "ends: completed: Nothing there. Done."),
    ]
    assert "claude-opus-4-6" in steps[0][1]
    assert "aar connected" in steps[0][1]
    assert [s.at for s in steps_of(RECORDED) if s.kind == "calls"] == [
        "2026-11-24T17:18:54.983Z",
        "2026-11-24T17:18:55.647Z",
    ]


def test_what_codex_gemini_and_opencode_printed_is_read_as_claudes_is():
    """Codex 0.171.0, Gemini 0.61.0 and OpenCode 1.18.33, a session cut to its beginning and end."""
    for name, shell in (("codex", None), ("gemini", "run_shell_command"), ("opencode", "bash")):
        steps = list(steps_of(RECORDED.with_name(f"{name}.jsonl")))
        found = [(s.kind, s.words) for s in steps if s.kind != "begins"]
        found = [one for one in found if "Model metadata" not in one[1]]  # Codex's warning
        assert ("says", "says: I look at what the others have found.") in found, name
        assert ("calls", 'list_findings: {"limit": 5}') in found, name
        assert ("calls", "my_budget") in found, name
        assert ("gets", "gets: No findings.") in found, name
        if shell:
            assert any(words.startswith(f"{shell}: mkdir") for _, words in found), name
        assert found[-1] == ("ends", "ends: completed"), name
        assert not any(kind in ("prints", "fails") for kind, _ in found), name


@pytest.mark.parametrize(
    ("event", "step"),
    [
        (
            {"type": "error", "message": "Reconnecting... 1/5 (402)"},
            ("waits", "Reconnecting... 1/5 (402)"),
        ),
        ({"type": "turn.failed", "error": {"message": "402"}}, ("fails", "fails: 402")),
        (
            {"type": "result", "status": "error", "error": {"message": "402"}},
            ("fails", "fails: 402"),
        ),
        (
            {"type": "error", "sessionID": "s", "error": {"data": {"message": "402"}}},
            ("fails", "fails: 402"),
        ),
        (
            {"type": "item.completed", "item": {"type": "file_change", "changes": [{"path": "a"}]}},
            ("calls", "edit: a"),
        ),
    ],
)
def test_how_other_agents_say_that_they_failed_or_waited(event, step):
    (found,) = Parser().steps(json.dumps(event).encode())
    assert (found.kind, found.words) == step


def test_the_last_action_after_every_line_of_the_real_cli(tmp_path):
    """As the supervisor sees it while the file grows."""
    path, found = tmp_path / "001.jsonl", []
    for line in RECORDED.read_bytes().splitlines(keepends=True):
        with path.open("ab") as file:
            file.write(line)
        words = last_action(path)[1]
        found += [words] if not found or found[-1] != words else []
    assert found == [
        "prints",  # it has begun
        "says: I look at the data first.",
        "Bash: echo hello; printf '\\033]0;x\\007red'",
        "waits for the model: 429, attempt 1, again in 532 ms",
        "Read: /nonexistent/file",
        "fails: File does not exist. Note: your current working directory is /home/researcher.",
        "says: Nothing there. Done.",
        "ends: completed: Nothing there. Done.",
    ]


def test_last_action_time_is_read_from_the_end_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "001.jsonl"
    assert last_action(path) is None
    path.write_bytes(b"")
    assert last_action(path) is None
    path.write_bytes(b"x" * 3_000_000 + b"\nstep 7\n")
    os.utime(path, (1000.5, 1000.5))
    assert last_action(path) == (1000.5, "step 7")
    monkeypatch.setattr(transcripts, "_last", None)  # an unchanged file is not read again
    assert last_action(path) == (1000.5, "step 7")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (b"", "prints a long line"),
        (b"\nstep 8", "step 8"),
        (b"\n" + said(text("done")), "says: done"),
        (b"\n" + said(text("done"))[:-9], None),  # cut off
    ],
)
def test_the_last_action_of_odd_files(tmp_path, monkeypatch, end, words):
    monkeypatch.setattr(transcripts, "_TAIL_BYTES", (100, 1000))
    path = tmp_path / "001.jsonl"
    path.write_bytes(b"\xff" * 5000 + end)
    assert last_action(path)[1] == words or (
        words is None and last_action(path)[1].startswith('{"type"')
    )


def test_a_block_that_is_printed_again_is_one_step():
    parser = Parser()
    a, b = (
        text("first"),
        {"type": "tool_use", "name": "mcp__aar__submit_predictions", "input": {"path": "p.json"}},
    )
    printed = [
        parser.steps(line) for line in (said(a), said(a, b), said(a, b), said(a, message="m2"))
    ]
    assert [[s.words for s in steps] for steps in printed] == [
        ["says: first"],
        ["submit_predictions: p.json"],
        [],
        ["says: first"],  # another message says it again
    ]
    again = Parser(json.loads(json.dumps(parser.seen)))
    assert again.steps(said(a, b)) == [], "what was seen survives in the index"


def test_memory_of_messages_is_bounded():
    parser = Parser()
    for n in range(1000):
        parser.steps(said(text("x"), message=f"m{n}"))
        parser.steps(said(text(str(n))))
    assert len(parser.seen) == transcripts.MESSAGES
    assert max(map(len, parser.seen.values())) <= transcripts.BLOCKS


@pytest.mark.parametrize(
    ("event", "step"),
    [
        ({"type": "user", "message": {"content": "Begin."}}, Step("begins", "Begin.")),
        (
            {
                "type": "user",
                "message": {
                    "content": [{"type": "tool_result", "content": [text("a"), text("b")]}]
                },
            },
            Step("gets", "a\nb"),
        ),
        (
            {
                "type": "result",
                "subtype": "success",
                "is_error": True,
                "terminal_reason": "api_error",
                "result": "402",
            },
            Step("fails", "api_error: 402"),
        ),
        ({"type": "result", "subtype": "error_max_turns"}, Step("fails", "error_max_turns")),
        (
            {
                "type": "result",
                "subtype": "error_during_execution",
                "terminal_reason": "aborted_tools",
            },
            Step("ends", "aborted_tools"),
        ),
        (
            {"type": "system", "subtype": "model_fallback", "content": "to x"},
            Step("waits", "model_fallback: to x"),
        ),
        (
            {"type": "assistant", "message": {"content": [{"type": "thinking", "thinking": "hm"}]}},
            Step("thinks", "hm"),
        ),
        (
            {
                "type": "assistant",
                "message": {
                    "content": [{"type": "tool_use", "name": "mcp__aar__leaderboard", "input": {}}]
                },
            },
            Step("calls", "leaderboard"),
        ),
        ([1, 2], Step("prints", "[1, 2]")),
    ],
)
def test_other_events(event, step):
    assert Parser().steps(json.dumps(event).encode()) == [step]


@given(
    st.binary(max_size=300)
    | JSON.map(lambda x: json.dumps(x).encode())
    | st.builds(
        lambda kind, more: json.dumps(more | {"type": kind}).encode(),
        TYPES,
        st.dictionaries(
            st.sampled_from(["message", "subtype", "result", "timestamp", "mcp_servers"]), JSON
        ),
    )
    | st.builds(
        lambda role, blocks: json.dumps({"type": role, "message": {"content": blocks}}).encode(),
        TYPES,
        JSON,
    )
)
def test_no_line_breaks_the_parser_and_every_step_is_printable(line):
    for step in Parser().steps(line):
        assert all(
            c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"}
            for c in step.text + step.at + step.words
        )
        assert "\n" not in step.words


def test_long_texts_are_cut_and_say_so():
    step = Parser().steps(said(text("x" * (STEP_CHARACTERS + 5))))[0]
    assert step.text == "x" * STEP_CHARACTERS + "\n… 5 more characters"
    assert len(step.words) < 140


def test_lines_that_are_too_long_are_left_out_and_the_next_is_whole(monkeypatch):
    monkeypatch.setattr(transcripts, "LINE_BYTES", 10)
    file = io.BytesIO(b"short\n" + b"y" * 35 + b"\nnext\n" + b"z" * 9 + b"\ncut")
    assert list(lines(file, partial=False)) == [
        (b"short\n", 6),
        (b"[a line of 36 bytes is left out]", 42),
        (b"next\n", 47),
        (b"z" * 9 + b"\n", 57),
    ]
    file.seek(57)
    assert list(lines(file, partial=True)) == [(b"cut", 3)]


@pytest.mark.long
@settings(deadline=None)  # it writes files
@given(
    st.binary(max_size=400).map(lambda b: b.replace(b"\xff", b"\n")), st.lists(st.integers(0, 400))
)
def test_reading_in_pieces_is_reading_at_once(tmp_path_factory, data, cuts):
    path = tmp_path_factory.mktemp("t") / "001.jsonl"
    path.write_bytes(b"")
    reader, steps = TranscriptReader(path), []
    for cut in sorted({*cuts, len(data)}):
        path.write_bytes(data[:cut])
        steps += reader.new(whole=False, limit=3)
    while more := list(reader.new(whole=False, limit=3)):
        steps += more
    while reader.offset < len(data):
        steps += reader.new(whole=True)
    assert steps == list(steps_of(path))


@pytest.mark.parametrize("limit", [1, 3, None])
def test_an_incarnation_in_parts_is_read_as_one_while_it_is_put_aside(tmp_path, limit):
    path = tmp_path / "001.jsonl"
    reader, steps, rows = (
        TranscriptReader(path),
        [],
        [said(text(f"step {n}")) + b"\n" for n in range(40)],
    )
    for n, row in enumerate(rows):
        with path.open("ab") as file:
            file.write(row)
        if n % 4 == 1:
            steps += reader.new(whole=False, limit=limit)
        if n % 7 == 6:
            path.rename(tmp_path / f"001.{n // 7 + 1}.jsonl")
            path.touch()
    while more := list(reader.new(whole=True, limit=limit)):
        steps += more
    assert [s.text for s in steps] == [f"step {n}" for n in range(40)]
    assert list(steps_of(path)) == steps
    assert list(transcript_paths(tmp_path)) == [1]


def test_incarnations_are_in_order_and_other_files_are_none(tmp_path):
    for name in ("010.jsonl", "002.jsonl", "x.jsonl", "003.txt", "²a.jsonl"):
        (tmp_path / name).touch()
    assert [(n, p.name) for n, p in transcript_paths(tmp_path).items()] == [
        (2, "002.jsonl"),
        (10, "010.jsonl"),
    ]


@pytest.mark.process
def test_a_hundred_megabytes_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "001.jsonl"
    with path.open("wb") as file:
        file.write(b"\x00\xff\x1b" * (20 << 20) + b"\n")
        part = b'{"type":"stream_event","event":"' + b"d" * 200 + b'"}\n'
        for _ in range(4):
            file.write(part * (10 << 20 >> 8))
        file.write(said(text("the end")) + b"\n")
    code = (
        "import resource, sys; from pathlib import Path; from aarlab.fleet.transcripts import "
        "steps_of\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); last = None; n = 0\n"
        "for last in steps_of(Path(sys.argv[1])): n += 1\n"
        "print(peak() - before, n, last.words)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    grown_kib, count, words = done.stdout.split(maxsplit=2)
    assert int(grown_kib) < 64 << 10
    assert (count, words.strip()) == ("2", "says: the end")
