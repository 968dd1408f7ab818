"""Whose a request is, asked anew for each and shared by those that come together; and which
requests no framework reads."""

import asyncio

import pytest

from aarlab.core.errors import Transient, Unauthorised
from aarlab.core.evaluator_socket import Caller, Now
from aarlab.lab.caller_lookup import CallerLookup
from aarlab.lab.direct import direct, page_of
from aarlab.lab.evaluator_client import ReleasedRecord

ANN, BOB = "a" * 64, "b" * 64


class Evaluator:
    """Answers once it may, for who is valid then."""

    def __init__(self, *valid):
        self.valid, self.asked, self.may = set(valid), [], asyncio.Event()

    async def ask(self, call, given):
        assert call == "now"
        self.asked.append(set(given.tokens))
        await self.may.wait()
        if not self.valid:
            raise Transient("It is being started. Try again.")
        callers = {
            t: Caller(name=t[:1], role="researcher") for t in given.tokens if t in self.valid
        }
        return Now(entries=[], upto=given.after, callers=callers)


def test_requests_that_come_together_share_a_question_that_is_asked_after_all_came():
    async def attempt():
        evaluator = Evaluator(ANN, BOB)
        present = CallerLookup(evaluator, ReleasedRecord(evaluator, "finding"))
        first = asyncio.create_task(present.who(ANN))
        await asyncio.sleep(0.01)
        later = [asyncio.create_task(present.who(token)) for token in (ANN, BOB, BOB)]
        await asyncio.sleep(0.01)
        assert evaluator.asked == [{ANN}]
        evaluator.may.set()
        assert (await first).name == "a"
        assert [me.name for me in await asyncio.gather(*later)] == ["a", "b", "b"]
        assert evaluator.asked == [{ANN}, {ANN, BOB}]

    asyncio.run(attempt())


def test_a_token_that_was_revoked_ends_at_once_and_is_forgotten():
    async def attempt():
        evaluator = Evaluator(ANN, BOB)
        evaluator.may.set()
        present = CallerLookup(evaluator, ReleasedRecord(evaluator, "finding"))
        assert (await present.who(ANN)).name == "a"
        evaluator.valid.remove(ANN)
        with pytest.raises(Unauthorised, match="no longer valid"):
            await present.who(ANN)
        with pytest.raises(Unauthorised, match="no longer valid"):
            await present.whose(ANN)
        evaluator.valid.clear()
        with pytest.raises(Transient):
            await present.who(BOB)

    asyncio.run(attempt())


def scope(method, path, query=b"", kind=b"application/json"):
    return {
        "method": method,
        "path": f"/api/v1{path}",
        "query_string": query,
        "headers": [(b"content-type", kind)],
    }


def test_only_plain_requests_go_past_the_framework():
    assert direct(scope("POST", "/submissions")).name == "submit_predictions"
    assert direct(scope("POST", "/findings")).name == "share_finding"
    assert direct(scope("GET", "/findings", b"after=3&limit=50")).name == "list_findings"
    assert page_of(scope("GET", "/findings", b"after=3&limit=50")) == (3, 50)
    assert direct(scope("POST", "/code")) is None, "what is like it is looked up in the lab"
    for odd in (
        scope("POST", "/submissions", b"a=b"),
        scope("POST", "/submissions", kind=b"text/plain"),
        scope("POST", "/submissions/"),
        scope("GET", "/submissions"),
        *(
            scope("GET", "/findings", query)
            for query in (
                b"",
                b"limit=50",
                b"after=3&limit=0",
                b"after=-1&limit=5",
                b"after=3&limit=101",
            )
        ),
    ):
        assert direct(odd) is None
