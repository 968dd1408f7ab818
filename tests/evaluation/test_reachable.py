"""A record that cannot lie where a campaign says is refused before anything is set up: against a
real PostgreSQL and an S3 server."""

import os
import time

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import validated
from aarlab.evaluation.ledger.reachable import require_bucket, require_database
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.preflight import require

pytest.importorskip("obstore", reason="needs the extra cluster")
pytestmark = pytest.mark.process


def without_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


def test_stores_that_answer_are_taken(postgres, s3) -> None:
    require_database(postgres.url())
    require_bucket(s3.url("reach"))
    require_bucket(s3.url("reach"))  # what it left there is the same


@pytest.mark.parametrize("lacking", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_s3_without_credentials_names_them_and_asks_nobody(
    s3, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    url = s3.url("reach")
    monkeypatch.delenv(lacking)
    began = time.monotonic()
    with pytest.raises(Misconfigured) as caught:
        require_bucket(url)
    assert time.monotonic() - began < 1.0, "169.254.169.254 was asked"
    assert f"needs credentials: {lacking} is not set" in str(caught.value)


def test_a_role_of_the_machine_stands_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    without_aws(monkeypatch)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Misconfigured, match="takes nothing"):
        require_bucket("s3://aar-test/reach")


def test_a_bucket_that_is_not_there_is_named(s3) -> None:
    with pytest.raises(
        Misconfigured, match=r"s3://no-such-bucket/x takes nothing \(.*NoSuchBucket"
    ):
        require_bucket("s3://no-such-bucket/x")


def test_a_database_that_is_down_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"postgresql://127.0.0.1:9/aar does not answer"):
        require_database("postgresql://aar@127.0.0.1:9/aar")


def test_a_database_that_was_not_prepared_is_named(postgres) -> None:
    with pytest.raises(Misconfigured, match=r"was not prepared for ledgers|refuses us"):
        require_database(postgres.url(database="postgres"))


def test_both_are_said_at_once_and_before_the_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    without_aws(monkeypatch)
    fields = {"problem": "generated-chat", "student": "double", "snapshots": "s3://aar-test/x"}
    fields |= {"store": "postgresql://aar@127.0.0.1:9/aar"}
    with pytest.raises(Misconfigured) as caught:
        require(validated(Campaign, fields, "test"))
    said = str(caught.value)
    assert said.startswith("2 things are missing or wrong.")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set" in said
    assert "Start PostgreSQL, or correct the URL" in said
