"""Budgets through the real gateway process: halting is exact, and no client can spend more than one
turn beyond them."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from running import ASK, Running
from upstream import Reply, Request, Upstream, events, finish, message, start, usage, whole

from aarlab.core.budget import Budget, Spent
from tests.waiting import waited_for

pytestmark = pytest.mark.process

TURN_USD = (1_000 * 5 + 200 * 25) / 1e6  # of `turn`: one cent


def turn(request: Request) -> Reply:
    """A cent, whatever was asked."""
    if request.json.get("stream"):
        return events(start(plain=1_000), *finish(200))
    return message(plain=1_000, output=200)


def spent(gateway: Running, who: str | None) -> Spent:
    journal = gateway.journal()
    found = journal.spent(who)
    journal.close()
    return found


def test_402_says_which_budget_and_reaches_no_provider(tmp_path: Path) -> None:
    with (
        Upstream(turn) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.03)) as gateway,
    ):
        inside = gateway.inside("researcher-3")
        assert [inside.post("/v1/messages", json=ASK).status_code for _ in range(3)] == [200] * 3
        answer = inside.post("/v1/messages", json=ASK)
        assert answer.status_code == 402
        words = {"type": "billing_error", "message": "researcher-3: budget of $0.03 is spent"}
        assert answer.json() == {"type": "error", "error": words}
        assert answer.headers["x-should-retry"] == "false"
        count = inside.post(
            "/v1/messages/count_tokens", json={"model": "claude-opus-4-6", "messages": []}
        )
        assert count.status_code == 402, "what is free ends as well"
        assert len(upstream.requests) == 3
        assert inside.get("/usage").json()["left"]["usd"] == 0
        assert not gateway.failing("researcher-3"), "a spent budget is no failure"
        assert gateway.inside("researcher-4").post("/v1/messages", json=ASK).status_code == 200, (
            "a budget is one's own"
        )


def test_a_budget_that_is_raised_holds_at_once(tmp_path: Path) -> None:
    with (
        Upstream(turn) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.01)) as gateway,
    ):
        inside = gateway.inside("ann")
        assert inside.post("/v1/messages", json=ASK).status_code == 200
        assert inside.post("/v1/messages", json=ASK).status_code == 402
        raised = {"researcher_budget": {"usd": 0.03}, "campaign_budget": {}}
        assert gateway.control("PUT", "/budgets", raised).status_code == 200
        codes = [inside.post("/v1/messages", json=ASK).status_code for _ in range(3)]
        assert codes == [200, 200, 402]
        wrong = gateway.control("PUT", "/budgets", {"researcher_budget": {"usd": -1}})
        assert (wrong.status_code, "researcher_budget.usd" in wrong.text) == (422, True)
        assert inside.put("/budgets", json=raised).status_code == 404, "none from a sandbox"


@pytest.mark.parametrize("stream", [False, True])
def test_answers_that_cannot_be_read_end_a_budget(tmp_path: Path, stream: bool) -> None:
    """Calls of 100,000 tokens under a budget of one cent; the answers have no usage."""
    said = {"type": "message", "content": [{"type": "text", "text": "word " * 2_000}]}
    with (
        Upstream(lambda request: whole(said)) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.01)) as gateway,
    ):
        inside = gateway.inside("eve")
        ask = ASK | {"stream": stream, "messages": [{"role": "user", "content": "x" * 400_000}]}
        assert [inside.post("/v1/messages", json=ask).status_code for _ in range(5)] == [
            200,
            402,
            402,
            402,
            402,
        ]
        assert spent(gateway, "eve").usd >= 100_000 * 5 / 1e6
        assert not gateway.failing("eve")


def test_the_last_turn_may_go_beyond_and_no_other(tmp_path: Path) -> None:
    with (
        Upstream(turn) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.025)) as gateway,
    ):
        inside = gateway.inside("ann")
        statuses = [
            inside.post("/v1/messages", json=ASK | {"stream": True}).status_code for _ in range(5)
        ]
        assert statuses == [200, 200, 200, 402, 402]
        assert spent(gateway, "ann").usd == pytest.approx(0.03, abs=1e-9)


@pytest.mark.parametrize(
    ("each", "all_", "words"),
    [
        (Budget(tokens=2_000), Budget(), "ann: budget of 2,000 tokens is spent"),
        (Budget(), Budget(usd=0.02), "the campaign: budget of $0.02 is spent"),
        (Budget(), Budget(tokens=2_000), "the campaign: budget of 2,000 tokens is spent"),
        (Budget(usd=0.011, tokens=10**9), Budget(usd=1.0), "ann: budget of $0.01 is spent"),
    ],
)
def test_tokens_and_the_campaign_count_as_well(
    tmp_path: Path, each: Budget, all_: Budget, words: str
) -> None:
    with (
        Upstream(turn) as upstream,
        Running(tmp_path, upstream.url, each=each, all_=all_) as gateway,
    ):
        inside = gateway.inside("ann")
        assert [inside.post("/v1/messages", json=ASK).status_code for _ in range(2)] == [200, 200]
        assert inside.post("/v1/messages", json=ASK).json()["error"]["message"] == words


def test_what_the_machine_cost_counts_too(tmp_path: Path) -> None:
    with (
        Upstream(turn) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=1.0, hours=2)) as gateway,
    ):
        journal = gateway.journal()
        journal.charge("ann", wall_s=10.0, cpu_s=1.0, usd=1.0)
        journal.charge("bob", wall_s=7_200.0, cpu_s=1.0, usd=None)
        journal.close()
        answers = [gateway.inside(who).post("/v1/messages", json=ASK) for who in ("ann", "bob")]
        assert [a.json()["error"]["message"] for a in answers] == [
            "ann: budget of $1.00 is spent",
            "bob: budget of 2 hours is spent",
        ]


def at_once(count: int, act: Callable[[int], object]) -> list:
    """The results of so many calls that begin together."""
    gate = threading.Barrier(count)

    def one(number: int) -> object:
        gate.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("stream", [False, True])
def test_a_hundred_calls_at_once_overspend_by_one_turn_at_most(
    tmp_path: Path, stream: bool
) -> None:
    """An adversarial client whose every call looks cheap (few bytes, 100 tokens) beside a budget of
    ten turns."""
    budget = Budget(usd=10.5 * TURN_USD)
    ask = ASK | {"stream": stream, "max_tokens": 200}
    with Upstream(turn) as upstream, Running(tmp_path, upstream.url, each=budget) as gateway:
        inside = gateway.inside("eve")
        statuses = at_once(
            100, lambda _: inside.post("/v1/messages", json=ask, timeout=60).status_code
        )
        assert sorted(set(statuses)) == [200, 402]
        assert statuses.count(200) == len(upstream.requests) == 11
        assert spent(gateway, "eve").usd == pytest.approx(11 * TURN_USD, abs=1e-9)
        assert gateway.open_calls() == 0


def test_nine_researchers_overspend_the_campaign_by_at_most_one_turn(tmp_path: Path) -> None:
    budget = Budget(usd=10.5 * TURN_USD)
    with Upstream(turn) as upstream, Running(tmp_path, upstream.url, all_=budget) as gateway:
        clients = [gateway.inside(f"r{n}") for n in range(9)]
        ask = ASK | {"max_tokens": 200}
        statuses = at_once(
            90, lambda n: clients[n % 9].post("/v1/messages", json=ask, timeout=60).status_code
        )
        assert statuses.count(200) == len(upstream.requests) == 11
        assert statuses.count(402) == 79


def test_those_who_hang_up_at_once_overspend_no_more(tmp_path: Path) -> None:
    """Hanging up frees no reservation before the answer is metered."""
    more = threading.Event()

    def slow(request: Request) -> Reply:
        return Reply([more, json.dumps({"usage": usage(1_000, output=200)}).encode()])

    with (
        Upstream(slow) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=3.5 * TURN_USD)) as gateway,
    ):

        def dash(_: int) -> None:
            with pytest.raises(httpx.ReadTimeout):
                gateway.inside("eve").post(
                    "/v1/messages", json=ASK | {"max_tokens": 200}, timeout=0.3
                )

        gateway.admit("eve")
        at_once(30, dash)
        more.set()
        waited_for(lambda: gateway.open_calls() == 0)
        assert len(upstream.requests) <= 4
        assert spent(gateway, "eve").usd <= 4 * TURN_USD + 1e-9


def test_where_only_calls_in_flight_stand_in_the_way_one_waits(tmp_path: Path) -> None:
    """Reserved: all of the budget. Taken: little. So the second is served, once the first is
    settled, and not refused."""
    more = threading.Event()

    def slow(request: Request) -> Reply:
        return Reply([more, json.dumps({"usage": usage(10, output=1)}).encode()])

    dear = ASK | {"max_tokens": 4_000}  # ten cents
    with (
        Upstream(slow) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.05)) as gateway,
    ):
        inside = gateway.inside("ann")
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(inside.post, "/v1/messages", json=dear) for _ in range(2)]
            upstream.wait_for(1)
            waited_for(
                lambda: (
                    gateway.control("GET", "/status").json()["members"]["ann"]["connections"] == 2
                )
            )
            assert not any(call.done() for call in calls)
            assert len(upstream.requests) == 1
            more.set()
            assert [call.result().status_code for call in calls] == [200, 200]


def test_who_waits_and_leaves_costs_nothing(tmp_path: Path) -> None:
    more = threading.Event()

    def slow(request: Request) -> Reply:
        return Reply([more, json.dumps({"usage": usage(10, output=1)}).encode()])

    dear = ASK | {"max_tokens": 4_000}
    with (
        Upstream(slow) as upstream,
        Running(tmp_path, upstream.url, each=Budget(usd=0.05)) as gateway,
    ):
        inside = gateway.inside("ann")
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(inside.post, "/v1/messages", json=dear)
            upstream.wait_for(1)
            with pytest.raises(httpx.ReadTimeout):
                inside.post("/v1/messages", json=dear, timeout=0.3)
            more.set()
            assert first.result().status_code == 200
        waited_for(lambda: gateway.open_calls() == 0)
        assert inside.post("/v1/messages", json=ASK).status_code == 200
        assert len(upstream.requests) == 2


def test_failures_and_waiting_free_what_they_reserved(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url, each=Budget(usd=0.05)) as gateway:
        inside = gateway.inside("ann")
        upstream.play = lambda request: whole({"error": {}}, 529)
        dear = ASK | {"max_tokens": 4_000}
        statuses = at_once(10, lambda _: inside.post("/v1/messages", json=dear).status_code)
        assert statuses == [529] * 10
        assert spent(gateway, "ann") == Spent()
        upstream.play = turn
        assert inside.post("/v1/messages", json=dear).status_code == 200
