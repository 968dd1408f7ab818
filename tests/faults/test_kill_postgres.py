"""Evaluator and lab whose ledger is in PostgreSQL, under load from clients, while PostgreSQL is
killed with SIGKILL, or loses the connection in the middle of a commit."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.evaluation.ledger.places import begin
from aarlab.fleet.evaluator_process import EvaluatorProcess
from tests.cutting_proxy import CuttingProxy
from tests.store_servers import prepared_postgres

pytestmark = pytest.mark.process
CLIENTS = 4


@pytest.fixture
def own_postgres(monkeypatch):
    server = prepared_postgres()
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    yield server
    server.close()


def client_of(process, number):
    token = process.call("issue_token", {"name": f"client-{number}", "role": "researcher"})["token"]
    return httpx.Client(
        base_url=process._http.base_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    )


def submit_until(stop, opened, number, ids):
    """Fresh answers, each sent again until it is answered: all receipts, and all statuses."""
    reported, rng, statuses = [], np.random.default_rng(number), set()
    with opened as client:

        def sent(path, body):
            while True:
                answer = client.post(path, json=body)
                statuses.add(answer.status_code)
                if answer.status_code != 503:
                    assert answer.is_success, answer.text
                    return answer.json()
                assert answer.json()["whose_move"] == "try again", answer.text
                time.sleep(0.1)

        files = {"files": {"method.py": f"# {number}"}, "family": "other"}
        code = sent("/api/v1/code", files)
        while not stop.is_set():
            rows = {str(s): {i: int(rng.integers(0, 2)) for i in ids} for s in code["seeds"]}
            body = {"snapshot": code["snapshot"], "family": "other", "predictions": rows}
            reported.append(sent("/api/v1/submissions", body))
    return reported, statuses


def under_load(process, ids, trouble):
    stop, reported, statuses = threading.Event(), [], set()
    clients = [client_of(process, number) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(submit_until, stop, c, n, ids) for n, c in enumerate(clients)]
        try:
            trouble()
        finally:
            stop.set()
        for one in running:
            reported += one.result(120)[0]
            statuses |= one.result()[1]
    return reported, statuses


def nothing_lost_or_doubled(campaign, bed, reported):
    made = audit(Files(campaign, bed.folder), load_key(campaign / "checkpoints" / "key.pub"))
    assert made.faults == ()
    assert made.graded == len(reported), "each submission is recorded once, and was answered"
    assert len({receipt["id"] for receipt in reported}) == len(reported)


@pytest.mark.long
def test_postgresql_is_killed_and_comes_back(bed, tmp_path, answers, own_postgres):
    campaign = tmp_path / "campaign"
    begin(campaign, own_postgres.url(), None)

    def trouble():
        for _ in range(2):
            time.sleep(0.5)
            own_postgres.kill()
            time.sleep(0.5)
            own_postgres.start()
        time.sleep(0.5)

    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]) as process:
        reported, statuses = under_load(process, sorted(answers["feedback"]), trouble)
        for receipt in reported[:: max(1, len(reported) // 5)]:
            assert process.call("read_receipt", {"receipt": receipt["id"]}) == receipt
    assert len(reported) > 4
    assert 503 in statuses
    nothing_lost_or_doubled(campaign, bed, reported)
    words = (campaign / "server" / "evaluator.log").read_text()
    assert own_postgres.passwords["aar"] not in words


@pytest.mark.long
def test_an_answer_that_is_lost_in_a_commit_reaches_the_client_once(
    bed, tmp_path, answers, own_postgres
):
    campaign, proxy = tmp_path / "campaign", CuttingProxy(own_postgres.port)
    begin(campaign, own_postgres.url().replace(str(own_postgres.port), str(proxy.port)), None)

    def trouble():
        for number in range(4):
            proxy.cut, until = ("after", "before")[number % 2], time.monotonic() + 30
            while proxy.cut and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(0.2)

    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]) as process:
        reported, _ = under_load(process, sorted(answers["feedback"]), trouble)
    assert proxy.cuts == 4
    nothing_lost_or_doubled(campaign, bed, reported)
    proxy.down()


@pytest.mark.long
def test_an_evaluator_does_not_start_without_its_database_and_says_whose_move_it_is(
    bed, tmp_path, own_postgres
):
    campaign = tmp_path / "campaign"
    begin(campaign, own_postgres.url(), None)
    own_postgres.kill()
    with (
        pytest.raises(Misconfigured, match="PostgreSQL does not answer; the operator must"),
        EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]),
    ):
        pass
    own_postgres.start()
    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]) as process:
        assert process.call("operator_campaign")["submissions"] == 0
