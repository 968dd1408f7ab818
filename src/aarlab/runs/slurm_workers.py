"""The workers of one process in Slurm: which there are, which are lost, and how many more jobs
need."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from aarlab.core.cluster_layout import SlurmFolder
from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.own_code import ROOT
from aarlab.runs.slurm_commands import ArrayTask, SlurmOptions, cancel, submit, tasks_of
from aarlab.runs.slurm_folder import Size, TakenJob, WorkerRecord, record_in, remove

STARTS = 3  # arrays in a row of which no worker began
LOST_S = 120.0  # of a silent worker; a shared disk may show its beats a minute late
IDLE_S, GONE_S = 20.0, 180.0  # of workers: without a job; without who submits
DEVICE_IDLE_S = 120.0  # of one that has models on a device
WORKER = "aarlab.runs.slurm_worker"


class SlurmWorkers:
    """`most`: of one size, at once. `nodes`: by task, as Slurm says."""

    def __init__(
        self, folder: SlurmFolder, name: str, options: SlurmOptions, most: int, idle_s: float
    ) -> None:
        """Raises Misconfigured: see `SlurmOptions.argv`."""
        self._folder, self._name, self._most, self._idle_s = folder, name, most, idle_s
        self._sbatch, self._minutes = options.argv, options.minutes
        self.nodes: dict[str, str] = {}
        self.to_cancel: list[str] = []  # tasks
        self._arrays: dict[str, Size] = {}  # by number
        self._began: set[str] = set()  # arrays of which a worker was seen
        self._beats: dict[str, tuple[int, float]] = {}  # by worker: its beat, and since when
        self._keys: dict[str, str] = {}  # by task: the public key of its worker
        self._disputed: dict[
            str, bool
        ] = {}  # tasks of which two keys were said: was that reported?
        self.without: set[str] = set()  # nodes that are shut out
        self._failed_starts = 0

    def asked(self) -> dict[str, ArrayTask]:
        """What Slurm says of them; those that are not wanted any more are ended.

        Raises:
            Transient, Misconfigured: see `tasks_of`.
        """
        tasks = tasks_of(self._name)
        self.nodes |= {name: task.node for name, task in tasks.items() if task.node}
        # also those that began there after it was shut out
        self.to_cancel += [name for name, task in tasks.items() if task.node in self.without]
        ended = [self.to_cancel.pop() for _ in range(len(self.to_cancel))]
        cancel([task for task in ended if task in tasks])
        for path in self._folder.workers.glob("*.json"):
            self._began.add(_array_of(path.name))
            self.key_of(path.stem)
            if task_of(path.stem) not in tasks:
                remove(path)
        return {name: task for name, task in tasks.items() if name not in ended}

    def key_of(self, worker: str) -> str:
        """The public key of a worker; "" if it has said none, another one was said as well, or its
        node is shut out. A task has one worker, which says its key again and again."""
        task = task_of(worker)
        found = record_in(self._folder.worker(worker), WorkerRecord)
        said = found.public if found is not None and found.task == task else None
        if said is not None and self._keys.setdefault(task, said) != said:
            self._disputed.setdefault(task, False)
        if task in self._disputed or self.nodes.get(task) in self.without:
            return ""
        return self._keys.get(task, "")

    def newly_disputed(self) -> list[str]:
        """Tasks of which two keys were said, each once; they are ended."""
        found = [task for task, reported in self._disputed.items() if not reported]
        self._disputed |= dict.fromkeys(found, True)
        self.to_cancel += found
        return found

    def lost(
        self, held: list[TakenJob], tasks: Mapping[str, ArrayTask] | None
    ) -> list[tuple[TakenJob, str]]:
        """Jobs whose worker has ended, and why. `tasks` is None: Slurm does not say."""
        found = []
        for lease in held:
            task = task_of(lease.worker)
            runs = tasks is None or (task in tasks and tasks[task].state == "RUNNING")
            silent = self._silent_s(lease.worker) > LOST_S
            if (runs and not silent) or not lease.path.exists():
                continue
            if runs:
                self.to_cancel.append(task)
            if not (self._folder.ends / lease.key).exists():
                on = f" on {self.nodes[task]}" if task in self.nodes else ""
                found.append((lease, f"its worker{on} {'was silent' if runs else 'ended'}"))
        return found

    def _silent_s(self, worker: str) -> float:
        found = record_in(self._folder.worker(worker), WorkerRecord)
        beat, now = -1 if found is None else found.beat, time.monotonic()
        known = self._beats.get(worker)
        if known is None or known[0] != beat:
            known = self._beats[worker] = beat, now
        return now - known[1]

    def require_begun(self, tasks: Mapping[str, ArrayTask]) -> None:
        """Raise where workers end as soon as Slurm starts them: the node lacks something.

        Raises:
            Misconfigured: STARTS arrays in a row had no worker that began.
        """
        alive = {_array_of(name) for name, task in tasks.items() if task.alive}
        for array in [a for a in self._arrays if a not in alive]:
            del self._arrays[array]
            if array in self._began:
                self._failed_starts = 0
                continue
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                self._failed_starts = 0
                raise Misconfigured(
                    f"Slurm starts workers, and they end at once: {self._last_output(array)}. Each "
                    f"node needs {sys.executable} with the same aarlab, and {self._folder.root}."
                )

    def _last_output(self, array: str) -> str:
        for path in sorted(self._folder.logs.glob(f"{array}_*")):
            with suppress(OSError):
                if lines := path.read_text(errors="replace")[-4000:].strip().splitlines():
                    return f"{lines[-1][:300]!a}"
        return "they left no log, so that the nodes may lack the folder"

    def start(
        self, needed: Counter[Size], tasks: Mapping[str, ArrayTask]
    ) -> dict[Size, Misconfigured]:
        """Start as many as jobs need, by their size, and there are not. The sizes of which there
        can be none: one node may be refused, and others not.

        Raises:
            Transient: see `submit`.
        """
        refused = {}
        for size, jobs in needed.items():
            there = [n for n, t in tasks.items() if t.alive and self._fits(n, size)]
            if (lack := min(jobs, self._most) - len(there)) > 0:
                try:
                    self._start(size, lack)
                except Misconfigured as error:
                    refused[size] = error
        return refused

    def _start(self, size: Size, count: int) -> None:
        if size.only in self.without:
            raise Misconfigured(f"The node {size.only} is shut out.")
        options = [*self._asked_for(size), *self._sbatch]
        log = f"{self._folder.logs}/%A_%a"
        number = submit(self._name, self._argv(size), count, options, log)
        self._forget(number)
        self._arrays[number] = size

    def _forget(self, number: str) -> None:
        """Nothing that was seen is of this array: a controller that lost its state counts again."""
        for known in (self._keys, self.nodes):
            for task in [task for task in known if _array_of(task) == number]:
                del known[task]
        self._began.discard(number)
        self._disputed = {
            t: reported for t, reported in self._disputed.items() if _array_of(t) != number
        }

    def _fits(self, task: str, size: Size) -> bool:
        """Whether a task's worker takes jobs of that size."""
        its = self._arrays.get(_array_of(task))
        permitted = task in self.nodes and size.may_be_on(self.nodes[task])
        return its == size or (its == size.shared and permitted)

    def _asked_for(self, size: Size) -> list[str]:
        words = [f"--cpus-per-task={size.cpus}", f"--mem={size.mib}M"]
        words += ["--exclusive"] if size.alone else []
        words += ["--gres=gpu:1"] if size.gpus else []
        words += [f"--nodelist={size.only}"] if size.only else []
        without = sorted(self.without | ({size.apart} if size.apart else set()))
        return [*words, f"--exclude={','.join(without)}"] if without else words

    def _argv(self, size: Size) -> list[str]:
        # without cgroups a model worker sees all processors of its node, and would take them
        env = [f"PYTHONPATH={ROOT.parent}", f"OMP_NUM_THREADS={size.cpus}"]
        argv = ["env", *env, sys.executable, "-m", WORKER]
        argv += ["--folder", str(self._folder.root)]
        idle_s = self._idle_s if size.gpus is None else max(self._idle_s, DEVICE_IDLE_S)
        argv += ["--size", str(size), "--idle-s", str(idle_s), "--gone-s", str(GONE_S)]
        return argv if self._minutes is None else [*argv, "--minutes", str(self._minutes)]


def require_moving(tasks: Mapping[str, ArrayTask]) -> None:
    """Raises Transient where Slurm will not start some before somebody acts."""
    if stuck := Counter(task.reason for task in tasks.values() if task.stuck):
        reasons = ", ".join(f"{reason} ({count})" for reason, count in stuck.items())
        raise Transient(f"Slurm does not start workers: {reasons}; `squeue --me` says more.")


def task_of(worker: str) -> str:
    """The task that a worker's name says."""
    return worker.rpartition("-")[0]


def _array_of(task: str) -> str:
    return task.partition("_")[0]
