"""Time that is lost to a full disk is charged to nobody, also where it is over before it is
charged."""

from types import SimpleNamespace

import pytest

from aarlab.fleet import charging, member
from aarlab.fleet.charging import Charging
from aarlab.fleet.member import Member


class Books:
    """A journal that keeps what is charged."""

    def __init__(self):
        self.charged = []

    def charge(self, name, **spent):
        self.charged.append(spent["wall_s"])

    failing = None  # since when, in seconds since 1970

    def failing_since(self, name):
        return self.failing

    def last_call(self, name):
        return self.failing


@pytest.fixture
def clock(monkeypatch):
    """The time, which the test sets."""
    at = SimpleNamespace(now=100.0)
    for module in (charging, member):
        times = SimpleNamespace(monotonic=lambda: at.now, time=lambda: 1e9 + at.now)
        monkeypatch.setattr(module, "time", times)
    return at


class Sandbox:
    """Whose output cannot be written while `why` says so."""

    def __init__(self):
        self.why, self.cpu_s = "", 0.0

    def usage(self):
        return SimpleNamespace(cpu_s=self.cpu_s, unwritten=self.why)


def researcher(sandbox):
    return SimpleNamespace(
        name="ann",
        alive=True,
        remote=None,
        sandbox=sandbox,
        used=sandbox.usage(),
        charged_until=100.0,
        charged_cpu_s=0.0,
        measured_at=100.0,
        unwritten_s=0.0,
        lost_s=0.0,
        unwritten="",
    )


def looked_at(made, clock, now):
    clock.now = now
    Member.measure(made)
    made.unwritten = made.used.unwritten


def test_a_full_disk_that_is_over_before_it_is_charged_is_charged_to_nobody(clock):
    books, sandbox = Books(), Sandbox()
    made = researcher(sandbox)
    services = SimpleNamespace(broken=False, heard_at=100.0)
    charges = Charging(books, services, None)
    looked_at(made, clock, 101.0)
    sandbox.why = "No space left on device"
    looked_at(made, clock, 102.0)
    looked_at(made, clock, 103.0)
    charges.charge(made)  # whether something hangs is not known yet
    assert books.charged == []
    sandbox.why = ""
    looked_at(made, clock, 105.0)
    services.heard_at = clock.now = 110.0
    charges.charge(made)
    assert (books.charged, made.lost_s) == ([7.0], 3.0)
    clock.now = services.heard_at = 112.0
    charges.charge(made)
    assert (books.charged, made.lost_s) == ([7.0, 2.0], 3.0)


@pytest.mark.parametrize(
    ("used_s", "charged_s"), [(0.0, 0.0), (0.5, 0.5), (60.0, 60.0), (200.0, 100.0)]
)
def test_work_while_ones_model_api_fails_is_charged(clock, used_s, charged_s):
    """Who makes its calls fail, by too many of them or by what a provider answers so, would
    compute for nothing as long as the campaign lasts."""
    books, sandbox = Books(), Sandbox()
    made = researcher(sandbox)
    services = SimpleNamespace(broken=False, heard_at=200.0)
    books.failing = 1e9 + 100.0
    sandbox.cpu_s = used_s
    looked_at(made, clock, 200.0)
    Charging(books, services, None).charge(made)
    assert sum(books.charged) == charged_s
    assert made.lost_s == 100.0 - charged_s
