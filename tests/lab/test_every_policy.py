"""Every policy behind a real server: what is submitted is answered, recorded and shown, and a
restart knows it all."""

import asyncio
import logging

import numpy as np
import pytest

from aarlab.core.records import Receipt
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.scoring.policies import POLICIES, Answer, Outlook
from tests.lab.alone import Alone, app_of, commit, enrol, submit, write_problem

ITEMS = 600
SHIPPED = [name for name in POLICIES if type(POLICIES[name]).__module__.startswith("aarlab.")]
RIGHT = (0.5, 0.8, 0.7, 0.95, 0.6)  # shares of right answers


def rows(labels, seeds, right):
    """Answers as strings, of that share right (on every seed)."""
    truth_M = np.array([labels[i] for i in sorted(labels)])
    wrong_M = np.arange(len(truth_M)) >= round(right * len(truth_M))
    return {str(s): "".join(map(str, truth_M ^ wrong_M)) for s in seeds}


def shown(ann, reported):
    """All that a researcher can read of these receipts, and of the label set."""
    return {
        "receipts": [
            ann.get(f"/receipts/{receipt['id']}").raise_for_status().json() for receipt in reported
        ],
        "released": ann.get("/released").raise_for_status().json(),
        "board": ann.get("/leaderboard").raise_for_status().json(),
    }


@pytest.mark.process
@pytest.mark.parametrize(
    "policy",
    [pytest.param(p, marks=() if p == "default" else pytest.mark.long) for p in SHIPPED],
)
def test_every_policy_answers_and_a_restart_answers_the_same(tmp_path, policy):
    with Alone(tmp_path, ITEMS, policy) as server:
        ann, labels = server.client("ann"), server.labels
        token = ann.headers["Authorization"].removeprefix("Bearer ")
        code = commit(ann)
        reported = [
            submit(ann, code, rows(labels, code["seeds"], r)).raise_for_status().json()
            for r in RIGHT
        ]
        assert [Receipt.model_validate(one, strict=False).id for one in reported] == [
            f"r-{k:06d}" for k in range(1, 6)
        ]
        assert not reported[0]["improved"]
        assert reported[1]["improved"]
        before = shown(ann, reported)
        assert before["receipts"] == reported
        assert [row["receipt"] for row in before["board"]["rows"]] == [
            r["id"] for r in reported[::-1] if r["improved"]
        ]
        server.stop()
        server.start()
        server.wait()
        ann = server.with_token(token)
        assert shown(ann, reported) == before
        repeats = [
            submit(ann, code, rows(labels, code["seeds"], r)).raise_for_status().json()
            for r in RIGHT
        ]
        assert repeats == [one | {"repeated": True} for one in reported]
        assert ann.get("/released").json() == before["released"]
    files = Files(tmp_path / "campaign", tmp_path / "problem")
    assert audit(files, load_key(files.key)).faults == ()


class Unsound:
    """A policy whose every answer holds the score and cannot be reported."""

    def answer(self, channel, who, accuracy):
        return Answer(True, 1 + accuracy)

    def outlook(self, channel, who):
        return Outlook(channel.level, 1.0, "open", None)


@pytest.mark.slow
def test_the_words_of_an_error_that_is_the_operators_reach_no_researcher(
    tmp_path, monkeypatch, caplog
):
    """They name what the policy answered, which follows from a hidden score."""
    monkeypatch.setitem(POLICIES._things, "unsound", Unsound())
    labels = write_problem(tmp_path / "problem", ITEMS)

    async def attempt():
        async with app_of(tmp_path, policy="unsound") as http:
            await enrol(http, "ann")
            code = (
                await http.post("/code", json={"files": {"method.py": "# 1"}, "family": "other"})
            ).json()
            sent = {
                "snapshot": code["snapshot"],
                "family": "other",
                "predictions": rows(labels, code["seeds"], 0.75),
            }
            return await http.post("/submissions", json=sent)

    with caplog.at_level(logging.ERROR, logger="aarlab.evaluation"):
        answer = asyncio.run(attempt())
    said = answer.json()
    assert (answer.status_code, said["whose_move"]) == (500, "operator")
    assert said["error"].startswith(
        "The operator must fix something, not you: its number in the evaluator's log is "
    )
    number = said["error"].rstrip(".").split()[-1]
    logged = next(r for r in caplog.records if number in r.getMessage())
    assert "level=1.75" in str(logged.exc_info[1])
