"""Large requests are read in another process, as they would be read here."""

import asyncio
import io
import json

import pytest

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.gateway import body_reader
from aarlab.gateway.allowed_requests import read_ask
from aarlab.gateway.body_reader import BodyReader, serve

ASK = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 300_000}]}
LARGE = json.dumps(ASK).encode()


def test_it_answers_each_request_in_turn_and_ends_with_its_input():
    lines = b""
    for path in ("/v1/messages", "/v1/none"):
        asked = {"size": len(LARGE), "path": path, "query": "beta=true"}
        lines += json.dumps(asked).encode() + b"\n" + LARGE
    serve(io.BytesIO(lines), back := io.BytesIO())
    head, _, rest = back.getvalue().partition(b"\n")
    read = read_ask("/v1/messages", b"beta=true", LARGE)
    size, fields = json.loads(head)["size"], json.loads(head)["ask"]
    assert read is not None
    assert (rest[:size], fields["most_input"]) == (read.body, read.most_input)
    assert json.loads(rest[size:]) == {"size": 0, "ask": None}


@pytest.mark.process
def test_what_it_reads_is_what_is_read_here_and_one_that_ends_is_started_again():
    async def main() -> None:
        reader = BodyReader()
        try:
            for _ in range(2):
                read = await reader.read("/v1/messages", b"", LARGE)
                assert read == read_ask("/v1/messages", b"", LARGE)
            unknown = json.dumps(ASK | {"of_tomorrow": True}).encode()
            with pytest.raises(InvalidSubmission, match="'of_tomorrow' is not allowed here"):
                await reader.read("/v1/messages", b"", unknown)
            with pytest.raises(InvalidSubmission) as refused:
                await reader.read("/v1/messages", b"", b'{"messages": [' + b"1," * 300_000 + b"1]}")
            assert refused.value.facts["status"] == 413
            assert await reader.read("/v1/none", b"", LARGE) is None
            assert reader._process is not None
            reader._process.kill()
            await reader._process.wait()
            assert await reader.read("/v1/messages", b"", LARGE) == read
            reading = asyncio.create_task(reader.read("/v1/messages", b"", LARGE))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            assert await reader.read("/v1/messages", b"", LARGE) == read, "not the one before"
        finally:
            await reader.close()

    asyncio.run(main())


@pytest.mark.process
def test_a_reader_that_cannot_be_started_is_tried_again(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(Transient, match="Send it again"):
        asyncio.run(BodyReader().read("/v1/messages", b"", LARGE))


@pytest.mark.process
def test_a_reader_that_hangs_is_ended(monkeypatch, tmp_path):
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(sleeper))
    monkeypatch.setattr(body_reader, "READ_S", 0.2)
    reader = BodyReader()
    with pytest.raises(Transient, match="Send it again"):
        asyncio.run(reader.read("/v1/messages", b"", LARGE))
    assert reader._process is None
