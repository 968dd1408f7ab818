"""Where the pages of a transcript begin, and which steps are on them."""

import json

from aarlab.web.transcript_pages import TranscriptPages


def test_transcript_pages_number_lines_and_show_a_block_that_is_printed_again_once(tmp_path):
    def says(message: str, *texts: str) -> str:
        blocks = [{"type": "text", "text": text} for text in texts]
        return event("assistant", {"id": message, "content": blocks})

    path, part = tmp_path / "1.jsonl", '{"type":"stream_event","event":{}}\n'
    rows = [says(f"m{n}", f"text {n}") for n in range(1, 100)]
    path.write_text(
        "".join(part + row for row in [*rows, says("m", "a", "b"), says("m", "a", "c")])
    )
    pages = TranscriptPages()
    first, last = pages.page(path, 1), pages.page(path, None)
    assert [number for number, _ in first.steps[-3:]] == ["99", "100", "100.2"]
    assert [(number, step.text) for number, step in last.steps] == [("101", "c")]
    assert (last.page, last.pages, last.lines) == (2, 2, 101)
    with path.open("a") as file:
        file.write(says("new", "d"))
    assert [step.text for _, step in pages.page(path, None).steps] == ["c", "d"], "it has grown"
    path.rename(tmp_path / "1.1.jsonl")  # a part was put aside
    path.write_text(says("later", "e"))
    assert [step.text for _, step in pages.page(path, 2).steps] == ["c", "d", "e"]


def event(kind: str, message: dict) -> str:
    return json.dumps({"type": kind, "message": message}) + "\n"
