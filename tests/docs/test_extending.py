"""Every example of docs/extending.md runs."""

import re
from pathlib import Path

import pytest

from aarlab.evaluation.detectors import DETECTORS
from aarlab.evaluation.scoring.policies import POLICIES
from aarlab.researchers.kinds import RESEARCHERS

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
EXAMPLES = re.findall(r"## (.+?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[t for t, _ in EXAMPLES])
def test_the_example_runs(home, monkeypatch, title, code):
    """As it is written, but for the student that takes minutes."""
    monkeypatch.setenv("AAR_HOME", str(home.root))
    code = code.replace('"small-chat"', '"generated-chat", student="double"')
    for registry in (POLICIES, DETECTORS, RESEARCHERS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))
    space = {"__name__": "__main__"}
    exec(code, space)
    assert len(space) > 2, "the example defines what it shows"


def test_there_are_examples():
    assert len(EXAMPLES) == 6
