"""Code mode on the operator's side: takes waiting code from the evaluator, runs it, and hands back
answers or how it failed.

The run on feedback items is as every run: a clean sandbox without network, on the issued seeds.
What it prints is dropped, for it could print the items. Where it fails, the same code is run on the
student split in a sandbox that holds no test item; if it fails there in the same way, the end of
what it printed there goes to its author, who can debug by it. What the machine ended, twice, is no
outcome of the code: its author is informed, is charged nothing, and may ask for the same run again.

How a run ends and how long it takes can depend on items, not on labels: no label is in the sandbox.
"""

import subprocess
from collections.abc import Callable, Container
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Transient
from aarlab.core.http_errors import ABSENT
from aarlab.core.snapshot import Files
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.models.device_meter import OPERATOR
from aarlab.runs.engine import MISSHAPEN, LocalEngine

LOG_CHARACTERS = 4000
# {"predictions"}, {"graded"} (of a problem in a folder), or {"failure", "log"}; "fault": what the
# operator must act on
Outcome = dict[str, Any]
UNFIT = "The answers are not one 0 or 1 for each item and issued seed."


class Runs(Protocol):
    """What runs the code of tickets. `unfit`: as text, that the evaluator took no result of it."""

    pool: ThreadPoolExecutor
    unfit: str

    def outcome(
        self, ticket: str, files: Files, seeds: tuple[int, ...], who: str = OPERATOR
    ) -> Outcome:
        """What became of a snapshot on its issued seeds; `who` asked for it.

        Raises:
            Transient, Misconfigured: it could not be run; that is no outcome.
        """
        ...

    def stop(self) -> None:
        """End all that runs: its `outcome` raises Transient."""
        ...


class EngineRuns:
    """Runs on the feedback items of a testbed; where code fails there, on its student items."""

    unfit = UNFIT

    def __init__(self, on_feedback: LocalEngine, on_student: LocalEngine) -> None:
        self._on_feedback, self._on_student = on_feedback, on_student
        self.pool = on_feedback.pool

    def outcome(
        self, ticket: str, files: Files, seeds: tuple[int, ...], who: str = OPERATOR
    ) -> Outcome:
        """See `Runs`: the answers to the feedback items, or how it failed: the kind, and a log that
        has seen no such item. `who` is charged for the device."""
        del ticket
        try:
            return {"predictions": self._on_feedback.run(files, "feedback", seeds, who=who).answers}
        except CouldNotBeRun as error:
            again = "Ask for it again with submit_code: the seeds stay the same."
            return {"failure": error.facts["failure"], "log": f"{error} {again}"}
        except InvalidSubmission as error:
            failure = error.facts.get("failure", MISSHAPEN)
        return {"failure": failure, "log": self._rehearsal(files, seeds, who, failure)}

    def _rehearsal(self, files: Files, seeds: tuple[int, ...], who: str, failure: str) -> str:
        try:
            self._on_student.run(files, "student", seeds, who=who)
        except CouldNotBeRun as error:
            return str(error)
        except InvalidSubmission as error:
            found = error.facts.get("failure", MISSHAPEN)
            if found == failure:
                return str(error.facts.get("log", error))[-LOG_CHARACTERS:]
            return f"On the student split it failed in another way: {found}."
        return "It does run on the student split."

    def stop(self) -> None:
        """See `Runs`."""
        self._on_feedback.engine.close()
        self._on_student.engine.close()


class CodeWorker:
    """Runs what waits, a few at a time; `step` never blocks. What it forgets by being killed, the
    evaluator's ledger knows."""

    def __init__(self, evaluator: EvaluatorProcess, runs: Runs, *, at_once: int) -> None:
        self._evaluator, self._runs, self._at_once = evaluator, runs, at_once
        self._running: dict[str, Future[Outcome]] = {}  # by ticket
        self._faults: list[str] = []  # what the operator must act on

    def step(self, spent: Container[str] = ()) -> None:
        """Hand back what has ended and start what waits, but for who is in `spent`.

        Raises:
            Misconfigured: the machine cannot run code; the operator must act.
            Transient: it cannot do so now (the disk is full, say), or the server does not answer.
        """
        self._hand_back()
        free = self._at_once - len(self._running)
        if free <= 0:
            return
        waiting = self._evaluator.call("waiting_requests")["requests"]
        for one in [w for w in waiting if self._may_start(w, spent)][:free]:
            files = self._evaluator.call("download_code", {"snapshot": one["snapshot"]})["files"]
            ticket, who, seeds = one["ticket"], one["who"], tuple(one["seeds"])
            job = self._runs.pool.submit(self._runs.outcome, ticket, files, seeds, who)
            self._running[ticket] = job

    def _may_start(self, one: dict[str, Any], spent: Container[str]) -> bool:
        return one["ticket"] not in self._running and one["who"] not in spent

    def stop(self) -> None:
        """End what runs, without an outcome: it waits in the ledger."""
        self._runs.stop()

    def finish(self, say: Callable[[str], object] = lambda _: None) -> None:
        """Let end what runs, and hand back each as it ends; what has not started waits in the
        ledger. Each second `say` is called with words for the operator.

        Raises:
            Transient: as `step`, once all have ended.
        """
        self._running = {ticket: job for ticket, job in self._running.items() if not job.cancel()}
        trouble: Transient | None = None
        while self._running:
            wait(self._running.values(), timeout=1, return_when=FIRST_COMPLETED)
            try:
                self._hand_back()
            except Transient as error:
                trouble = error
            if left := len(self._running):
                say(f"all researchers have ended; submitted in time, and still run: {left}")
        if trouble:
            raise trouble

    def _hand_back(self) -> None:
        for ticket, job in list(self._running.items()):
            if not job.done():
                continue
            del self._running[ticket]
            try:
                outcome = job.result()
                fault = outcome.pop("fault", None)
                self._settle(ticket, outcome)
                if fault:
                    self._faults.append(fault)
            except Transient:  # it could not be run, or not be reported: it still waits
                continue
            except (OSError, subprocess.SubprocessError) as error:
                raise Transient(
                    f"The code of {ticket} could not be run now ({error}). It still waits."
                ) from error
        if self._faults:  # an alarm of the fleet
            raise Transient(self._faults.pop())

    def _settle(self, ticket: str, outcome: Outcome) -> None:
        try:
            self._evaluator.call("settle_request", {"ticket": ticket, **outcome})
        except InvalidSubmission as error:
            if error.facts.get("status") == ABSENT:
                return  # settled by an earlier call, whose answer did not come
            if "failure" in outcome:
                raise
            # this text: the evaluator's would name an item
            unfit = {"ticket": ticket, "failure": MISSHAPEN, "log": self._runs.unfit}
            self._evaluator.call("settle_request", unfit)
