"""A whole campaign of nine researchers and its confirmations over three nodes, its ledger in a real
PostgreSQL and its snapshots in a real S3 server, while one after another of these breaks."""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import pytest

from aarlab.core.entries import EventBody, FindingBody, SpendBody, SubmissionBody
from aarlab.core.layout import ReportFolder
from aarlab.core.store import Store
from aarlab.gateway.journal import Journal
from aarlab.gateway.journal_rows import POSTED
from experiments.nodes_lab import Running, aar, until
from tests.nodes.lab_of_nodes import LabOfNodes, gone, processes_below
from tests.store_servers import PostgresServer, S3Server

pytestmark = [
    pytest.mark.process,
    pytest.mark.cluster,
    pytest.mark.timeout(7200),
]
RESEARCHERS, EXPERIMENTS, AGAIN, NODES = 9, 24, 6, ("alpha", "beta", "gamma")
FIELDS = (
    *(f"researchers={RESEARCHERS}", f"experiments={EXPERIMENTS}", "minutes=100"),
    *("hosts=[alpha, beta, gamma]", "host_grace_minutes=0.5", "keep_home_minutes=0.05"),
)
WITHIN_S, CAMPAIGN_S, ENDED_S = 900.0, 6000.0, 60.0  # the first two: bounds of a hung test


@dataclass
class Scene:
    """The lab, what it stands on, and its campaign."""

    lab: LabOfNodes
    postgres: PostgresServer
    s3: S3Server
    agents: dict[str, Running]
    running: Running
    name: str = "whole"
    # of all agents and of the campaign, as they were seen; one that breaks may leave some behind
    seen: set[tuple[int, str]] = field(default_factory=set)

    def until(self, what: Callable[[], bool]) -> None:
        """Wait for it, and note which processes there are meanwhile."""

        def is_so() -> bool:
            assert self.running.process.poll() is None, self.running.said()
            for one in (*self.agents.values(), self.running):
                if one.process.poll() is None:
                    self.seen |= processes_below(one.process.pid)
            return what()

        until(is_so, WITHIN_S, every_s=0.5)

    def submitted(self) -> int:
        return sum(self.lab.submitted(self.name).values())

    def evaluator_says(self, words: str) -> bool:
        return words in self.lab.folder_of(self.name).server.evaluator_log.read_text()

    def left(self, node: str) -> bool:
        """Whether none is on that node any more who still works."""
        members = self.lab.fleet(self.name).values()
        return all(m.host != node or m.state == "finished" for m in members)


@dataclass(frozen=True)
class Fault:
    """What breaks, how it is seen, and how it is mended."""

    what: str
    breaks: Callable[[Scene], None]
    seen: Callable[[Scene], bool]
    mends: Callable[[Scene], object]


MATRIX = (
    Fault(
        "PostgreSQL: kill -9 of all its processes, and started again",
        lambda s: s.postgres.kill(),
        lambda s: s.evaluator_says("The ledger's database: connection failed"),
        lambda s: s.postgres.start(),
    ),
    Fault(
        "S3: kill -9, and started again",
        lambda s: s.s3.kill(),
        lambda s: s.evaluator_says("The snapshots in s3://"),
        lambda s: s.s3.start(),
    ),
    Fault(
        "a node's agent is frozen for longer than the grace, and wakes",
        lambda s: s.agents["beta"].signal(signal.SIGSTOP),
        lambda s: s.left("beta"),
        lambda s: s.agents["beta"].signal(signal.SIGCONT),
    ),
    Fault(
        "a node's agent: kill -9, and never started again",
        lambda s: s.agents["gamma"].kill(),
        lambda s: s.left("gamma"),
        lambda s: None,
    ),
)


@pytest.fixture
def scene(home, tmp_path, postgres, s3):
    with LabOfNodes(tmp_path / "machines", home.root) as lab:
        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(lab.join, NODES))
            served = pool.map(partial(lab.serve, capacity=RESEARCHERS), NODES)
            agents = dict(zip(NODES, served, strict=True))
        where = (f"store={postgres.url()}", f"snapshots={s3.url(tmp_path.name)}")
        yield Scene(lab, postgres, s3, agents, lab.campaign("whole", *FIELDS, *where))


