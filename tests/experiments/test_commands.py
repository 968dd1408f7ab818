"""Every experiment starts by `python -m experiments.NAME`, which the package does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "words"),
    [("scan", "how the default policy was chosen"), ("detectors", "researchers accused")],
)
def test_an_experiment_says_what_it_measures(name, words):
    argv = [sys.executable, "-m", f"experiments.{name}", "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert words in " ".join(done.stdout.split())


def test_the_package_imports_no_experiment():
    found = [
        p
        for p in (ROOT / "src").rglob("*.py")
        if "import experiments" in (text := p.read_text()) or "from experiments" in text
    ]
    assert found == []
