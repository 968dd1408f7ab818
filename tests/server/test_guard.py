"""Bodies: counted as they come, not too deep, no number that JSON does not know. The guard as ASGI, its clients by hand."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.server import guard
from aarlab.server.guard import MAX_BODY, Guard, check_json
from aarlab.server.identity import CALLER, Tokens
from aarlab.server.lanes import Lanes

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSONS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=60
)


def depth_of(value: object) -> int:
    """An empty list or object nests nothing."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner)) if inner else 0


@given(JSONS, st.integers(0, 300), st.booleans())
def test_what_nests_up_to_two_hundred_deep_passes(value, extra, ascii_only):
    for _ in range(extra):
        value = [value, "[[[{"]
    body = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    if depth_of(value) > 200:
        with pytest.raises(InvalidSubmission, match="nested"):
            check_json(body)
    elif "\\ud" not in json.dumps(value):  # half a character is no text
        check_json(body)


@pytest.mark.parametrize("body", [b'{"a": NaN}', b"[Infinity]", b"[-Infinity]", b"NaN", b'{"NaN": NaN}'])
def test_numbers_that_json_does_not_know_are_refused(body):
    with pytest.raises(InvalidSubmission, match="NaN"):
        check_json(body)


@pytest.mark.parametrize("body", [b"", b'{"a": "NaN"}', b'["Infinity and beyond"]', b"[1e5, -2.5]"])
def test_words_are_not_numbers(body):
    check_json(body)


@pytest.mark.parametrize(
    "body", [b"[" * 4_000_000, b'{"' * 2_000_000, b"[" * 101 + b'"\\' * 2_000_000, b"]" * 200 + b"[" * 200]
)
def test_what_is_no_json_is_refused_in_one_pass(body):
    """A scanner that begins again at every quotation mark would not end within the test's time."""
    with pytest.raises(InvalidSubmission, match="no JSON"):
        check_json(body)


# --- the guard around an application that answers what it got ---------------------------------------------------------


class Echo:
    """Answers the size of the body and who sent it; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        message = await receive()
        assert not message["more_body"]
        body = f"{len(message['body'])} {CALLER.get().name}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def ask(tmp_path, chunks, *, headers=(), endless=False):
    """Status and body of one request whose body comes in chunks; with `endless` the last one never comes."""
    tokens, echo, said = Tokens(tmp_path), Echo(), []
    token = tokens.issue("ann", "researcher")
    if ("authorization", None) not in headers:
        headers = [("authorization", f"Bearer {token}"), *headers]
    given = [(name.encode(), value.encode()) for name, value in headers if value is not None]
    left = list(chunks)
    read = [0]

    async def receive():
        if not left and endless:
            await asyncio.Event().wait()
        read[0] += 1
        chunk = left.pop(0) if left else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or endless}

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": given}
    asyncio.run(Guard(echo, tokens, Lanes())(scope, receive, send))
    return said[0]["status"], b"".join(m.get("body", b"") for m in said), echo.asked, read[0]


def test_a_body_in_chunks_arrives_whole(tmp_path):
    assert ask(tmp_path, [b"[1,", b"2]"])[:3] == (200, b"5 ann", 1)


def test_a_body_without_a_length_is_counted_as_it_comes(tmp_path):
    status, body, asked, read = ask(tmp_path, [b"x" * (1 << 20)] * 100)
    assert (status, asked) == (413, 0)
    assert f"{MAX_BODY} bytes".encode() in body
    assert read == MAX_BODY // (1 << 20) + 1  # the rest was not even looked at


@pytest.mark.parametrize("stated", [str(MAX_BODY + 1), "-1", "many", "1e3"])
def test_a_stated_length_is_believed_only_to_refuse(tmp_path, stated):
    status, _, asked, read = ask(tmp_path, [b"{}"], headers=[("content-length", stated)])
    assert (status, asked, read) == (413, 0, 0)


def test_a_slow_body_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "BODY_S", 0.05)
    status, body, asked, _ = ask(tmp_path, [b"{"], endless=True)
    assert (status, asked) == (408, 0)
    assert b"Send it faster" in body


def test_nothing_is_read_without_a_token(tmp_path):
    assert ask(tmp_path, [b"{}"], headers=[("authorization", None)])[2:] == (0, 0)


def test_two_tokens_in_one_request_are_none(tmp_path):
    assert ask(tmp_path, [b"{}"], headers=[("authorization", "Bearer other")])[0] == 401
