"""Campaigns as metrics: the numbers of the ledger and of the supervisor, read by prometheus-client
itself, and no exact score."""

import builtins

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import CampaignFolder, Home
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.programs.fleet_metrics import METRICS, CampaignCollector, application
from tests.fleet.fleets import HOSTILE, call, campaign_folder, confirmation, fleet


@pytest.fixture
def collector(tmp_path):
    made = campaign_folder(tmp_path / "campaigns", fleet())
    ledger = Ledger(CampaignFolder(made).server.ledger)
    ledger.append(
        "confirmation", "evaluator", confirmation("s", "researcher-1", verdict="confirmed")
    )
    ledger.append("spend", "researcher-2", {"wall_s": 0.0, "usd": None, "call": call(HOSTILE)})
    ledger.close()
    found = CampaignCollector(Home(tmp_path))
    yield found
    found.close()


@pytest.fixture
def client(collector):
    return TestClient(application(collector), base_url="http://127.0.0.1")


def read(text: str) -> dict[tuple, float]:
    """(metric, labels beside the campaign) -> value."""
    return {
        (s.name, tuple(v for k, v in s.labels.items() if k != "campaign")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_numbers_are_those_of_the_ledger_and_of_the_supervisor(client):
    found = read(client.get("/metrics").text)
    assert found["aar_submissions_total", ("researcher-1",)] == 2
    assert found["aar_submissions_total", ("researcher-2",)] == 1
    assert found["aar_improvements_total", ("researcher-1",)] == 2
    assert found["aar_reported_level_pgr", ()] == 0.42
    assert found["aar_released_bits", ()] == 41.25
    assert found["aar_released_bits_cap", ()] == 140.0
    assert found["aar_verdicts", ("confirmed",)] == 1
    assert found["aar_wall_seconds_total", ("researcher-1",)] == 1800.0
    assert found["aar_researchers", ("running",)] == 1
    assert found["aar_researchers", ("held",)] == 1
    assert found["aar_memory_bytes", ("researcher-1",)] == 210_000_000
    assert (found["aar_readable", ()], found["aar_running", ()]) == (1, 0)
    # what is not known is missing or counted, and not 0
    assert ("aar_certified_level_pgr", ()) not in found
    assert found["aar_spends_without_price_total", ("researcher-2",)] == 1
    assert {name for name, _ in found} <= set(METRICS)


def test_a_name_of_a_model_breaks_no_line(client):
    text = client.get("/metrics").text
    calls = [labels for metric, labels in read(text) if metric == "aar_model_calls_total"]
    (name,) = (model for model, who in calls if who == "researcher-2")  # in their names' order
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold red]x" in name
    assert all(line.startswith(("#", "aar_")) for line in text.splitlines())


def test_no_exact_score_is_among_them(client):
    text = client.get("/metrics").text
    assert "0.8765" not in text
    assert "0.7654" not in text


def test_what_is_new_is_in_the_next_answer_and_the_ledger_is_free_between(client, tmp_path):
    before = read(client.get("/metrics").text)["aar_findings_total", ("researcher-1",)]
    ledger = Ledger(CampaignFolder(tmp_path / "campaigns" / "small").server.ledger)
    ledger.append("finding", "researcher-1", {"kind": "result", "title": "t", "text": "x"})
    assert read(client.get("/metrics").text)["aar_findings_total", ("researcher-1",)] == before + 1
    ledger.close()
    assert not list((tmp_path / "campaigns" / "small" / "server").glob("*-wal"))


def test_a_damaged_campaign_hides_no_other(client, tmp_path):
    other = campaign_folder(tmp_path / "more")
    other.rename(tmp_path / "campaigns" / "bad")
    (tmp_path / "campaigns" / "bad" / "server" / "ledger.sqlite").write_bytes(b"no database" * 100)
    families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}
    readable = {s.labels["campaign"]: s.value for s in families["aar_readable"].samples}
    assert readable == {"bad": 0, "small": 1}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "127.0.0.1@x"])
def test_another_name_is_refused_with_what_to_do(client, host):
    answer = client.get("/metrics", headers={"host": host})
    assert answer.status_code == 421
    assert "let the monitor ask 127.0.0.1" in answer.text
    assert client.get("/metrics", headers={"host": "localhost:9465"}).status_code == 200


def test_nothing_else_is_answered(client):
    assert client.get("/").status_code == 404
    assert client.post("/metrics").status_code == 405


def test_without_prometheus_client_it_is_said_what_to_install(collector, monkeypatch):
    real = builtins.__import__

    def without(name, *given, **named):
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Misconfigured, match=r"pip install 'aarlab\[metrics\]'"):
        application(collector)
