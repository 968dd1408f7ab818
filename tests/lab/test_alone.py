"""`aar evaluator` and `aar token`: the judge without the lab, as another harness meets it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from aarlab.cli.evaluator_command import outlook
from aarlab.core.errors import Misconfigured
from aarlab.core.records import STUDY_FAMILIES
from tests.lab.alone import commit, random_rows, submit, write_problem

AAR = Path(sys.executable).with_name("aar")


def aar(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AAR_HOME": str(home)}
    return subprocess.run(
        [AAR, *map(str, words)], env=env, capture_output=True, text=True, check=False, timeout=200
    )


@contextmanager
def running(folder: Path, *words: object):
    """`aar evaluator FOLDER` until the end of the block: the process, and the lines that it printed
    at its start."""
    process = subprocess.Popen(
        [AAR, "evaluator", folder, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process, [process.stdout.readline().strip() for _ in range(3)]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"{url}/api/v1",
        headers={"Authorization": f"Bearer {token.strip()}"},
        trust_env=False,
    )


@pytest.mark.long
@pytest.mark.process
def test_a_harness_of_ones_own_in_three_commands(tmp_path):
    # of 60, nothing would ever be reported: the cap is a share of the items
    labels = write_problem(tmp_path / "f", 600)
    (tmp_path / "f" / "public").mkdir()
    (tmp_path / "f" / "public" / "problem.json").write_text(
        '{"name": "mine", "items": {"feedback": 60}}'
    )
    with running(tmp_path / "f", "--socket", tmp_path / "lab.sock") as (process, said):
        url = said[0].split()[1]
        assert said[1].split()[-1] == str(tmp_path / "f" / "campaign" / "server" / "operator.token")
        assert said[2] == f"add a researcher: aar token NAME --campaign {tmp_path / 'f'}"
        added = aar("token", "ann", "--campaign", tmp_path / "f", home=tmp_path)
        assert added.returncode == 0, added.stderr
        with client(url, added.stdout) as ann:
            card = {"name": "mine", "items": {"feedback": 60}, "families": list(STUDY_FAMILIES)}
            assert ann.get("/problem").json() == card
            code = commit(ann)
            good = {str(s): "".join(str(labels[i]) for i in sorted(labels)) for s in code["seeds"]}
            receipt = submit(ann, code, good).json()
            assert receipt["improved"]
            assert ann.get("/leaderboard").json()["rows"][0]["receipt"] == receipt["id"]
            aar("token", "ann", "--revoke", "--campaign", tmp_path / "f", home=tmp_path)
            assert ann.get("/leaderboard").status_code == 401
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(tmp_path / "lab.sock")), base_url="http://lab"
        ) as unix:
            assert unix.get("/api/v1/leaderboard").status_code == 401
        assert process.poll() is None
    with running(tmp_path / "f") as (_, said):  # it goes on where it stopped
        token = aar(
            "token",
            "rita",
            "--role",
            "reader",
            "--hours",
            1,
            "--campaign",
            tmp_path / "f",
            home=tmp_path,
        )
        with client(said[0].split()[1], token.stdout) as rita:
            assert rita.get(f"/receipts/{receipt['id']}").json() == receipt
            assert rita.get("/ledger").json()["by_kind"]["submission"] == 1
            assert rita.get("/budget").status_code == 403
    listed = aar("token", "--campaign", tmp_path / "f", home=tmp_path).stdout
    assert "rita (reader) until 20" in listed
    assert "operator (operator)\n" in listed


@pytest.mark.slow
def test_what_submitters_can_expect_is_said_at_the_start(tmp_path):
    line = (
        "75 bits in all, an improvement is reported from accuracy 0.570 (PGR 0.18), in steps of "
        "0.020 (PGR 0.05)"
    )
    for items, words in ((600, line), (60, "no improvement is ever reported")):
        write_problem(tmp_path / str(items), items)
        assert words in outlook(tmp_path / str(items), "default")
    assert "no cap" in outlook(tmp_path / "600", "exact")
    with pytest.raises(Misconfigured, match="no policy named 'kind'"):
        outlook(tmp_path / "600", "kind")


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("answers.json", None, 'write {"feedback": {item id: 0 or 1}'),
        ("answers.json", "{", 'write {"feedback": {item id: 0 or 1}'),
        ("answers.json", "[]", "does not hold labels"),
        ("answers.json", '{"final": {"a": 1}}', "no label under ['feedback']"),
        ("answers.json", '{"feedback": {"a": true}}', "labels 0 and 1"),
        ("answers.json", '{"feedback": {"a": 0.5}}', "labels 0 and 1"),
        ("ruler.json", None, "write private/ruler.json: {weak, ceiling, start}"),
        ("ruler.json", '{"weak": 0.5, "ceiling": 0.9}', "holds the fields ['ceiling', 'weak']"),
        (
            "ruler.json",
            '{"weak": 0.5, "ceiling": 0.9, "start": 0.6, "gap": false}',
            "it must hold weak, ceiling and start",
        ),
        ("ruler.json", "[0.5, 0.9, 0.6]", "private/ruler.json holds no object"),
        ("ruler.json", '{"weak": 0.5, "ceiling": 0.9, "start": NaN}', "NaN is no number of JSON"),
        ("ruler.json", '{"weak": 0.5, "ceiling": "0.9", "start": 0.5}', "between 0 and 1"),
        ("ruler.json", '{"weak": 0.9, "ceiling": 0.5, "start": 0.5}', "write private/ruler.json"),
    ],
)
def test_a_folder_that_lacks_something_is_reported_what_to_write(tmp_path, path, text, words):
    write_problem(tmp_path / "f")
    file = tmp_path / "f" / "private" / path
    file.unlink() if text is None else file.write_text(text)
    done = aar("evaluator", tmp_path / "f", home=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_a_card_that_is_none_is_the_operators_to_mend(tmp_path):
    write_problem(tmp_path / "f")
    (tmp_path / "f" / "public").mkdir()
    (tmp_path / "f" / "public" / "problem.json").write_text("{")
    done = aar("evaluator", tmp_path / "f", home=tmp_path)
    assert done.returncode == 2
    assert "problem.json" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("token", "ann", "--campaign", "nothing"), "is no campaign"),
        (("token", "ann", "--role", "king", "--campaign", "begun"), "no role 'king'"),
        (("token", "Ann!", "--campaign", "begun"), "cannot be a name"),
        (("token", "joe", "--revoke", "--campaign", "begun"), "no token of 'joe'"),
        (("evaluator", "nowhere"), "no folder nowhere"),
        (("evaluator", "f", "--policy", "generous"), "no policy named 'generous'"),
    ],
)
def test_mistakes_at_the_terminal_are_one_sentence(tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_problem(tmp_path / "f")
    (tmp_path / "campaigns" / "begun" / "server").mkdir(parents=True)
    done = aar(*words, home=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.process
@pytest.mark.long
def test_a_port_that_is_taken_is_said(tmp_path):
    write_problem(tmp_path / "f")
    with running(tmp_path / "f") as (_, said):
        write_problem(tmp_path / "g")
        port = httpx.URL(said[0].split()[1]).port
        done = aar("evaluator", tmp_path / "g", "--port", port, home=tmp_path)
    assert done.returncode == 2
    assert "Choose another" in done.stderr


@pytest.mark.process
@pytest.mark.long
def test_it_is_killed_and_comes_back(tmp_path):
    write_problem(tmp_path / "f")
    with running(tmp_path / "f") as (process, said):
        token = aar("token", "ann", "--campaign", tmp_path / "f", home=tmp_path).stdout
        with client(said[0].split()[1], token) as ann:
            code = commit(ann)
            receipt = submit(ann, code, random_rows(code["seeds"], 1)).json()
        process.kill()
        process.wait()
    with running(tmp_path / "f") as (_, said), client(said[0].split()[1], token) as ann:
        assert ann.get(f"/receipts/{receipt['id']}").json() == receipt


@pytest.mark.long
@pytest.mark.process
def test_second_server_on_a_folder_is_refused_and_told_the_first(tmp_path):
    write_problem(tmp_path / "f")
    with running(tmp_path / "f") as (process, said):
        token = aar("token", "ann", "--campaign", tmp_path / "f", home=tmp_path).stdout
        second = aar("evaluator", tmp_path / "f", home=tmp_path)
        assert second.returncode == 2
        assert f"started by process {process.pid})" in second.stderr
        with client(said[0].split()[1], token) as ann:
            code = commit(ann)
            given = [
                submit(ann, code, random_rows(code["seeds"], number)).json()["id"]
                for number in range(3)
            ]
        assert given == ["r-000001", "r-000002", "r-000003"]
        process.kill()
        process.wait()
        with running(tmp_path / "f") as (third, _):  # at once
            assert third.poll() is None
    verified = aar("ledger", "verify", tmp_path / "f" / "campaign", home=tmp_path)
    assert verified.returncode == 0, verified.stdout


@pytest.mark.long
@pytest.mark.process
def test_server_without_its_meter_does_not_start_until_rebuilt(tmp_path):
    write_problem(tmp_path / "f")
    with running(tmp_path / "f") as (_, said):
        token = aar("token", "ann", "--campaign", tmp_path / "f", home=tmp_path).stdout
        with client(said[0].split()[1], token) as ann:
            code = commit(ann)
            submit(ann, code, random_rows(code["seeds"], 1))
    shutil.rmtree(tmp_path / "f" / "private" / "meter")
    refused = aar("evaluator", tmp_path / "f", home=tmp_path)
    assert refused.returncode == 2
    assert "aar ledger restore-meter" in refused.stderr
    assert "Traceback" not in refused.stderr
    made = aar("ledger", "restore-meter", tmp_path / "f" / "campaign", home=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert "has the 1 answers" in made.stdout
    with running(tmp_path / "f") as (process, _):
        assert process.poll() is None


def modules(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", (
        f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))"
    )],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = (
    "torch",
    "transformers",
    "sklearn",
    "scipy.stats",
    "matplotlib",
    "mcp",
    "jinja2",
    "aarlab.models",
    "aarlab.methods",
)


@pytest.mark.process
@pytest.mark.parametrize(
    "code",
    ["import aarlab.lab.serve", "import aarlab.cli.main", "import aarlab.cli.evaluator_command"],
)
def test_what_the_evaluator_imports_is_light(code):
    assert sorted(modules(code) & set(HEAVY)) == []


@pytest.mark.process
def test_the_command_line_waits_for_no_command_that_was_not_given():
    assert (
        modules("import aarlab.cli.main") & {"fastapi", "uvicorn", "httpx", "aarlab.fleet.pipeline"}
        == set()
    )
