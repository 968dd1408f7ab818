"""What a cluster's parts cost beside this machine's own: milliseconds a run, and runs a second,
through Ray and Slurm beside the local pool; milliseconds an append and appends a second in
PostgreSQL (beside SQLite), and the forum's first answer from either. Measured in turns, with a 95 %
interval of the median by the bootstrap.

Run: RAY_ADDRESS=HOST:PORT python -m experiments.cluster --slurm SHARED --store
postgresql://aar@HOST:PORT/aar (each part alone without the others' settings). Hypothesis: under 50
ms a run, under 5 ms an append. No test asserts a time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from aarlab.core.findings import FindingsView
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import Places, note_places
from aarlab.runs.engine_contract import Engine, shell
from aarlab.runs.engine_note import Notes
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.run_jobs import Job, JobResources
from aarlab.runs.run_worker import work
from aarlab.runs.sampled_engine import NodeEngine, SampledEngine
from aarlab.sandbox import Bubblewrap

WORKERS, THREADS, BURST, POSTS = 2, 16, 800, 10_000
JOBS, TURNS = 40, 3


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - began)


def shown(name: str, times_ms: Sequence[float]) -> str:
    """The median and its interval."""
    rng = np.random.default_rng(0)
    drawn = np.median(rng.choice(times_ms, (2_000, len(times_ms))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{name}: {np.median(times_ms):.2f} ms [{low:.2f}, {high:.2f}], n = {len(times_ms)}"


class Direct:
    """A run without any engine: what all of them add to. Waits in `submit`."""

    def __init__(self) -> None:
        self._ends: dict[str, bytes] = {}

    def submit(self, job: Job, resources: JobResources) -> str:
        self._ends[job.key] = work(job, job.folders, Bubblewrap)
        return job.key

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        return self._ends.pop(key)

    def cancel(self, key: str) -> None:
        """Nothing: it has ended."""

    def close(self) -> None:
        """Nothing."""


def engines(rounds: int, address: str | None, shared: Path | None) -> None:
    """The same jobs without an engine, here and on the clusters that are named, as a campaign has
    them (its second runs left out)."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        local = stack.enter_context(closing(LocalPool(Bubblewrap, Path(place), workers=WORKERS)))
        all_: dict[str, Engine] = {"no engine": Direct(), "here": local}
        for name, engine in clusters(address, shared):
            notes = Notes(Path(place), name)
            made = SampledEngine(engine, Bubblewrap, notes, 0.0, lambda *_: None)
            all_[name] = stack.enter_context(closing(made))
        print(f"load: {os.getloadavg()[0]:.1f}")
        for at_once in (1, WORKERS):
            named = {n: e for n, e in all_.items() if at_once == 1 or n != "no engine"}
            costs(named, rounds, at_once)
        rates: dict[str, list[float]] = {name: [] for name in all_ if name != "no engine"}
        for turn in range(TURNS):
            for name, found in rates.items():
                found.append(jobs_a_second(all_[name], f"{name} {turn}"))
        for name, found in rates.items():
            each = ", ".join(f"{rate:.1f}" for rate in found)
            print(f"{name}: {np.median(found):.1f} jobs a second ({each}), {JOBS} at once")
        print(f"load: {os.getloadavg()[0]:.1f}")


def clusters(address: str | None, shared: Path | None) -> Iterator[tuple[str, NodeEngine]]:
    """Those that are named."""
    if address:
        from aarlab.runs.ray_engine import RayEngine

        yield "Ray", RayEngine(address)
    if shared:
        from aarlab.runs.slurm_engine import SlurmEngine

        yield "Slurm", SlurmEngine(shared, workers=WORKERS)


def costs(all_: Mapping[str, Engine], rounds: int, at_once: int) -> None:
    """What a job takes, and what each engine adds to one here: each round has every engine once, in
    an order of its own. `at_once`: as many jobs are submitted together, and all waited for."""
    times: dict[str, list[float]] = {name: [] for name in all_}
    rng = np.random.default_rng(0)
    for number in range(rounds + 2):  # the first two start workers
        for name in rng.permutation(list(all_)):
            jobs = [shell("printf x > result", f"{at_once} {number} {n}") for n in range(at_once)]
            took = timed(lambda name=name, jobs=jobs: together(all_[name], jobs))
            times[name] += [took] if number > 1 else []
    about = "a job" if at_once == 1 else f"{at_once} jobs at once"
    for name, found in times.items():
        print(shown(f"{about}, {name}", found))
    for name, found in times.items():
        if name != "here":
            print(shown(f"{about}: {name} adds", np.subtract(found, times["here"])))


