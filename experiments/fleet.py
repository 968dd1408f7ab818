"""What an idle researcher costs: memory (PSS), processor and open files, by kind and part, for
fleets of 1, 9 and 100 on this machine.

Run: `python -m experiments.fleet [--kind search --kind scripted] [--size 1 --size 9] [--nodes 3]`.
Each fleet is real: the server, the gateway, the supervisor and bubblewrap; with `--nodes`, a hub
and so many agents of nodes on this machine. Idle is, for the search researcher, waiting for the lab
to run its code (code mode without a worker); for Claude Code (kind `scripted`), waiting for a model
that has not answered; kind `sleep` is a program that does nothing. PSS counts a page that n
processes share as 1/n of a page in each, so that parts add up. No test asserts a figure; figures go
into LOG.md.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from aarlab.core.settings import Home
from aarlab.evaluation.code_requests import CODE_ONLY
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet import outbox
from aarlab.fleet.campaign import Campaign, ResearcherLimits
from aarlab.fleet.enrol import enrol
from aarlab.fleet.hosts import hosts_of
from aarlab.fleet.launch import running_parts
from aarlab.fleet.measure_baselines import measure_baselines
from aarlab.fleet.state import FleetState
from aarlab.fleet.supervisor import Fleet
from aarlab.researchers.researcher import CommandTemplate
from aarlab.runs.engine import LocalEngine
from aarlab.sandbox import Bubblewrap
from aarlab.testbeds import student
from aarlab.testbeds.code_mode_view import code_mode_view
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.testbed import Testbed
from experiments.nodes_lab import NodesLab

TICKS, MIB = os.sysconf("SC_CLK_TCK"), 1 << 20
# after the last has shown itself; over which the processor is measured, so many times
SETTLE_S, WINDOW_S, WINDOWS = 20.0, 20.0, 3
LONGEST_S = 540.0
WAITS = {
    "turns": [
        {"say": "I look.", "calls": [{"tool": "Bash", "input": {"command": "true"}}]},
        {"pause_s": 86_400},
    ]
}
SLEEPS = CommandTemplate(argv=("sleep", "86400"))
UNUSED = {"base_url": "http://127.0.0.1:9/v1", "prices": {"input": 0, "output": 0}}
PARTS = {  # by what stands on the command line, the first that fits
    "forwarder": "aarlab.researchers.inside",
    "bridge": "aarlab.researchers.bridge",
    "search": "aarlab.researchers.search",
    "Claude Code": "claude",
    "gateway": "aarlab.gateway.serve",
    "server": "aarlab.lab.serve",
    "evaluator": "aarlab.evaluation.evaluator_service",
    "scripted API": "aarlab.researchers.scripted_api",
    "hub": " node hub ",
    "agents": " node serve ",
}
# programs; their command lines hold those of what they start
SANDBOX = {"bwrap", "setpriv", "prlimit", "env"}
OURS = ("supervisor", "server", "evaluator", "gateway", "scripted API", "hub", "agents")


@dataclass(frozen=True)
class Process:
    """One process at one moment."""

    part: str
    pss_bytes: int
    files: int


@dataclass(frozen=True)
class Look:
    """Processor seconds of each process until some time, and those that the look itself took."""

    at: float
    cpu_s: Mapping[int, float]
    own_s: float


class Measured(Exception):  # the end of a measurement, by which the fleet is stopped
    """All was seen."""


def look(root: int) -> Look:
    """At the process and all below it."""
    own_s, at = time.process_time(), time.monotonic()
    stats, children = {}, defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := stat_of(int(folder.name))):
            stats[int(folder.name)] = fields
            children[int(fields[1])].append(int(folder.name))
    found, todo = {}, [root]
    while todo:
        pid = todo.pop()
        todo += children[pid]
        if fields := stats.get(pid):
            found[pid] = (int(fields[11]) + int(fields[12])) / TICKS
    return Look(at, found, time.process_time() - own_s)


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; [] once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def looked_at(pid: int, root: int) -> Process | None:
    """What one process uses; None once it is gone."""
    try:
        words = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    pss = next((int(line.split()[1]) << 10 for line in rollup if line.startswith("Pss:")), 0)
    return Process(part_of(pid, words, root), pss, files)


def part_of(pid: int, words: str, root: int) -> str:
    """What a process is, by its command line."""
    if pid == root:
        return "supervisor"
    if Path(words.split(" ")[0]).name in SANDBOX:
        return "sandbox"
    return next((part for part, mark in PARTS.items() if mark in words), "others")


@dataclass(frozen=True)
class Row:
    """One part of one fleet: how many processes; MiB, open files, and, in each window, percent of
    one core of all."""

    part: str
    processes: int
    mib: float
    files: int
    core_percents: tuple[float, ...]


def rows(looks: Sequence[Look], root: int) -> list[Row]:
    """By part, of the processes that were there at all looks; what came or went in between is not
    idle."""
    parts: dict[str, dict[int, Process]] = defaultdict(dict)
    for pid in set[int].intersection(*(set(one.cpu_s) for one in looks)):
        if found := looked_at(pid, root):
            parts[found.part][pid] = found
    return [
        Row(
            part,
            len(found),
            sum(one.pss_bytes for one in found.values()) / MIB,
            sum(one.files for one in found.values()),
            tuple(core_percent(found, root, *pair) for pair in pairwise(looks)),
        )
        for part, found in sorted(parts.items())
    ]


def core_percent(pids: Collection[int], root: int, before: Look, after: Look) -> float:
    """Of one core, by all of them between two looks; without what the first look took itself."""
    used_s = sum(after.cpu_s[pid] - before.cpu_s[pid] for pid in pids)
    if root in pids:
        used_s -= before.own_s
    return 100 * used_s / (after.at - before.at)


class Watching:
    """Called at each look of the supervisor: waits until all are idle, measures, ends the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.began = fleet, time.monotonic()
        self.all_started_s: float | None = None
        self.idle_at: float | None = None
        self.looks: list[Look] = []
        self.rows: list[Row] = []

    def __call__(self, state: FleetState) -> None:
        """One look."""
        now = time.monotonic()
        if not all(member.state == "running" for member in state.members):
            return
        if self.all_started_s is None:
            began = time.time() - (now - self.began)
            self.all_started_s = max(m.started_at or 0.0 for m in state.members) - began
        if self.idle_at is None and all(self._idle(state)):
            self.idle_at = now
        if self.idle_at is None or now - self.idle_at < SETTLE_S:
            return
        if not self.looks or now - self.looks[-1].at >= WINDOW_S:
            self.looks.append(look(os.getpid()))
        if len(self.looks) > WINDOWS:
            self.rows = rows(self.looks, os.getpid())
            raise Measured

    def _idle(self, state: FleetState) -> Iterator[bool]:
        """Whether each has come as far as it will: its tool's result is there, or its code waits to
        be run."""
        waiting = self._waiting() if self.fleet.campaign.kind == "search" else set()
        for member in self.fleet.members:
            if self.fleet.campaign.kind == "command":
                yield True
                continue
            log = member.log
            yield member.name in waiting or (
                log is not None and log.exists() and b"tool_result" in log.read_bytes()
            )

    def _waiting(self) -> set[str]:
        ledger = Ledger(self.fleet.folder / "server" / "ledger.sqlite", read_only=True)
        try:
            return {entry.who for entry in ledger.entries("request")}
        finally:
            ledger.close()


