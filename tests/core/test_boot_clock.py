"""A time that is left is counted by a clock that nobody sets, and that stands still in a sleep."""

import json
import time
from datetime import UTC, datetime, timedelta

from aarlab.core import boot_clock
from aarlab.core.boot_clock import read_left, write_left


def test_a_clock_that_is_set_changes_nothing(tmp_path, monkeypatch):
    write_left(at := tmp_path / "budget.json", 100.0)
    real, now = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    monkeypatch.setattr(time, "monotonic", lambda: now + 30.0)
    assert 69.0 <= read_left(at) <= 70.1
    monkeypatch.setattr(time, "monotonic", lambda: now + 300.0)
    assert read_left(at) == 0.0


def test_after_a_start_of_the_machine_as_much_is_left_as_was_noted(tmp_path, monkeypatch):
    write_left(at := tmp_path / "budget.json", 100.0)
    (tmp_path / "boot").write_text("another")
    monkeypatch.setattr(boot_clock, "BOOT", tmp_path / "boot")
    monkeypatch.setattr(time, "monotonic", lambda: 3.0)
    assert read_left(at) == 100.0


def test_a_deadline_of_an_older_version_is_read(tmp_path):
    assert read_left(tmp_path / "none.json") is None
    deadline = datetime.now(UTC) + timedelta(hours=1)
    (at := tmp_path / "budget.json").write_text(json.dumps({"deadline": deadline.isoformat()}))
    assert 3_590 < read_left(at) <= 3_600
    at.write_text(json.dumps({"deadline": "2020-01-01T00:00:00+00:00"}))
    assert read_left(at) == 0.0