def together(engine: Engine, jobs: Sequence[Job]) -> None:
    """Submit jobs, and wait for the end of all."""
    for key in [engine.submit(job, JobResources()) for job in jobs]:
        while engine.poll(key, 60.0) is None:
            pass


def jobs_a_second(engine: Engine, about: str) -> float:
    """Of JOBS small ones that are submitted at once."""
    began = time.perf_counter()
    together(engine, [shell("printf x > result", f"{about} {n}") for n in range(JOBS)])
    return JOBS / (time.perf_counter() - began)


def stores(rounds: int, url: str) -> None:
    """The same appends to SQLite and to PostgreSQL."""
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("SQLite", "PostgreSQL")}
        for name, folder in folders.items():
            folder.mkdir()
            if name == "PostgreSQL":
                log = f"experiment-{time.time_ns()}"
                note_places(folder, Places(ledger=url, log=log))
        open_ = {n: Ledger(folder / "ledger.sqlite", alone=True) for n, folder in folders.items()}
        times: dict[str, list[float]] = {name: [] for name in open_}
        for number in range(rounds):
            for name, ledger in open_.items():
                body = {"n": number}
                act = lambda ledger=ledger, body=body: ledger.append("spend", "a", body)  # noqa: E731
                times[name].append(timed(act))
        for name, ledger in open_.items():
            print(shown(f"an append to {name}", times[name]))
            with ThreadPoolExecutor(THREADS) as pool:
                began = time.perf_counter()
                list(pool.map(lambda n, o=ledger: o.append("spend", "a", {"n": n}), range(BURST)))
            rate = BURST / (time.perf_counter() - began)
            print(f"{name}, {THREADS} threads: {rate:.0f} appends a second, n = {BURST}")
            ledger.close()


def forum(rounds: int, url: str) -> None:
    """A first answer of the forum after a start: its index is made from the ledger's entries."""
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("SQLite", "PostgreSQL")}
        for name, folder in folders.items():
            folder.mkdir()
            if name == "PostgreSQL":
                note_places(folder, Places(ledger=url, log=f"experiment-{time.time_ns()}"))
            body = {"kind": "insight", "family": "other", "receipts": [], "snapshot": None}
            texts = [{"title": f"finding {n}", "text": f"words {n} " * 60} for n in range(POSTS)]
            made = [Draft("finding", "a", body | text | {"parent": None}) for text in texts]
            with closing(Ledger(folder / "ledger.sqlite", alone=True)) as ledger:
                for at in range(0, POSTS, BURST):
                    ledger.append_many(made[at : at + BURST])
        times: dict[str, list[float]] = {name: [] for name in folders}
        for _ in range(rounds):
            for name, folder in folders.items():
                times[name].append(timed(lambda folder=folder: listed(folder)))
        for name, found in times.items():
            print(shown(f"{POSTS:,} posts in {name}, to a first list and search", found))
        print(f"load: {os.getloadavg()[0]:.1f}")


def listed(folder: Path) -> None:
    """As a process does it that starts with nothing but the ledger."""
    with closing(Ledger(folder / "ledger.sqlite", read_only=True)) as ledger:
        view = FindingsView(ledger)
        assert len(view.since(0, 20)) == 20
        assert len(view.search("words 17")) == 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--store", help="postgresql://USER@HOST:PORT/DATABASE, prepared")
    parser.add_argument("--slurm", type=Path, help="a folder that Slurm's nodes have")
    a = parser.parse_args()
    if a.store:
        stores(5 * a.rounds, a.store)
        forum(max(1, a.rounds // 3), a.store)
    if (address := os.environ.get("RAY_ADDRESS")) or a.slurm:
        engines(a.rounds, address, a.slurm)


if __name__ == "__main__":
    main()
