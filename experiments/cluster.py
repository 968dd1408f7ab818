"""What a cluster's parts cost beside this machine's own: milliseconds a run, and runs a second,
through Ray and Slurm beside the local pool; milliseconds an append and appends a second in
PostgreSQL (beside SQLite). Measured in turns, with a 95 % interval of the median by the bootstrap.

Run: RAY_ADDRESS=HOST:PORT python -m experiments.cluster --slurm SHARED --store
postgresql://aar@HOST:PORT/aar (each part alone without the others' settings). Hypothesis: under 50
ms a run, under 5 ms an append. No test asserts a time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.evaluation.ledger.places import Places, note_places
from aarlab.runs.engine_contract import Engine, finished, shell
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.run_jobs import JobResources
from aarlab.sandbox import Bubblewrap

WORKERS, THREADS, BURST = 2, 16, 800
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


def engines(rounds: int, address: str | None, shared: Path | None) -> None:
    """The same jobs here and on the clusters that are named."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        local = stack.enter_context(closing(LocalPool(Bubblewrap, Path(place), workers=WORKERS)))
        all_: dict[str, Engine] = {"here": local}
        if address:
            from aarlab.runs.ray_engine import RayEngine

            all_["Ray"] = stack.enter_context(closing(RayEngine(address)))
        if shared:
            from aarlab.runs.slurm_engine import SlurmEngine

            made = SlurmEngine(shared, workers=WORKERS)
            all_["Slurm"] = stack.enter_context(closing(made))
        times: dict[str, list[float]] = {name: [] for name in all_}
        for number in range(rounds + 2):  # the first two start workers
            for name, engine in all_.items():
                job = shell("printf x > result", f"job {number}")
                took = timed(lambda engine=engine, job=job: finished(engine, job))
                times[name] += [took] if number > 1 else []
        for name, found in times.items():
            print(shown(f"a job, {name}", found))
            if name != "here":
                print(shown(f"{name} adds", list(np.subtract(found, times["here"]))))
        rates: dict[str, list[float]] = {name: [] for name in all_}
        for turn in range(TURNS):
            for name, engine in all_.items():
                rates[name].append(jobs_a_second(engine, f"{name} {turn}"))
        for name, found in rates.items():
            each = ", ".join(f"{rate:.1f}" for rate in found)
            print(f"{name}: {np.median(found):.1f} jobs a second ({each}), {JOBS} at once")
        print(f"load: {os.getloadavg()[0]:.1f}")


def jobs_a_second(engine: Engine, about: str) -> float:
    """Of JOBS small ones that are submitted at once."""
    began = time.perf_counter()
    jobs = [shell("printf x > result", f"{about} {n}") for n in range(JOBS)]
    for key in [engine.submit(job, JobResources()) for job in jobs]:
        while engine.poll(key, 60.0) is None:
            pass
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--store", help="postgresql://USER@HOST:PORT/DATABASE, prepared")
    parser.add_argument("--slurm", type=Path, help="a folder that Slurm's nodes have")
    a = parser.parse_args()
    if a.store:
        stores(5 * a.rounds, a.store)
    if (address := os.environ.get("RAY_ADDRESS")) or a.slurm:
        engines(a.rounds, address, a.slurm)


if __name__ == "__main__":
    main()
