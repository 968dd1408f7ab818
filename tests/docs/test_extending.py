"""Every example of docs/extending.md runs."""

import re
from pathlib import Path

import pytest

from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.policies import POLICIES
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.runs.data import load_task

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
EXAMPLES = re.findall(r"## (.+?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[t for t, _ in EXAMPLES])
def test_the_example_runs(bed, monkeypatch, title, code):
    for registry in (POLICIES, DETECTORS, RESEARCHERS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))
    exec(code, {"task": load_task(bed.public, bed.public, "feedback", 1)})


def test_there_are_examples():
    assert len(EXAMPLES) == 6
