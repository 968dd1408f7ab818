"""A cluster's engine of which a few runs are run again elsewhere, so that a node that lies about
results is found.

Which runs these are, a secret of this process and a run's key decide, so that no node knows. Their
second run is on another node, or on this machine where there is none. Where both differ, this
machine runs it as well, and is believed. The node that it contradicts runs it again meanwhile: it
gets no more runs if it gives the same result again. Otherwise the code may go by the clock, and no
node is shut out.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from aarlab.core.errors import AarError, Transient
from aarlab.runs.endings import SIGNALS
from aarlab.runs.engine_contract import DeviceEngine, ended
from aarlab.runs.engine_note import Notes, kind_of
from aarlab.runs.local_pool import WaitingJobs, key_with
from aarlab.runs.run_jobs import DeviceCount, Job, JobResources, checked
from aarlab.runs.run_worker import work
from aarlab.sandbox.endable import Endable
from aarlab.sandbox.sandbox import MakeSandbox

AT_ONCE = 512  # jobs that are waited for
HERE = "this machine"
TIMES_HERE = 3  # that this machine runs what two nodes answer differently
AGAIN_S = 600.0  # that a node may take to begin a run again
Say = Callable[[str, str], None]  # words, and whose move it is


class NodeEngine(DeviceEngine, Protocol):
    """An engine that knows which node answered, and runs a job apart from a node or on it alone.
    Where there is no such node, `submit` or `poll` raises Misconfigured."""

    def answered_by(self, key: str) -> str | None:
        """The node that answered a job, as the scheduler knows it; None: nobody knows any more."""
        ...

    def shut_out(self, node: str) -> None:
        """Place nothing on that node from now on."""
        ...


class SampledEngine:
    """See `Engine`. `share`: of the runs that are run again; `say`: is given sentences for the
    operator."""

    def __init__(
        self, engine: NodeEngine, make_sandbox: MakeSandbox, notes: Notes, share: float, say: Say
    ) -> None:
        self._engine, self._here, self.notes = engine, Endable(make_sandbox), notes
        self._share, self._notify = share, say
        self._secret = secrets.token_bytes(32)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="placed")
        self._waiting, self._mutex = WaitingJobs(), threading.Lock()
        self._inner: dict[str, str] = {}  # by key: the key that the engine has it under now
        self._results: dict[str, int] = {}  # by node, how many it gave
        self._doubts: dict[str, int] = {}  # by node, runs in which it alone had another result

    # --- the contract -----------------------------------------------------------------------------

    def submit(self, job: Job, resources: JobResources) -> str:
        """See `Engine`. What an engine refuses, `poll` raises."""
        key = key_with(job, resources)
        return self._waiting.join(key, lambda: self._pool.submit(self._answer, job, resources, key))

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """See `Engine`."""
        return self._waiting.poll(key, wait_s)

    def cancel(self, key: str) -> None:
        """See `Engine`."""
        future = self._waiting.leave(key)
        if future is None or future.cancel():
            return
        with self._mutex:
            inner = self._inner.pop(key, None)
        if inner is not None:
            self._engine.cancel(inner)

    def counted(self, key: str) -> DeviceCount | None:
        """See `DeviceEngine`."""
        with self._mutex:
            inner = self._inner.get(key)
        return None if inner is None else self._engine.counted(inner)

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """See `DeviceEngine`."""
        with self._mutex:
            inner = self._inner.get(key)
        if inner is not None:
            self._engine.allow(inner, attempt, seconds)

    def close(self) -> None:
        """See `Engine`."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._here.end()
        self._engine.close()
        self._pool.shutdown()
        self.notes.close()

    # --- a run, and its second one ----------------------------------------------------------------

    def _answer(self, job: Job, resources: JobResources, key: str) -> bytes:
        self.notes.begun()
        kind = "lost"
        try:
            inner = self._engine.submit(job, resources)
            found = self._ended(key, inner)
            node = self._engine.answered_by(inner)
            if node is not None:
                with self._mutex:
                    self._results[node] = self._results.get(node, 0) + 1
                if job.strong is None and self.chosen(key):
                    found = self._compared(job, resources, key, found, node)
            kind = kind_of(found)
            return found
        finally:
            self.notes.ended(kind)

    def _ended(self, key: str, inner: str) -> bytes:
        with self._mutex:
            self._inner[key] = inner
        try:
            return ended(self._engine, inner)
        finally:
            with self._mutex:
                self._inner.pop(key, None)

    def chosen(self, key: str) -> bool:
        """Whether that run is run again."""
        drawn = hmac.digest(self._secret, key.encode(), "sha256")
        return int.from_bytes(drawn[:8], "big") < self._share * 2**64

    def _compared(
        self, job: Job, resources: JobResources, key: str, first: bytes, node: str
    ) -> bytes:
        """The answer that is believed. A second run that cannot be had is none."""
        if _result(first) is None:
            return first
        try:
            inner = self._engine.submit(job, resources.model_copy(update={"apart": node}))
            second = self._ended(key, inner)
            other = self._engine.answered_by(inner) or "another node"
        except Transient:
            return first
        except AarError:  # there is no other node
            second, other = self._run_here(job), HERE
        if _result(second) is None:
            return first
        unlike = _result(first) != _result(second)
        self.notes.compared(node, unlike)
        if not unlike:
            return first
        here = [second] if other == HERE else []
        return self._judged(_Differing(job, resources, {node: first, other: second}), here)

    def _run_here(self, job: Job) -> bytes:
        found = work(job, job.folders, self._here)
        self._here.require_going_on()  # else it was ended, which says nothing about a node
        return found

    def _judged(self, run: "_Differing", here: list[bytes]) -> bytes:
        """The answer that is believed, where two nodes, or a node and this machine, differ.
        `here`: what this machine has answered already."""
        here = [*here, self._run_here(run.job)]
        alone = run.alone_against(_result(here[0]))
        # between two runs here: a result that changes with time changes here, too
        again = None if alone is None else self._again_on(run, alone)
        here += [self._run_here(run.job) for _ in range(TIMES_HERE - 1)]
        found = {_result(one) for one in here}
        if len(found) > 1 or None in found:
            self._notify(
                f"{run.name} has another result each time, also here: its code goes by more than "
                "its seed. No node is blamed.",
                "submitter",
            )
            return next(iter(run.bodies.values()))
        if alone is None:
            self._notify(
                f"{run.name}: {', '.join(run.bodies)} and this machine have three results. The one "
                "of this machine is taken. Look whether they have the same processors and "
                "libraries.",
                "operator",
            )
        elif again is not None and _result(again) == _result(run.bodies[alone]):
            self._blame(alone, run)
        else:
            self._doubt(alone, run, again)
        return here[0]

    def _again_on(self, run: "_Differing", node: str) -> bytes | None:
        """Its result of that node, once more; None where it cannot be had."""
        try:
            on_it = run.resources.model_copy(update={"only": node})
            inner = self._engine.submit(run.job, on_it)
            found = self._engine.poll(inner, run.job.limits.timeout_s + AGAIN_S)
        except AarError:
            return None
        if found is None:
            self._engine.cancel(inner)
            return None
        return found if self._engine.answered_by(inner) == node else None

    def _doubt(self, node: str, run: "_Differing", again: bytes | None) -> None:
        """A node's result is that of nobody else, and it has not given it again."""
        with self._mutex:
            count = self._doubts[node] = self._doubts.get(node, 0) + 1
        if again is None:
            why = "it could not be run there again"
        else:
            why = "run there again, it had another one: its code may go by the clock"
        self._notify(
            f"{run.name} had a result on {node} that is not that of {run.beside(node)}, and {why}. "
            "The result of this machine is taken, and no node is shut out. So far this was seen "
            f"of {node} {count} times: if the code was that of several people, examine the node.",
            "submitter" if count == 1 else "operator",
        )

    def _blame(self, node: str, run: "_Differing") -> None:
        """A node's result is not that of another one and of this machine, and it gave it twice."""
        with self._mutex:
            before = self._results.get(node, 0)
        why = (
            f"its result of {run.name} differs from that of {run.beside(node)}, which ran it "
            f"{TIMES_HERE} times, and it gave it twice"
        )
        self._engine.shut_out(node)
        self.notes.shut_out(node, why)
        self._notify(
            f"The node {node} is shut out: {why}. {before} results of this process came from it, "
            "and were not all run again: examine the node, then confirm again what rests on them.",
            "operator",
        )


class _Differing(NamedTuple):
    """A run that two have answered differently; `bodies`: by node, or HERE."""

    job: Job
    resources: JobResources
    bodies: dict[str, bytes]

    @property
    def name(self) -> str:
        return f"{self.job.name} ({self.job.key[:12]})"

    def alone_against(self, truth: object) -> str | None:
        """The node whose result is not that one, while the other's is; None: neither's is."""
        unlike = [node for node, body in self.bodies.items() if _result(body) != truth]
        return unlike[0] if len(unlike) == 1 else None

    def beside(self, node: str) -> str:
        """Who had the other result."""
        others = [other for other in self.bodies if other not in (node, HERE)]
        return " and of ".join([*others, HERE])


def _result(body: bytes) -> tuple[bool, bytes | None, bool] | None:
    """What must be the same wherever a job is run; None where it was not run to its end."""
    try:
        head, result = checked(body)
    except Transient:
        return None
    by_signal = head.returncode < 0 or head.returncode in SIGNALS
    if head.error is not None or head.timed_out or head.limit is not None or by_signal:
        return None
    return head.returncode == 0, result, head.misshapen
