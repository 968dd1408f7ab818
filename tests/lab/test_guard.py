"""Bodies: counted as they come, not too deep, no number that JSON does not know. The guard as ASGI,
its clients by hand."""

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core import bodies
from aarlab.core.callers import Identity
from aarlab.core.errors import InvalidSubmission
from aarlab.core.json_size import refuse_many_values
from aarlab.evaluation.identity import TokenStore
from aarlab.lab import guard
from aarlab.lab.caller_queues import CallerQueues
from aarlab.lab.guard import MAX_BODY, SMALL, Guard, check_json
from aarlab.lab.lab_handlers import CALLER

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=60,
)


def who_of(tokens: TokenStore):
    """How the guard asks whose a token is, without a socket between."""

    async def who(token: str):
        return tokens.who(token)

    return who


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


@pytest.mark.parametrize(
    "body", [b'{"a": NaN}', b"[Infinity]", b"[-Infinity]", b"NaN", b'{"NaN": NaN}']
)
def test_numbers_that_json_does_not_know_are_refused(body):
    with pytest.raises(InvalidSubmission, match="NaN"):
        check_json(body)


@pytest.mark.parametrize("body", [b"", b'{"a": "NaN"}', b'["Infinity and beyond"]', b"[1e5, -2.5]"])
def test_words_are_not_numbers(body):
    assert check_json(body) is None  # it raises where it refuses


@pytest.mark.parametrize(
    "body",
    [b"[" * 4_000_000, b'{"' * 2_000_000, b"[" * 101 + b'"\\' * 2_000_000, b"]" * 200 + b"[" * 200],
)
def test_what_is_no_json_is_refused_in_one_pass(body):
    """A scanner that begins again at every quotation mark would not end within the test's time."""
    with pytest.raises(InvalidSubmission, match="no JSON"):
        check_json(body)


def values_of(value: object) -> int:
    """Commas and brackets of a JSON text."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    marks = max(0, len(inner) - 1) + 1 if isinstance(value, dict | list) else 0
    return marks + sum(map(values_of, inner))


@given(JSONS, st.booleans())
def test_values_are_counted_outside_of_strings_alone(value, ascii_only):
    value = [value, 'a "string" \\ with, [all], {of: "them"}\\', "\\", '"']
    body = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    count = values_of(value)
    refuse_many_values(body, count, count, "")
    with pytest.raises(InvalidSubmission, match=f"{count:,} values"):
        refuse_many_values(body, count - 1, count - 1, "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
        b"[" + b"0," * 200_000 + b"0]",
        b"[" + b'{"a":1},' * 400 + b"{}]",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/findings", "/api/v1/submissions", "/mcp"])
def test_a_body_of_too_many_values_is_refused_before_it_is_read(tmp_path, monkeypatch, body, path):
    monkeypatch.setattr(bodies, "from_json", lambda *given, **how: pytest.fail("it was read"))
    status, said, asked, _ = ask(tmp_path, [body], path=path)
    assert (status, asked) == (422, 0)
    assert b"values in" in said


def test_code_with_many_commas_in_its_text_passes(tmp_path):
    body = json.dumps(
        {"files": {"method.py": 'x = [{1: ","}, "\\"],\n' * 20_000}, "family": "other"}
    ).encode()
    assert ask(tmp_path, [body], path="/api/v1/code")[0] == 200


def test_large_bodies_are_looked_at_in_a_worker(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        guard, "refuse_many_values", lambda *given: seen.append(threading.current_thread())
    )
    for size in (SMALL, SMALL + 1):
        assert ask(tmp_path, [b'"' + b"x" * (size - 2) + b'"'])[0] == 200
    assert seen[0] is threading.main_thread()
    assert seen[1] is not threading.main_thread()


@pytest.mark.parametrize(("size", "together"), [(SMALL, 4), (SMALL + 1, 1)])
def test_of_large_bodies_of_one_identity_one_is_worked_on_at_a_time(tmp_path, size, together):
    tokens, now, most = TokenStore(tmp_path), 0, 0
    headers = [(b"authorization", f"Bearer {tokens.issue('ann', 'researcher')}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}

    async def receive():
        return {"type": "http.request", "body": b'"' + b"x" * (size - 2) + b'"'}

    async def app(scope, receive, send):
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.05)
        now -= 1

    async def attempt():
        one = Guard(app, who_of(tokens), CallerQueues())
        await asyncio.gather(*(one(scope, receive, None) for _ in range(8)))

    asyncio.run(attempt())
    assert most == together


def test_a_query_has_its_limit(tmp_path):
    assert ask(tmp_path, [b""], query=b"a" * guard.MAX_QUERY)[0] == 200
    assert ask(tmp_path, [b""], query=b"a" * (guard.MAX_QUERY + 1))[0] == 422


# --- the guard around an application that answers what it got -------------------------------------


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


def ask(tmp_path, chunks, *, headers=(), endless=False, path="/", query=b""):
    """Status and body of one request whose body comes in chunks; with `endless` the last one never
    comes."""
    tokens, echo, said = TokenStore(tmp_path), Echo(), []
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

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": given,
    }
    asyncio.run(Guard(echo, who_of(tokens), CallerQueues())(scope, receive, send))
    return said[0]["status"], b"".join(m.get("body", b"") for m in said), echo.asked, read[0]


def test_a_body_in_chunks_arrives_whole(tmp_path):
    assert ask(tmp_path, [b"[1,", b"2]"])[:3] == (200, b"5 ann", 1)


def test_a_body_without_a_length_is_counted_as_it_comes(tmp_path):
    status, body, asked, read = ask(tmp_path, [b"x" * (1 << 20)] * 100)
    assert (status, asked) == (413, 0)
    assert f"{MAX_BODY:,} bytes".encode() in body
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


# --- requests of which the evaluator finds out who calls ------------------------------------------


class Believes:
    """Handlers that take every token for ann's, as it was when it was asked about."""

    async def whose(self, token):
        return Identity("ann", "researcher")

    async def direct(self, operation, body, query):
        return b"{}"


PLAIN = [(b"content-type", b"application/json")]


def plain_scope(token):
    headers = [*PLAIN, (b"authorization", f"Bearer {token}".encode())]
    path, method = "/api/v1/submissions/check", "POST"
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}


@pytest.mark.parametrize("body", [b"", b"x" * (MAX_BODY + 1), b"[" * 4000, b"," * 200_000])
def test_a_token_that_has_ended_is_refused_as_such_whatever_else_is_wrong(tmp_path, body):
    tokens, said = TokenStore(tmp_path), []
    token = tokens.issue("ann", "researcher")

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        said.append(message)

    one = Guard(Echo(), who_of(tokens), CallerQueues(), handlers=Believes())
    for ended in (False, True):
        asyncio.run(one(plain_scope(token), receive, send))
        status = said[-2]["status"]
        assert status == 401 if ended else status != 401
        if not ended:
            tokens.revoke("ann")


def test_who_has_a_token_that_was_replaced_is_in_nobodys_way(tmp_path):
    tokens, said = TokenStore(tmp_path), []
    old = tokens.issue("ann", "researcher")

    async def nothing():
        await asyncio.Event().wait()

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        said.append(message)

    async def attempt():
        one = Guard(Echo(), who_of(tokens), CallerQueues(), handlers=Believes())
        slow = [asyncio.create_task(one(plain_scope(old), nothing, send)) for _ in range(8)]
        await asyncio.sleep(0)
        await one(plain_scope(tokens.issue("ann", "researcher")), receive, send)
        for task in slow:
            task.cancel()

    asyncio.run(asyncio.wait_for(attempt(), 10))
    assert said[0]["status"] == 200
