"""Starts the fleet, watches it, restarts what ends too early, stops it at a budget, and survives all but its own end.

It waits for nobody: what must be recorded goes into the journal at once, and into the ledger as soon as the server takes it.
Time in which the server, the gateway or the model API is broken is charged to no researcher, and ends none.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured, Transient
from aarlab.fleet import outbox
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.enrol import what_it_sees
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.fleet.gateway_process import GatewayProcess
from aarlab.fleet.member import DRAIN_S, Member
from aarlab.fleet.patience import STABLE_S, Breaker
from aarlab.fleet.state import FleetState, State
from aarlab.gateway.journal import Journal
from aarlab.researchers.researcher import BRIEF, DATA, GATE, HOME, SOCKET_NAME, Ended, Inside, Life
from aarlab.runs.engine import MakeSandbox
from aarlab.runs.testbed import Testbed

TICK_S, CHARGE_EVERY_S, SHOW_EVERY_S = 0.25, 10.0, 1.0
GRACE_S = 15.0  # to end in order once asked to
FINISH_S = 60.0  # for what is under way when dollars or tokens are spent
ACTED_S = 600.0  # a life this long has done something, whatever the board says
LAST_POST_S = 30.0
ASK_S = 15.0  # for the server's answer: all others wait meanwhile
RETRY_S = 600.0  # whose model calls fail tries again within so long, or does not wait for them
POST_SHARE = 10.0  # after a server that did not answer, it is left alone for so many times as long as it took
MOST_TRANSCRIPT_BYTES = 4 << 30  # of one researcher's lives together; one life keeps 16 MiB
COULD_NOT_START = (Transient, Misconfigured, OSError, subprocess.SubprocessError)
Watch = Callable[[FleetState], None]  # called about once a second


class Parts(NamedTuple):
    """What a fleet stands on. It starts the two services again when they end."""

    journal: Journal
    evaluator: EvaluatorProcess
    gateway: GatewayProcess


class Fleet:
    """The researchers of one campaign. `run` returns when all have ended, or a budget of the campaign is spent."""

    def __init__(
        self,
        campaign: Campaign,
        folder: Path,
        testbed: Testbed,
        make_sandbox: MakeSandbox,
        members: Sequence[Member],
        parts: Parts,
    ) -> None:
        self.campaign, self.folder, self.testbed, self.make_sandbox = campaign, folder, testbed, make_sandbox
        self.members, (self.journal, self.evaluator, self.gateway) = members, parts
        self.breaker = Breaker(len(members))
        self._hindrances: dict[str, None] = {}  # in words, since the last look at the fleet
        self._shown_at, self._ends_at, self._post_at = 0.0, 0.0, 0.0
        self._heard = True  # the server took the latest rows
        self._down: dict[str, float] = {}  # service -> since when, by the monotonic clock

    def run(self, seconds: float, watch: Watch, worker: CodeWorker | None = None) -> str:
        """Run all researchers for at most `seconds`, and in code mode their code; why it ended, in words. Interrupts stop them
        in order and keep all that they did."""
        deadline = time.monotonic() + seconds
        self._ends_at = time.time() + seconds
        try:
            while True:
                self._attempt(self._tend_services)
                for member in self.members:
                    self._attempt(self._tend, member)
                if worker:
                    self._attempt(worker.step)
                self._attempt(self._post)
                self._attempt(self._show, watch)
                if why := self._over(deadline):
                    return why
                time.sleep(TICK_S)
        finally:
            self._stop_all()
            if worker:
                with suppress(Transient):
                    worker.finish()
            self._attempt(lambda: outbox.post_all(self.journal, self.evaluator, within_s=LAST_POST_S))
            self._attempt(lambda: self._show(watch, at_once=True))

    def _attempt(self, act: Callable[..., object], *given: object) -> None:
        """Do what is done again at the next tick: where it cannot be done now, that is an alarm and not our end."""
        try:
            act(*given)
        except Transient as error:
            self._hindrances[str(error)] = None

    def _post(self) -> None:
        """Some rows for the ledger. A server that hangs costs the fleet a tenth of its supervisor's time at most."""
        began = time.monotonic()
        if began < self._post_at:
            return
        self._heard = outbox.post(self.journal, self.evaluator)
        if not self._heard:
            now = time.monotonic()
            self._post_at = now + POST_SHARE * (now - began)

    def _over(self, deadline: float) -> str | None:
        if time.monotonic() >= deadline:
            return self.campaign.out_of_time
        if all(member.done for member in self.members):
            return "all have ended"
        try:
            limit = self.campaign.campaign_budget.reached(self.journal.spent(None))
        except Transient:  # the next tick asks again
            return None
        return f"{limit} is spent" if limit else None

    # --- what is ours ------------------------------------------------------------------------------------------------------

    @property
    def _broken(self) -> str | None:
        """What of ours is down, or None."""
        return ", ".join(sorted(self._down)) or None

    def _tend_services(self) -> None:
        """Start again what has ended; note when it went and when it is back."""
        for service in (self.evaluator, self.gateway):
            service.revive()
            if service.up == (service.name not in self._down):
                continue
            for member in self.members:  # up to now by what held until now
                if member.alive:
                    self._charge(member)
            if service.up:
                lost_s = round(time.monotonic() - self._down.pop(service.name), 1)
                self._campaign_event(f"{service.name} is back", f"{lost_s} s", lost_s=lost_s)
            else:
                self._down[service.name] = time.monotonic()
                self._campaign_event(f"{service.name} is down", service.last_words()[:1000])

    def _campaign_event(self, event: str, detail: str, *, lost_s: float | None = None) -> None:
        self.journal.note("campaign", "operator", {"event": event, "detail": detail, "lost_s": lost_s})

    # --- one researcher ----------------------------------------------------------------------------------------------------

    def _tend(self, member: Member) -> None:
        """Start it if it may, end it if it must, charge it if it is time."""
        if member.done:
            return
        if member.process is None:
            self._start_if_it_may(member)
        elif not member.alive:
            self._take_leave(member)
        else:
            self._look_after(member)

    def _start_if_it_may(self, member: Member) -> None:
        now = time.monotonic()
        if limit := self.campaign.budget.reached(self.journal.spent(member.name)):
            self._end(member, "spent", limit)
        elif self._broken:
            member.state = "held"
        elif now >= member.not_before:
            if not self.breaker.may_start(member.name, now):
                member.state = "held"
                return
            if (kept := member.transcript_bytes()) > MOST_TRANSCRIPT_BYTES:
                self._end(member, "gave up", f"its transcripts have {kept:,} bytes: it floods them")
                return
            try:
                self._start(member)
            except COULD_NOT_START as error:
                self._put_off(member, error)

    def _put_off(self, member: Member, error: Exception) -> None:
        """It could not be started, by no fault of its own: a little later again, and at last every few minutes. What stands in
        the way of the very first start, though, is the operator's to mend first.

        Raises:
            Misconfigured: nobody of this fleet was started yet.
        """
        member.leave(member.before)
        self.breaker.left(member.name)
        member.state = "held"
        member.not_before = time.monotonic() + member.patience.outage(0.0)
        if isinstance(error, Transient):  # server or gateway went just now
            return
        if not any(m.started_at for m in self.members):
            raise Misconfigured(f"{member.name} cannot be started: {error}") from error
        self._hindrances[f"{member.name} cannot be started: {error}"] = None
        self._note(member, "could not be started", str(error)[:1000])

    def _start(self, member: Member) -> None:
        """A new life: a new token and a new door at the gateway, so that whatever is left of an earlier one has neither."""
        token = self.evaluator.call("POST", "/tokens", {"name": member.name}, timeout_s=ASK_S)["token"]
        member.incarnation = self.journal.begin(member.name)
        door = self.gateway.admit(member.name, member.incarnation, token)
        member.sandbox = self.make_sandbox(what_it_sees(self.campaign, self.testbed.public, member, door))
        member.log = member.transcripts / f"{member.incarnation:03d}.jsonl"
        member.log.parent.mkdir(parents=True, exist_ok=True)
        at = member.sandbox.inside
        inside = Inside(home=at(HOME), brief=at(BRIEF), data=at(DATA), socket=at(f"{GATE}/{SOCKET_NAME}"))
        life = Life(incarnation=member.incarnation, session=member.session, begun=member.begun, ended=member.before)
        launch = member.researcher.launch(inside, life)
        env = ["/usr/bin/env", *(f"{name}={value}" for name, value in launch.env.items())]
        wrapper = [member.python, "-m", "aarlab.researchers.inside", "--socket", inside.socket, "--"]
        member.process = member.sandbox.start([*env, *wrapper, *launch.argv], member.log)
        event = "restarted" if member.begun else "running"
        member.begin()
        self._note(member, event)

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if now - member.began >= STABLE_S:
            self.breaker.lived(member.name)
        if now - member.charged_until >= CHARGE_EVERY_S:
            member.measure()
            self._charge(member)
        if self.campaign.budget.reached(self.journal.spent(member.name)):
            self._wind_up(member, now)
        elif member.quiet_s(self.journal.last_call(member.name)) > self.campaign.stall_minutes * 60:
            member.stalled = True
            self._note(member, "stalled", f"nothing for {self.campaign.stall_minutes:g} minutes")
            member.kill()

    def _wind_up(self, member: Member, now: float) -> None:
        """At a budget: the gateway refuses the next model turn, so what is under way may be brought to its end first. Who is
        out of time, or calls no model, is asked to stop at once."""
        budget = self.campaign.budget
        out_of_time = Budget(hours=budget.hours, cpu_hours=budget.cpu_hours).reached(self.journal.spent(member.name))
        grace_s = 0.0 if out_of_time or not self.campaign.calls_a_model else FINISH_S
        member.spent_at = member.spent_at or now
        if now - member.spent_at >= grace_s + GRACE_S:
            member.kill()
        elif now - member.spent_at >= grace_s:
            member.ask_to_stop()

    def _take_leave(self, member: Member) -> None:
        """Its process has ended: once its last words are written, decide what comes next."""
        now = time.monotonic()
        if member.died is None:
            member.died = now
        if now - member.died < DRAIN_S:
            return
        assert member.process is not None
        code, lived_s = member.process.returncode, member.died - member.began
        ended = self._how_it_ended(member, code)
        member.measure()
        self._charge(member)
        acted = self._acted(member, lived_s)
        lost = f"{member.lost_s:.1f} s were lost to what is not its own, and not charged" if member.lost_s else None
        member.leave(ended)
        self._note(member, f"ended: {ended}", lost, code=code)
        self._judge(member, ended, lived_s=lived_s, acted=acted)

    def _how_it_ended(self, member: Member, code: int) -> Ended:
        """By what its program says, which is its own to write: that something of ours or the model's API was broken is believed
        where the gateway or we have seen it."""
        ended = "crashed" if member.stalled else member.researcher.ended(code, member.last_words())
        if ended == "crashed" and self._broken:
            return "outage"
        if ended == "outage" and not self._broken and self.journal.failing_since(member.name) is None:
            return "crashed"
        return ended

    def _judge(self, member: Member, ended: Ended, *, lived_s: float, acted: bool) -> None:
        now = time.monotonic()
        if limit := self.campaign.budget.reached(self.journal.spent(member.name)):
            self._end(member, "spent", limit)
            return
        after = member.patience.after(ended, lived_s=lived_s, acted=acted)
        if ended != "crashed":
            self.breaker.lived(member.name)
        elif lived_s < STABLE_S:
            was_open = self.breaker.open
            if self.breaker.crashed(member.name, now):
                member.patience.forgive()
                after = 0.0
                if not was_open:
                    self._campaign_event("circuit breaker opened", "half of the fleet crashed within a minute")
        if isinstance(after, str):
            self._end(member, after)  # type: ignore[arg-type]
        else:
            member.state, member.not_before = ("held" if ended == "outage" else "backing off"), now + after

    def _acted(self, member: Member, lived_s: float) -> bool:
        """Whether it handed anything in during the life that ended."""
        if lived_s >= ACTED_S:
            return True
        try:
            board = self.evaluator.call("GET", "/operator/board", timeout_s=ASK_S)
        except Transient:
            return True
        mine = board["by_submitter"].get(member.name, {})
        before, member.handed_in = member.handed_in, mine.get("submissions", 0) + mine.get("findings", 0)
        return member.handed_in > before

    def _end(self, member: Member, state: State, detail: str | None = None) -> None:
        member.state = state
        self.breaker.left(member.name)
        self._note(member, state, detail)

    def _note(self, member: Member, event: str, detail: str | None = None, *, code: int | None = None) -> None:
        body: dict[str, Any] = {"event": event, "returncode": code, "direction": member.brief.direction}
        lost_s, member.lost_s = round(member.lost_s, 3), 0.0  # since its last event
        body |= {"incarnation": member.incarnation, "detail": detail, "lost_s": lost_s or None}
        self.journal.note("researcher", member.name, body)

    def _charge(self, member: Member) -> None:
        """Charge it for the time since it was last charged, without that in which something of ours or its model's API was
        broken."""
        now, used_s = time.monotonic(), member.used.cpu_s
        seconds = now - member.charged_until
        lost_s = seconds if self._broken else self._waited_s(member, seconds)
        wall_s, cpu_s = round(seconds - lost_s, 3), round(max(0.0, used_s - member.charged_cpu_s), 3)
        if wall_s or cpu_s:
            rate = self.campaign.usd_per_researcher_hour
            self.journal.charge(member.name, wall_s=wall_s, cpu_s=cpu_s, usd=None if rate is None else rate * wall_s / 3600)
        member.charged_until, member.charged_cpu_s = now, used_s  # only now: what could not be written is charged the next time
        member.lost_s += lost_s

    def _waited_s(self, member: Member, seconds: float) -> float:
        """Of the last `seconds`, those for which its model's API was failing and it went on trying. The journal's times are of
        a clock that may be set anew."""
        failing_since, last_call = self.journal.failing_since(member.name), self.journal.last_call(member.name)
        if failing_since is None or last_call is None:
            return 0.0
        now = time.time()
        lost_s = min(now, last_call + RETRY_S) - max(now - seconds, failing_since)
        return min(seconds, max(0.0, lost_s))

    # --- the end -----------------------------------------------------------------------------------------------------------

    def _stop(self, *members: Member) -> None:
        """Ask them to stop, all at once, and after GRACE_S end them."""
        running = [m for m in members if m.alive]
        for member in running:
            member.ask_to_stop()
        until = time.monotonic() + GRACE_S
        while any(m.alive for m in running) and time.monotonic() < until:
            time.sleep(0.05)
        for member in members:
            if member.process is not None:
                member.measure()
                self._attempt(self._charge, member)
                member.leave(None)

    def _stop_all(self) -> None:
        self._stop(*self.members)
        for member in self.members:
            if not member.done:
                self._attempt(self._end, member, "stopped")

    # --- what others see ---------------------------------------------------------------------------------------------------

    def _show(self, watch: Watch, *, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._shown_at < SHOW_EVERY_S:
            return
        self._shown_at = time.monotonic()
        state = self.state()
        try:
            state.write(self.folder)
        except OSError as error:  # a full disk, say: it only shows
            self._hindrances[f"fleet.json cannot be written: {error.strerror}"] = None
        watch(state)

    def state(self) -> FleetState:
        """The fleet as it is now."""
        spent, last = self.journal.spent, self.journal.last_call
        services = {s.name: "up" if s.up else "down" for s in (self.evaluator, self.gateway)}
        alarms = [f"{what} is down" for what in self._down]
        alarms += ["the circuit breaker is open: half of the fleet crashed"] if self.breaker.open else []
        alarms += [f"{m.name} gave up" for m in self.members if m.state == "gave up"]
        if not self._heard and self.evaluator.up:
            alarms.append("the server takes no rows for the ledger: it hangs, or see server.log")
        if refused := self.journal.refused():
            alarms.append(f"the ledger refuses {refused} rows, which are kept in the journal")
        alarms += self._hindrances
        self._hindrances = {}
        return FleetState(
            campaign=self.campaign.name,
            at=time.time(),
            pid=os.getpid(),
            ends_at=self._ends_at,
            researcher_budget=self.campaign.budget,
            campaign_budget=self.campaign.campaign_budget,
            spent=spent(None),
            members=tuple(m.shown(spent(m.name), last(m.name)) for m in self.members),
            services=services,
            alarms=tuple(alarms),
        )
