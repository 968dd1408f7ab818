"""schemathesis over the OpenAPI description of a real server process, as the operator and as a
researcher.

Not checked: that whatever fits the schema is accepted. A body may name a snapshot, receipt or seed
that does not exist.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.alone import Alone, commit, random_rows, submit

pytestmark = pytest.mark.process

ST = Path(sys.executable).with_name("st")


@pytest.fixture
def server(tmp_path):
    with Alone(tmp_path) as process:
        yield process


def without_discriminators(node):
    """The same description without its hints which schema a value of `kind` means.

    Where two kinds have one schema, schemathesis holds it to be for the last of them alone, and a
    right body of the other to be wrong.
    """
    if isinstance(node, list):
        return [without_discriminators(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: without_discriminators(value)
        for key, value in node.items()
        if not (key == "discriminator" and "propertyName" in value)
    }


def explored(server: Alone, folder: Path, role: str, *options: str) -> tuple[int, str]:
    """Run schemathesis with a token of that role; how many cases it generated, and what it printed.

    Its paths name things that exist, so that more than refusals is seen.
    """
    known = server.client("known")
    code = commit(known)
    receipt = submit(known, code, random_rows(code["seeds"], 1)).json()["id"]
    finding = {
        "kind": "insight",
        "title": "t",
        "text": "x",
        "family": "other",
        "receipts": [receipt],
    }
    posted = known.post("/findings", json=finding).json()["id"]
    names = {"snapshot": code["snapshot"], "receipt": receipt, "finding": posted}
    config = folder / "schemathesis.toml"
    config.write_text(
        "[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items())
    )
    token = server._http.headers["Authorization"]
    if role != "operator":
        token = server.client(role, role).headers["Authorization"]
    description = folder / "openapi.json"
    description.write_text(
        json.dumps(without_discriminators(server._http.get("/openapi.json").json()))
    )
    argv = [
        str(ST),
        "--config-file",
        str(config),
        "--no-color",
        "run",
        str(description),
        "--url",
        str(server.url),
    ]
    argv += [
        "-H",
        f"Authorization: {token}",
        "--exclude-checks",
        "positive_data_acceptance",
        "--continue-on-failure",
    ]
    argv += ["--generation-database", "none", "--warnings", "off", *options]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return int(re.search(r"([\d,]+) generated", done.stdout)[1].replace(",", "")), done.stdout


@pytest.mark.long
@pytest.mark.parametrize("role", ["operator", "researcher"])
def test_a_few_hundred_cases(server, tmp_path, role):
    cases, said = explored(server, tmp_path, role, "--phases", "fuzzing", "-n", "8", "--seed", "1")
    assert cases > 100, said
    assert server.call("operator_board")["submissions"] >= 1  # it is still there


@pytest.mark.schemathesis
def test_ten_thousand_cases(server, tmp_path):
    total = 0
    # one worker: with two, its own threads trip over each other on Python 3.11
    for role in ("operator", "researcher"):
        cases, said = explored(
            server, tmp_path, role, "--phases", "examples,coverage,fuzzing", "-n", "370"
        )
        print(role, said[said.index("SUMMARY") :])
        total += cases
    assert total >= 10_000
    assert "bug" not in (tmp_path / "campaign" / "server.log").read_text()
    assert server.call("operator_board")["submissions"] >= 1


@pytest.mark.long
def test_a_server_error_is_seen(server, tmp_path):
    """The check can fail: a budget that no version of ours writes is a bug at one path."""
    (tmp_path / "campaign" / "server" / "budget.json").write_text("{}")
    with pytest.raises(AssertionError, match="Server error"):
        explored(
            server,
            tmp_path,
            "researcher",
            "--phases",
            "fuzzing",
            "-n",
            "2",
            "--include-path",
            "/api/v1/budget",
        )
