"""Archives over HTTP: the real server process, one hash with JSON, hostile ones refused."""

import gzip
import io
import tarfile
import zipfile

import httpx
import pytest

from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.redteam.system import SMALL, random_labels, write_problem

FILES = {"method.py": "x = " + "[" * 60 + "\n", "lib/é.py": "NaN, Infinity\n"}  # brackets that would be too deep for JSON
URL = "/api/v1/snapshots"


def tar(files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def zipped(files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    problem = write_problem(folder / "problem", random_labels(SMALL))
    with EvaluatorProcess(problem, folder / "campaign", policy="default", sockets=[]) as process:
        url, made = str(process._http.base_url), {}
        for name, role in (("ann", "researcher"), ("rita", "reader")):
            token = process.call("POST", "/tokens", {"name": name, "role": role})["token"]
            made[name] = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        yield made
        for client in made.values():
            client.close()


def send(client, data, kind, family="other"):
    return client.post(URL, params={"family": family}, content=data, headers={"Content-Type": kind})


def test_every_kind_of_archive_gives_the_hash_and_the_seeds_of_the_same_files_as_json(clients):
    ann = clients["ann"]
    expected = ann.post("/api/v1/code", json={"files": FILES, "family": "other"}).json()
    sent = [
        send(ann, tar(FILES), "application/x-tar"),
        send(ann, gzip.compress(tar(FILES)), "application/gzip"),
        send(ann, zipped(FILES), "application/zip; charset=binary"),
    ]
    assert [(answer.status_code, answer.json()) for answer in sent] == [(201, expected)] * 3
    assert ann.get(f"/api/v1/code/{expected['snapshot']}").json() == {"files": FILES}


@pytest.mark.parametrize(
    ("data", "kind", "status", "words"),
    [
        (tar({"../x": ""}), "application/x-tar", 422, "plain relative path"),
        (zipped({"a": "x"})[:-5], "application/zip", 422, "damaged"),
        (b"", "application/x-tar", 422, "no tar"),
        (tar({"a": ""}), "application/json", 415, "content type"),
        (tar({"a": ""}), "", 415, "content type"),
        (gzip.compress(bytes(1 << 24)), "application/gzip", 422, "unpacks to more"),
        (bytes(3 << 20), "application/x-tar", 422, "An archive has at most"),
    ],
    ids=["a way out", "cut off", "nothing", "another content type", "no content type", "a bomb", "too large"],
)
def test_what_is_no_snapshot_is_refused_in_words(clients, data, kind, status, words):
    answer = send(clients["ann"], data, kind)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert answer.json()["whose_move"] == "submitter"


def test_only_researchers_upload_and_a_family_is_needed(clients):
    assert send(clients["rita"], tar(FILES), "application/x-tar").status_code == 403
    assert send(clients["ann"], tar(FILES), "application/x-tar", family="poetry").status_code == 422
    stranger = httpx.post(f"{clients['ann'].base_url}{URL}", content=tar(FILES))
    assert stranger.status_code == 401


def test_json_is_no_less_checked_for_it(clients):
    deep = '{"files": {"a": ' + "[" * 400 + "]" * 400 + '}, "family": "other"}'
    for kind in ("application/zip", "application/json"):
        answer = clients["ann"].post("/api/v1/code", content=deep, headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert "deeply nested" in answer.json()["error"]
