"""`aar families` as a process on a campaign's ledger, with and without a judge on loopback."""

import os
import subprocess
import sys

import pytest

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from tests.diversity.messages_api import messages_api
from tests.lab.alone import random_rows, write_problem

pytestmark = pytest.mark.process

CODES = [
    (Family.ENSEMBLE, "def run(task, seed):\n    return parts.bagged(task, heads=8)\n"),
    (Family.CURRICULUM, "def run(task, seed):\n    return parts.bagged(task, heads=9)\n"),
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_problem(home / "problem")
    with Evaluator(home / "problem", home / "campaigns" / "mine") as evaluator:
        for number, (family, source) in enumerate(CODES):
            code = evaluator.commit_code("ann", {"method.py": source}, family)
            evaluator.submit("ann", code["snapshot"], random_rows(code["seeds"], number), family)
    return home


def aar(home, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "from aarlab.cli.main import main; main()"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC")} | {
        "AAR_HOME": str(home),
        "COLUMNS": "200",
    }
    argv = [sys.executable, "-c", code, "families", *words]
    return subprocess.run(
        argv, env=clean | env, capture_output=True, text=True, check=False, timeout=280
    )


def row(table: str, family: Family) -> list[str]:
    (line,) = [line for line in table.splitlines() if f" {family.value} " in line]
    return [cell.strip() for cell in line.split("│") if cell.strip()][1:]


def test_declared_stands_beside_code(campaign):
    done = aar(campaign, "mine")
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, Family.ENSEMBLE) == ["1", "2"]
    assert row(done.stdout, Family.CURRICULUM) == ["1", "0"]


def test_a_judge_is_asked_once_for_each_code_and_named(campaign):
    with messages_api("ensemble", "model internals") as api:
        env = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": api.url}
        first, again = (aar(campaign, "mine", "--judge", **env) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert again.stdout == first.stdout
    assert len(api.asked) == 2
    assert "claude-opus-4-6, prompt" in first.stdout
    assert row(first.stdout, Family.MODEL_INTERNALS) == ["0", "0", "1"]


@pytest.mark.parametrize(
    ("words", "said"), [(["none"], "no campaign"), (["mine", "--judge"], "ANTHROPIC_API_KEY")]
)
def test_what_is_missing_is_said(campaign, words, said):
    done = aar(campaign, *words)
    assert done.returncode == 2
    assert said in done.stderr
