"""The lab as a researcher has it, against a real server behind a gate that fails in every way that
gateways do."""

import json

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.researchers.lab_client import Lab
from tests.lab.alone import FILES, Alone, random_rows
from tests.researchers.gate import CUT, USAGE, Gate

FINDING = {"kind": "insight", "title": "t", "text": "x", "family": "ensemble"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("lab")) as process:
        yield process


@pytest.fixture
def gate(server, tmp_path):
    token = server.call("issue_token", {"name": "ann"})["token"]
    with Gate(tmp_path / "lab.sock", lab=str(server.url), token=token) as made:
        yield made


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def lab(starts_processes, gate, pauses):
    return Lab(gate.socket, sleep=pauses.append)


def test_every_operation_of_a_researcher_is_reached(lab):
    code = lab.call("commit_code", files=FILES, family="ensemble")
    named = {"snapshot": code["snapshot"], "family": "ensemble"}
    receipt = lab.call("submit_predictions", **named, predictions=random_rows(code["seeds"], 1))
    finding = lab.call(
        "share_finding", **FINDING, receipts=[receipt["id"]], snapshot=code["snapshot"]
    )
    assert finding["author"] == "ann"
    assert lab.call("read_receipt", receipt=receipt["id"]) == receipt
    assert lab.call("download_code", snapshot=code["snapshot"])["files"] == FILES
    assert lab.call("read_finding", finding=finding["id"]) == finding
    assert lab.call("list_findings", after=0, limit=100)["findings"][-1] == finding
    assert lab.call("search_findings", query="ENSEMBLE t & x?", limit=5)["findings"] == []
    assert lab.call("search_findings", query="ensemble t", limit=1)["findings"] == [finding]
    assert lab.call("my_budget")["submissions"] == 1
    assert lab.call("leaderboard", page=0)["page"] == 0
    assert lab.call("get_problem")["name"] == "problem"
    assert lab.call("bits_released")["items"] == 60
    with pytest.raises(InvalidSubmission, match="takes predictions"):
        lab.call("submit_code", **named)
    with pytest.raises(InvalidSubmission, match="q-000001"):
        lab.call("read_ticket", ticket="q-000001")
    assert lab.usage() == USAGE


@pytest.mark.parametrize(
    "wrong", ["../operator/board", "x/../../y", "a?b=c", "zwölf", "\r\nX: y", "", "f" * 64]
)
def test_a_wrong_id_stays_an_id_and_is_refused_in_words(lab, wrong):
    with pytest.raises(InvalidSubmission):
        lab.call("download_code", snapshot=wrong)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (CUT, Transient),
        ((503, {"error": "starting", "whose_move": "try again"}), Transient),
        ((502, {}), Transient),
        ((429, {"error": "slower", "whose_move": "submitter"}), Transient),
        ((422, {"error": "no", "whose_move": "submitter"}), InvalidSubmission),
        ((422, {"error": "later", "whose_move": "try again"}), Transient),
        ((401, {"error": "an old socket", "whose_move": "submitter"}), Unauthorised),
        ((500, {"error": "a bug", "whose_move": "a bug of ours"}), Misconfigured),
        ((500, {}), Misconfigured),
        ((404, {"type": "error", "error": {"message": "Nothing is here."}}), InvalidSubmission),
    ],
)
def test_each_failure_is_the_error_that_says_whose_move_it_is(gate, lab, fault, kind):
    gate.fault = lambda path: fault
    with pytest.raises(kind):
        lab.call("my_budget")


def test_a_socket_that_is_not_there_is_transient(tmp_path):
    with pytest.raises(Transient, match="does not answer"):
        Lab(tmp_path / "none.sock").call("my_budget")


def test_it_insists_until_the_lab_is_back(gate, lab, pauses):
    faults = [CUT, (503, {}), (502, {}), CUT, *[(503, {})] * 6]
    gate.fault = lambda path: faults.pop(0) if faults else None
    assert lab.insist("my_budget")["seconds_left"] is None
    assert len(pauses) == 10
    for n, pause in enumerate(pauses):  # 0.25 s, doubled, at most 15 s, each with a quarter of play
        assert 0.75 * min(15, 0.25 * 2**n) <= pause <= 1.25 * min(15, 0.25 * 2**n)


def test_patience_ends_and_a_refusal_is_not_tried_again(gate, lab, pauses):
    gate.fault = lambda path: CUT
    with pytest.raises(Transient):
        lab.insist("my_budget", patience_s=2)
    assert len(pauses) == 3  # 0.25 + 0.5 + 1
    gate.fault = lambda path: (422, {"error": "no", "whose_move": "submitter"})
    with pytest.raises(InvalidSubmission):
        lab.insist("my_budget")
    assert len(pauses) == 3


def test_lost_answer_is_requested_again_without_repetition(server, gate, lab, tmp_path):
    lost = []

    def lose(path):
        if (
            path in lost
            or not path.startswith(("/api/v1/findings", "/api/v1/submissions"))
            or "search" in path
        ):
            return False
        lost.append(path)
        return True

    before = server.call("operator_board")["by_submitter"].get("ann", {}).get("submissions", 0)
    code = lab.insist("commit_code", files=FILES | {"a.txt": "lost"}, family="other")
    named = {"snapshot": code["snapshot"], "family": "other"}
    gate.lose = lose
    receipt = lab.insist("submit_predictions", **named, predictions=random_rows(code["seeds"], 5))
    assert receipt["repeated"]
    text = {
        "kind": "insight",
        "title": "Lost & found",
        "text": "€ x",
        "family": "other",
        "receipts": [receipt["id"]],
    }
    bob = server.call("issue_token", {"name": "bob"})["token"]
    with Gate(tmp_path / "bob.sock", lab=str(server.url), token=bob) as beside:
        theirs = Lab(beside.socket).call("share_finding", **text, snapshot=None, parent=None)
    shared = lab.insist("share_finding", **text, snapshot=None, parent=None)
    assert (theirs["author"], shared["author"]) == ("bob", "ann"), "another's words are not mine"
    assert lost == ["/api/v1/submissions", "/api/v1/findings"]
    again = lab.call("search_findings", query="lost & found", limit=10)["findings"]
    assert sorted(again, key=str) == sorted([theirs, shared], key=str)
    assert server.call("operator_board")["by_submitter"]["ann"]["submissions"] >= before
    assert json.dumps(shared).count("Lost") == 1