def campaign_of(kind: str, size: int, root: Path, nodes: Sequence[str]) -> Campaign:
    """Its fields."""
    script = root / "waits.yaml"
    script.write_text(yaml.safe_dump(WAITS))
    given: dict[str, Any] = {
        "kind": kind,
        "researchers": size,
        "student": "double",
        "problem": "generated-chat",
    }
    given |= {
        "search": {"mode": "code"},
        "scripted": {"script": str(script)},
        "sleep": {"kind": "command", "command": SLEEPS, "model_api": UNUSED, "model": "none"},
    }[kind]
    limits = ResearcherLimits(memory_gib=2.0)
    return Campaign(name=f"{kind}-{size}", limits=limits, hosts=tuple(nodes), **given)


@contextmanager
def served_by(nodes: int, size: int, root: Path) -> Iterator[list[str]]:
    """The names of so many nodes of this machine, which have room for that many researchers."""
    names = [f"n{number}-of-{size}" for number in range(nodes)]
    with NodesLab(root / f"machines-{size}", root) if nodes else nullcontext() as lab:
        for name in names:
            lab.join(name)
            lab.serve(name, -(-size // nodes))
        yield names


def measure(campaign: Campaign, bed: Testbed, root: Path) -> Watching:
    """One fleet, started, left alone, measured and stopped."""
    kind, folder = campaign.kind, root / campaign.name
    campaign.save(folder)
    shown = code_mode_view(bed) if kind == "search" else bed
    with running_parts(campaign, folder, bed.folder) as parts:
        if campaign.mode == "code":
            parts.journal.note("campaign", "operator", {"event": CODE_ONLY})
            outbox.post_all(parts.journal, parts.evaluator, within_s=30)
        members = enrol(campaign, folder, shown.public, parts.journal)
        with hosts_of(campaign, folder, members, shown.public, Bubblewrap) as hosts:
            fleet = Fleet(campaign, folder, shown.public, Bubblewrap, members, parts, hosts=hosts)
            watching = Watching(fleet)
            try:
                why = fleet.run(LONGEST_S, watching)
            except Measured:
                return watching
    words = members[0].transcripts.joinpath("001.jsonl").read_text(errors="replace")[-1000:]
    raise SystemExit(
        f"{campaign.name} did not come to rest within {LONGEST_S:.0f} s: {why}. Its last words: "
        f"{words}"
    )


def report(kind: str, size: int, watching: Watching) -> None:
    """One table."""
    print(f"\n{size} x {kind}: all started in {watching.all_started_s:.2f} s")
    print(
        "| part | processes | MiB (PSS) | files | of one core | MiB a researcher | files a "
        "researcher | of one core a researcher |"
    )
    print("|---|---|---|---|---|---|---|---|")
    own = [row for row in watching.rows if row.part not in OURS]
    total = Row(
        "a researcher, all parts",
        sum(r.processes for r in own),
        sum(r.mib for r in own),
        sum(r.files for r in own),
        tuple(map(sum, zip(*(r.core_percents for r in own), strict=True))),
    )
    for row in (*watching.rows, total):
        middle, low, high = (f(row.core_percents) for f in (median, min, max))
        print(
            f"| {row.part} | {row.processes} | {row.mib:.1f} | {row.files} | "
            f"{middle:.1f} % ({low:.1f}, {high:.1f}) | {row.mib / size:.1f} | "
            f"{row.files / size:.1f} | {middle / size:.3f} % |",
            flush=True,
        )


@contextmanager
def prepared() -> Iterator[tuple[Testbed, Path]]:
    """A small testbed in a folder that is removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="aar-fleet-"))
    try:
        os.environ["AAR_HOME"] = str(root)
        home = Home(root)
        bed = prepare(
            "generated-chat", 1, home=home, student=student.COUNTING, progress=lambda *_: None
        )
        engine = LocalEngine(bed, home.root / "runs", Bubblewrap, workers=2, timeout_s=60)
        measure_baselines(engine, lambda *_: None)
        engine.close()
        yield bed, root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main(kinds: Sequence[str], sizes: Sequence[int], nodes: int) -> None:
    """Every kind in every size."""
    with prepared() as (bed, root):
        for kind in kinds:
            for size in sizes:
                with served_by(nodes, size, root) as names:
                    report(kind, size, measure(campaign_of(kind, size, root, names), bed, root))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=["search", "scripted", "sleep"])
    parser.add_argument("--size", action="append", type=int)
    parser.add_argument("--nodes", type=int, default=0)
    asked = parser.parse_args()
    main(asked.kind or ["search", "scripted"], asked.size or [1, 9, 100], asked.nodes)
