"""A module that something starts by its name is there under that name, and starts. No check of
imports sees these names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SRC = Path(__file__).parents[2] / "src" / "aarlab"
# in a command, its argv or its documentation
STARTED = re.compile(r"""-m["']?,? ["']?(aarlab(?:\.[a-z_]+)+)""")
CONSTANT = re.compile(
    r"""^[A-Z_]+(?:, [A-Z_]+)* = .*?["'](aarlab(?:\.[a-z_]+){2,})["']""", re.MULTILINE
)
TAKES_JSON = "aarlab.redteam.inside"  # it has no --help


def started() -> list[str]:
    """The modules that are started by name."""
    texts = [
        path.read_text()
        for path in SRC.rglob("*")
        if path.suffix in {".py", ".yaml", ".md", ".jinja"}
    ]
    return sorted(
        {name for text in texts for found in (STARTED, CONSTANT) for name in found.findall(text)}
        - {TAKES_JSON}
    )


def test_the_modules_that_are_started_are_found():
    known = {
        "aarlab.lab.serve",
        "aarlab.gateway.serve",
        "aarlab.researchers.bridge",
        "aarlab.runs.execute",
    }
    assert known | {"aarlab.evaluation.evaluator_service"} <= set(started())
    assert {"aarlab.researchers.inside", "aarlab.models.tuned.serve"} <= set(started())


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long if ".tuned." in n else ()) for n in started()],
)
def test_a_module_that_is_started_by_name_starts(name):
    if name.removeprefix("aarlab.runs.").startswith("ray_"):
        pytest.importorskip("ray", reason="needs Ray (pip install 'aarlab[cluster]')")
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.lower().startswith("usage")
