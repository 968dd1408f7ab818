"""A file of somebody else is a module like others: what Python looks up by a module's name is
there."""

import pickle
import sys

import pytest

from aarlab.core.python_file import load_file

CODE = """
from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Setting:
    rate: float = 0.5
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("my_own_method", "own"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("file", "name"), [("my_own_method.py", "my_own_method"), ("json.py", "own"), ("a b.py", "own")]
)
def test_dataclasses_and_pickle_work_in_a_file(tmp_path, file, name):
    import json

    (tmp_path / file).write_text(CODE)
    found = load_file(tmp_path / file, "own")
    assert found.__name__ == name
    assert pickle.loads(pickle.dumps(found.Setting(0.25))) == found.Setting(0.25)
    assert sys.modules["json"] is json


def test_a_file_that_fails_is_no_module(tmp_path):
    (tmp_path / "fails_at_once.py").write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_file(tmp_path / "fails_at_once.py", "own")
    assert "fails_at_once" not in sys.modules
