"""Bodies are read by whoever works on them, in a worker, up to the first mistake."""

import asyncio
import json
import threading

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from aarlab.core import operation_records as wire
from aarlab.core.bodies import MOST_FIELDS
from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation import handlers
from aarlab.lab.request_body import SentBody, UnreadBodyRoute
from tests.lab.alone import app_of, enrol, write_problem

CODE = {"snapshot": "0" * 64, "family": "other"}


def test_of_any_number_of_wrong_answers_one_is_named():
    wrong = {"1": {f"q-{n:06d}": 2 for n in range(50_000)}, "2": "2", "3": []}
    with pytest.raises(InvalidSubmission) as refused:
        SentBody(wire.Submission, json.dumps(CODE | {"predictions": wrong}).encode()).read()
    assert str(refused.value) == (
        "predictions: seed '1': item 'q-000000' should be 0 or 1, a number less than or equal to 1."
    )


@pytest.mark.parametrize(
    "given",
    ["", "012", "0 1", [], None, 3, {"a": 2}, {"a": -1}, {"a": True}, {"a": 1.0}, {"a": "1"}],
)
def test_what_is_no_answer_is_refused(given):
    with pytest.raises(InvalidSubmission, match="seed '7'"):
        SentBody(wire.Submission, CODE | {"predictions": {"1": "01", "7": given}}).read()


def test_answers_are_strings_or_maps():
    answers = {"1": "01", "2": {"a": 0, "b": 1}}
    assert (
        SentBody(wire.Submission, json.dumps(CODE | {"predictions": answers}).encode())
        .read()
        .predictions
        == answers
    )


def test_a_body_of_very_many_fields_is_refused_without_naming_them():
    with pytest.raises(InvalidSubmission, match=f"has {MOST_FIELDS + 1} fields"):
        SentBody(wire.Idea, {f"f{n}": 0 for n in range(MOST_FIELDS + 1)}).read()


def test_a_route_describes_what_is_sent_and_hands_it_on_unread():
    router, got = APIRouter(route_class=UnreadBodyRoute), []

    @router.post("/ideas")
    async def idea(new: SentBody[wire.Idea]) -> int:
        got.append(new)
        return 1

    app = FastAPI()
    app.include_router(router)
    with TestClient(app) as client:
        assert (
            client.post(
                "/ideas", content=b"{not json", headers={"Content-Type": "application/json"}
            ).status_code
            == 200
        )
        described = client.get("/openapi.json").json()
    with pytest.raises(InvalidSubmission, match="no JSON"):
        got[0].read()
    body = described["paths"]["/ideas"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert body == {"$ref": "#/components/schemas/Idea"}
    assert described["components"]["schemas"]["Idea"]["properties"]["text"]["maxLength"] == 20_000


def test_a_body_is_read_by_the_thread_that_works_on_it(tmp_path, monkeypatch):
    seen: list[str] = []

    def noted(read):
        def noting(*given):
            seen.append(threading.current_thread().name)
            return read(*given)

        return noting

    monkeypatch.setattr(SentBody, "read", noted(SentBody.read))
    monkeypatch.setattr(handlers, "read_as", noted(handlers.read_as))
    write_problem(tmp_path / "problem")
    sent = [
        ("/code", {"files": {"method.py": ""}, "family": "other"}),
        ("/similar", {"text": "x"}),
        ("/findings", {}),
    ]

    async def attempt() -> list[int]:
        async with app_of(tmp_path) as http:
            await enrol(http, "ann")
            return [(await http.post(path, json=body)).status_code for path, body in sent]

    assert asyncio.run(attempt()) == [201, 200, 422]
    assert [name.rpartition("_")[0] for name in seen] == [
        "evaluator",
        "lab",
        "evaluator",
        "lab",
        "evaluator",
    ]
