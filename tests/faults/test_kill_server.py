"""Evaluator and lab under load from eight clients, one of them killed with SIGKILL in the middle of
it, four times."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from aarlab.core.errors import Misconfigured
from aarlab.evaluation.audit import Files, audit, load_key
from aarlab.fleet.evaluator_process import EvaluatorProcess

pytestmark = pytest.mark.process

# after so many replies
CLIENTS, KILLED = 8, ((15, "lab"), (25, "evaluator"), (35, "lab"), (20, "evaluator"))


def client_of(process, name):
    token = process.call("issue_token", {"name": name, "role": "researcher"})["token"]
    return httpx.Client(
        base_url=process._http.base_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        trust_env=False,
    )


class Clients:
    """Each submits fresh answers until the server is gone; `reported` is what reached them."""

    def __init__(self, process, seed, ids):
        self.clients = [client_of(process, f"client-{n}") for n in range(CLIENTS)]
        self.reported, self.seed, self.ids, self.enough = {}, seed, sorted(ids), threading.Event()

    def submit_until_it_dies(self, number, kill_after):
        client, rng = self.clients[number], np.random.default_rng([self.seed, number])
        try:
            files = {"files": {"method.py": f"# {number}"}, "family": "other"}
            while (sent := client.post("/api/v1/code", json=files)).status_code == 503:
                continue  # "Try again": nothing was recorded, so nothing can be lost
            assert sent.status_code in {200, 201}, (sent.status_code, sent.text)
            code = sent.json()
            while True:
                rows = {
                    str(s): {i: int(rng.integers(0, 2)) for i in self.ids} for s in code["seeds"]
                }
                sent = {"snapshot": code["snapshot"], "family": "other", "predictions": rows}
                answer = client.post("/api/v1/submissions", json=sent)
                if answer.status_code == 503:  # the evaluator is gone, the lab says so
                    assert answer.json()["whose_move"] == "try again"
                    return
                assert answer.status_code == 200, answer.text
                receipt = answer.json()
                self.reported[receipt["id"]] = receipt
                if len(self.reported) >= kill_after:
                    self.enough.set()
        except httpx.TransportError:
            return

    def run(self, process, kill_after, part):
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [
                pool.submit(self.submit_until_it_dies, n, kill_after) for n in range(CLIENTS)
            ]
            reached = self.enough.wait(60)
            os.kill(getattr(process, part).pid, signal.SIGKILL)
            for one in running:
                one.result(60)
        assert reached, "too few replies came: nothing was shown"
        for client in self.clients:
            client.close()
        return self.reported


@pytest.mark.long
def test_what_a_killed_server_has_told_is_there_when_it_is_back(bed, tmp_path, answers):
    assert len(answers["feedback"]) == 300
    campaign, reported = tmp_path / "campaign", {}
    for seed, (kill_after, part) in enumerate(KILLED):
        with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]) as process:
            for receipt in list(reported.values())[:: max(1, len(reported) // 10)]:
                assert process.call("read_receipt", {"receipt": receipt["id"]}) == receipt
            reported |= Clients(process, seed, answers["feedback"]).run(process, kill_after, part)
    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]) as process:
        assert (
            process.call("operator_campaign")["submissions"]
            >= len(reported)
            >= sum(after for after, _ in KILLED)
        )
        for receipt in reported.values():
            assert process.call("read_receipt", {"receipt": receipt["id"]}) == receipt
    made = audit(Files(campaign, bed.folder), load_key(campaign / "checkpoints" / "key.pub"))
    assert made.faults == ()
    assert made.graded >= len(reported)


@pytest.mark.long
def test_a_torn_record_beside_the_ledger_is_named(bed, tmp_path):
    """What is not written whole is the operator's to restore; it is never taken for an empty
    one."""
    campaign = tmp_path / "campaign"
    with EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]):
        pass
    (campaign / "server" / "secret").write_bytes(b"half")
    with (
        pytest.raises(Misconfigured, match="is damaged"),
        EvaluatorProcess(bed.folder, campaign, policy="default", sockets=[]),
    ):
        pass
