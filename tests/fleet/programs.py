"""Small programs as researchers of a real fleet: the server, the gateway and the supervisor run as
they do in earnest."""

import sys

from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet import member, restarts, supervisor
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.enrol import enrol
from aarlab.fleet.launch import running_parts
from aarlab.fleet.supervisor import Fleet
from aarlab.researchers.researcher import RESEARCHERS, Launch
from aarlab.sandbox import Directory


class Program:
    """A kind of researcher that is a line of Python and ends as it is said."""

    def __init__(self, code, ended):
        self.code, self.how = code, ended

    def __call__(self, options):
        return self

    def require(self):
        pass

    def mounts(self):
        return ()

    def prepare(self, folder, brief):
        (folder / "brief.json").write_text(brief.model_dump_json())

    def launch(self, inside, start):
        return Launch(
            argv=(sys.executable, "-u", "-c", self.code),
            env={"LIFE": str(start.incarnation), "GATE": "{gate}"},
        )

    def ended(self, returncode, tail):
        return self.how(returncode, tail) if callable(self.how) else self.how


def quicken(monkeypatch):
    """The supervisor's times, shortened."""
    monkeypatch.setattr(supervisor, "TICK_S", 0.02)
    monkeypatch.setattr(supervisor, "CHARGE_EVERY_S", 0.3)
    monkeypatch.setattr(supervisor, "SHOW_EVERY_S", 0.1)
    monkeypatch.setattr(restarts, "MOST_CRASH_S", 0.02)
    monkeypatch.setattr(member, "DRAIN_S", 0.05)
    monkeypatch.setattr(supervisor, "DRAIN_S", 0.05)


def nothing(*given):
    """What is done where a test does nothing."""


def run_fleet(
    bed,
    folder,
    program,
    *,
    seconds=20.0,
    before=nothing,
    act=nothing,
    make_sandbox=Directory,
    worker=None,
    **fields,
):
    """Run a fleet of a program: (why it ended, entries of the ledger). `before` is called with the
    fleet's parts, `act` with each state that is shown."""
    kind = f"test-{id(program)}"
    if kind not in RESEARCHERS:
        RESEARCHERS.add(kind)(program)
    campaign = Campaign(name="t", kind=kind, student="double", problem="generated-chat", **fields)
    with running_parts(campaign.model_copy(update={"kind": "search"}), folder, bed.folder) as parts:
        before(parts)
        made = Fleet(
            campaign,
            folder,
            bed.public,
            make_sandbox,
            enrol(campaign, folder, bed.public, parts.journal),
            parts,
        )
        why = made.run(seconds, lambda state: act(state, parts, made), worker)
    ledger = Ledger(folder / "server" / "ledger.sqlite", read_only=True)
    entries = ledger.entries()
    ledger.close()
    return why, entries


def events(entries, name="researcher-1"):
    """What the ledger says that happened to one researcher."""
    return [e.body["event"] for e in entries if e.kind == "researcher" and e.who == name]