def test_nothing_is_lost_or_doubled_whatever_breaks_in_the_middle(scene):
    scene.until(lambda: len(scene.lab.submitted(scene.name)) == RESEARCHERS)
    assert Counter(m.host for m in scene.lab.fleet(scene.name).values()) == dict.fromkeys(NODES, 3)
    for fault in MATRIX:
        began, before = time.monotonic(), scene.submitted()
        fault.breaks(scene)
        try:
            scene.until(lambda fault=fault: fault.seen(scene))
        finally:
            fault.mends(scene)
        scene.until(lambda before=before: scene.submitted() > before)
        took_s = time.monotonic() - began
        print(f"{fault.what}: {took_s:.0f} s, submissions {before} -> {scene.submitted()}")
    assert scene.running.process.wait(CAMPAIGN_S) == 0, scene.running.said()
    whole(scene)


def whole(scene):
    """Its record has all, once; it was confirmed and reported; and nothing runs any more."""
    said = aar(scene.lab.home, "ledger", "verify", scene.name)
    assert "0 faults" in said.stdout, said.stdout + said.stderr
    entries = scene.lab.entries(scene.name)
    submissions = {e.body["receipt"]["id"]: e for e in entries if e.kind == "submission"}
    each_experiment_is_there_once(entries, submissions)
    each_researchers_log_is_the_ledgers(scene, submissions)
    each_row_of_the_journal_is_there_once(scene, entries)
    assert any(e.kind == "confirmation" for e in entries)
    report = ReportFolder(scene.lab.folder_of(scene.name).report)
    assert json.loads(report.record.read_text())["claims"]
    assert report.html.exists()
    until(lambda: gone(scene.seen), ENDED_S)


def each_experiment_is_there_once(entries, submissions):
    made = [e.read(SubmissionBody) for e in entries if e.kind == "submission"]
    assert len(submissions) == len(made)
    answers = {(e.who, e.body["predictions"]) for e in submissions.values()}
    assert len(answers) == len(made), "the same answers are one submission"
    findings = [(e.who, e.read(FindingBody)) for e in entries if e.kind == "finding"]
    shared = Counter(who for who, _ in findings)
    assert len(shared) == RESEARCHERS
    # one that was moved goes on from its home, and may make again what it did since that was kept
    assert all(EXPERIMENTS <= n <= EXPERIMENTS + AGAIN for n in shared.values()), shared
    results = [(who, b.receipts, b.snapshot) for who, b in findings if b.kind == "result"]
    assert len(set(results)) == len(results)
    assert {receipt for _, receipts, _ in results for receipt in receipts} <= set(submissions)


def each_researchers_log_is_the_ledgers(scene, submissions):
    """Who never moved was told of each of its submissions. Who did may have been lost between its
    last submissions and their lines of the log."""
    transcripts = scene.lab.folder_of(scene.name).transcripts
    for name, member in scene.lab.fleet(scene.name).items():
        text = "".join(path.read_text() for path in (transcripts / name).iterdir())
        reported = set(re.findall(r"^(r-\d+) (?:no )?improve", text, re.M))
        recorded = {receipt for receipt, e in submissions.items() if e.who == name}
        assert reported <= recorded
        assert len(recorded - reported) <= 2 * (member.incarnation - 1), (name, recorded - reported)


def each_row_of_the_journal_is_there_once(scene, entries):
    """Of spends and events; and what each researcher was charged is what the ledger says."""
    path = scene.lab.folder_of(scene.name).gateway.journal
    bodies = [
        e.read(SpendBody if e.kind == "spend" else EventBody)
        for e in entries
        if e.kind in ("spend", "researcher", "campaign")
    ]
    ids = [body.id for body in bodies if body.id is not None]
    assert len(set(ids)) == len(ids)
    with closing(Store(path)) as store, store.reading() as db:
        rows = db.execute("SELECT posted FROM outbox").fetchall()
    assert [row["posted"] for row in rows] == [POSTED] * len(ids)
    spent = Counter()
    for entry in entries:
        if entry.kind == "spend":
            spent[entry.who] += entry.read(SpendBody).wall_s
    with closing(Journal(path)) as journal:
        for name in scene.lab.fleet(scene.name):
            assert spent[name] == pytest.approx(journal.spent(name).wall_s, abs=0.01)
