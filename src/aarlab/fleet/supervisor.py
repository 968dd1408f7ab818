"""Starts the fleet, watches it, restarts what ends too early, and stops it at a budget.

It waits for nobody: what must be recorded goes into the journal at once, and into the ledger as
soon as the server takes it. Time in which the server, the gateway or the model API is broken is
charged to no researcher, and ends none.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured, Transient
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.charging import Charging
from aarlab.fleet.code_mode import CodeWorker
from aarlab.fleet.device_hours import DeviceHours
from aarlab.fleet.enrol import session_of
from aarlab.fleet.fleet_parts import Parts
from aarlab.fleet.hosts import Here
from aarlab.fleet.member import DRAIN_S, Member
from aarlab.fleet.order_follower import OrderFollower
from aarlab.fleet.outbox import Posting, post_all
from aarlab.fleet.refused_calls import CallAlarms, refusal_of
from aarlab.fleet.restarts import STABLE_S, Breaker
from aarlab.fleet.services_watch import ServicesWatch
from aarlab.fleet.state import FleetState, State
from aarlab.researchers.researcher import Ended
from aarlab.sandbox.sandbox import MakeSandbox

TICK_S, CHARGE_EVERY_S, SHOW_EVERY_S = 0.25, 10.0, 1.0
GRACE_S = 15.0  # to end in order once asked to
FINISH_S = 60.0  # for what is under way when dollars or tokens are spent
ACTED_S = 600.0  # an incarnation this long has done something, whatever the board says
LAST_POST_S = 30.0
ASK_S = 15.0  # for the server's answer: all others wait meanwhile
MOST_TRANSCRIPT_BYTES = 4 << 30  # of one researcher's incarnations together; one keeps 16 MiB
COULD_NOT_START = (Transient, Misconfigured, OSError, subprocess.SubprocessError)
Watch = Callable[[FleetState], None]  # called about once a second


class Fleet:
    """One campaign's researchers, who see `public`. `run` returns at their end or at a limit."""

    def __init__(
        self,
        campaign: Campaign,
        folder: Path,
        public: Path,
        make_sandbox: MakeSandbox,
        members: Sequence[Member],
        parts: Parts,
        *,
        hosts: Here | None = None,
        devices: DeviceHours | None = None,
    ) -> None:
        self.campaign, self.folder = campaign, folder
        self.hosts = hosts or Here(public, make_sandbox)
        self.members, (self.journal, self.evaluator, self.gateway, api) = members, parts
        self._devices = devices or DeviceHours(campaign, folder, self.journal)
        self.breaker = Breaker(len(members))
        self._hindrances: dict[str, None] = {}  # as text, since the last look at the fleet
        self._shown_at, self._orders = 0.0, OrderFollower(folder, members, parts.gateway)
        self._services = ServicesWatch(*filter(None, (self.evaluator, self.gateway, api)))
        self._charging = Charging(self.journal, self._services, campaign.usd_per_researcher_hour)
        self._posting = Posting(self.journal, self.evaluator)
        self._call_alarms = CallAlarms(self._campaign_event)

    def run(self, seconds: float, watch: Watch, worker: CodeWorker | None = None) -> str:
        """Run all for at most `seconds`; return why it ended. An interrupt loses nothing."""
        self._orders.clock.start(seconds)
        self._services.start()
        try:
            while True:
                self._attempt(self._tend_services)
                self._attempt(self._follow_orders)
                self.hosts.step(self.campaign)
                for member in self.members:
                    self._attempt(self._tend, member)
                if worker:
                    self._attempt(worker.step, self._devices.spent)
                self._attempt(self._posting.step)
                self._attempt(self._show, watch)
                if why := self._why_it_is_over():
                    return why
                time.sleep(TICK_S)
        except (KeyboardInterrupt, SystemExit):  # the operator does not wait for runs
            if worker:
                worker.stop()
            raise
        finally:
            self._services.stop()
            self._stop_all()
            if worker:
                self._attempt(worker.finish, lambda words: self._show(watch, words))
            self._attempt(lambda: post_all(self.journal, self.evaluator, within_s=LAST_POST_S))
            self._attempt(lambda: self._show(watch, at_once=True))

    def _attempt(self, act: Callable[..., object], *given: object) -> None:
        """Do what is done again at the next tick: where it cannot be done now, that is an alarm and
        not our end."""
        try:
            act(*given)
        except Transient as error:
            self._hindrances[str(error)] = None

    def _follow_orders(self) -> None:
        self.campaign = self._orders.look(self.campaign)

    def _why_it_is_over(self) -> str | None:
        if self._orders.clock.left_s <= 0:
            return self.campaign.out_of_time
        if all(member.done for member in self.members):
            return "all have ended"
        try:
            limit = self.campaign.campaign_budget.reached(self.journal.spent(None))
        except Transient:  # the next tick asks again
            return None
        return f"{limit} is spent" if limit else None

    # --- the lab's own services -------------------------------------------------------------------

    def _tend_services(self) -> None:
        """Start again what has ended; note when it went or began to hang, and when it is back."""

        def charge() -> None:  # up to now by what held until now
            for member in self.members:
                if member.alive:
                    self._charging.charge(member)

        self._services.tend(
            charge, lambda c: self._campaign_event(c.event, c.detail, lost_s=c.lost_s)
        )

    def _campaign_event(self, event: str, detail: str, *, lost_s: float | None = None) -> None:
        body = {"event": event, "detail": detail, "lost_s": lost_s}
        self.journal.note("campaign", "operator", body)

    # --- one researcher ---------------------------------------------------------------------------

    def _tend(self, member: Member) -> None:
        """Start it if it may, end it if it must, charge it if it is time."""
        if member.done:
            return
        if self._orders.paused:
            self._orders.rest(member, self._close_for_a_pause)
        elif member.process is None:
            self._start_if_it_may(member)
        elif not member.alive:
            self._after_its_end(member)
        else:
            self._look_after(member)

    def _start_if_it_may(self, member: Member) -> None:
        now = time.monotonic()
        if limit := self.campaign.budget.reached(self.journal.spent(member.name)):
            self._end(member, "spent", limit)
        elif self._services.broken:
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
        """It could not be started, by no fault of its own: a little later again, and at last every
        few minutes. What stands in the way of the very first start, though, is the operator's to
        fix first.

        Raises:
            Misconfigured: nobody of this fleet was started yet.
        """
        member.leave(member.before)
        self.breaker.left(member.name)
        member.state = "held"
        member.not_before = time.monotonic() + member.restarts.outage(0.0)
        if isinstance(error, Transient):  # server or gateway went just now
            return
        if not any(m.started_at for m in self.members):
            raise Misconfigured(f"{member.name} cannot be started: {error}") from error
        self._hindrances[f"{member.name} cannot be started: {error}"] = None
        self._note(member, "could not be started", str(error)[:1000])

    def _start(self, member: Member) -> None:
        """A new incarnation: a new token and a new socket at the gateway, so that whatever is left
        of an earlier one has neither."""
        host = self.hosts.choose(member)
        token = self.evaluator.call("issue_token", {"name": member.name}, timeout_s=ASK_S)["token"]
        member.incarnation = self.journal.begin(member.name)
        socket = self.gateway.admit(member.name, member.incarnation, token)
        self.hosts.start(self.campaign, member, host, socket)
        again = member.begun
        member.begin()
        self._note(member, "restarted" if again else "running", self.hosts.words(host))

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if self._services.broken or member.waits:
            member.sign_at = now  # what it waits for is the lab's
        if now - member.began >= STABLE_S:
            self.breaker.lived(member.name)
        if now - member.charged_until >= CHARGE_EVERY_S:
            member.measure()
            self._charging.charge(member)
        if self.campaign.budget.reached(self.journal.spent(member.name)):
            self._at_a_budget(member, now)
        elif member.quiet_s(self.journal.last_call(member.name)) > self.campaign.stall_minutes * 60:
            member.stalled = True
            self._note(member, "stalled", f"nothing for {self.campaign.stall_minutes:g} minutes")
            member.kill()

    def _at_a_budget(self, member: Member, now: float) -> None:
        """At a budget: the gateway refuses the next model turn, so what is under way may be brought
        to its end first. Who is out of time, or calls no model, is asked to stop at once."""
        budget = self.campaign.budget
        out_of_time = Budget(hours=budget.hours, cpu_hours=budget.cpu_hours).reached(
            self.journal.spent(member.name)
        )
        grace_s = 0.0 if out_of_time or not self.campaign.calls_a_model else FINISH_S
        member.spent_at = member.spent_at or now
        if now - member.spent_at >= grace_s + GRACE_S:
            member.kill()
        elif now - member.spent_at >= grace_s:
            member.ask_to_stop()

    def _after_its_end(self, member: Member) -> None:
        """Its process has ended: once its last output is written, decide what comes next."""
        now = time.monotonic()
        member.died = member.died or now
        if now - member.died < DRAIN_S:
            return
        assert member.process is not None
        code, lived_s = member.process.returncode, member.died - member.began
        ended = member.with_more_to_do(self._how_it_ended(member, code))
        acted = self._acted(member, lived_s)
        self.hosts.ended(member, acted=acted)
        if why := member.ended_by():
            self._hindrances[f"{member.name} was {why}"] = None
        self._close_incarnation(member, ended)
        words = "; ".join(filter(None, (why, member.lost_words())))
        self._note(member, f"ended: {ended}", words or None, code=code)
        self._decide_next(member, ended, lived_s=lived_s, acted=acted)

    def _close_incarnation(self, member: Member, ended: Ended | None) -> None:
        """An incarnation is over: what it used is charged."""
        member.measure()
        self._charging.charge(member)
        member.leave(ended)
        self.journal.release(member.name)

    def _close_for_a_pause(self, member: Member) -> None:
        self._close_incarnation(member, None)
        self._note(member, "paused")

    def _how_it_ended(self, member: Member, code: int) -> Ended:
        """By what its program says, which is its own to write: that something of the lab or the
        model's API was broken is believed where the gateway or we have seen it."""
        if member.fault:
            return "outage"
        ended = "crashed" if member.stalled else member.researcher.ended(code, member.last_output())
        if self._services.suspect:
            return "outage" if ended == "crashed" else ended
        failing = self.journal.failing_since(member.name) is not None
        return "crashed" if ended == "outage" and not failing else ended

    def _decide_next(self, member: Member, ended: Ended, *, lived_s: float, acted: bool) -> None:
        now = time.monotonic()
        if limit := self.campaign.budget.reached(self.journal.spent(member.name)):
            self._end(member, "spent", limit)
            return
        self._leave_a_refused_session(member, ended)
        after = member.restarts.after(ended, lived_s=lived_s, acted=acted)
        if ended != "crashed":
            self.breaker.lived(member.name)
        elif lived_s < STABLE_S:
            was_open = self.breaker.open
            if self.breaker.crashed(member.name, now):
                member.restarts.forgive()
                after = 0.0
                if not was_open:
                    words = "half of the fleet crashed within a minute"
                    self._campaign_event("circuit breaker opened", words)
        if isinstance(after, str):
            self._end(member, after, member.refusal)  # type: ignore[arg-type]
        else:
            member.state = "held" if ended == "outage" else "backing off"
            member.not_before = now + after

    def _leave_a_refused_session(self, member: Member, ended: Ended) -> None:
        """A session whose calls are refused twice for the same cause would be resumed into the same
        refusal: the next incarnation begins another one in the same home."""
        found = refusal_of(self.journal.troubles(), member.name, member.started_at or 0.0)
        before, member.refused_for = member.refused_for, None
        member.refusal = found and found.words
        if ended != "crashed" or found is None:
            return
        member.refused_for = found.cause
        if found.cause == before:
            number = self.journal.begin_session(member.name)
            member.session = session_of(self.campaign.name, member.name, number)
            member.session_begun, member.before, member.refused_for = False, "refused", None
            self._note(member, "left its session", f"refused twice alike: {found.words}")

    def _acted(self, member: Member, lived_s: float) -> bool:
        """Whether it handed anything in during the incarnation that ended."""
        if lived_s >= ACTED_S:
            return True
        try:
            board = self.evaluator.call("operator_board", timeout_s=ASK_S)
        except Transient:
            return True
        mine = board["by_submitter"].get(member.name, {})
        now = mine.get("submissions", 0) + mine.get("findings", 0)
        before, member.handed_in = member.handed_in, now
        return member.handed_in > before

    def _end(self, member: Member, state: State, detail: str | None = None) -> None:
        member.state = state
        self.breaker.left(member.name)
        self._note(member, state, detail)

    def _note(
        self, member: Member, event: str, detail: str | None = None, *, code: int | None = None
    ) -> None:
        lost_s, member.lost_s = round(member.lost_s, 3), 0.0  # since its last event
        body = {"event": event, "returncode": code, "direction": member.brief.direction}
        body |= {"incarnation": member.incarnation, "detail": detail, "lost_s": lost_s or None}
        self.journal.note("researcher", member.name, body)

    # --- the end ----------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Ask them to stop, all at once, and after GRACE_S end them."""
        running = [m for m in self.members if m.alive]
        for member in running:
            member.ask_to_stop()
        until = time.monotonic() + GRACE_S
        while any(m.alive for m in running) and time.monotonic() < until:
            time.sleep(0.05)
        for member in self.members:
            if member.process is not None:
                member.measure()
                self._attempt(self._charging.charge, member)
                member.leave(None)
        self._attempt(self.journal.release)
        for member in self.members:
            member.give_home_back()
            if not member.done:
                self._attempt(self._end, member, "stopped")

    # --- what others see --------------------------------------------------------------------------

    def _show(self, watch: Watch, *alarms: str, at_once: bool = False) -> None:
        self._attempt(self._devices.look, self.campaign)  # also while code ends after the last tick
        self._hindrances.update(dict.fromkeys(alarms))
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
        alarms = [*self._orders.words(self.campaign.name), *self._services.alarms()]
        alarms += [*self.hosts.alarms(), *self._call_alarms.of(self.journal.troubles())]
        if self.breaker.open:
            alarms.append("the circuit breaker is open: half of the fleet crashed")
        alarms += [words for m in self.members for words in m.alarms(self.campaign.name)]
        if not self._posting.heard and self.evaluator.up:
            alarms.append("the server takes no rows for the ledger: it hangs, or see server.log")
        if rows := self.journal.refused():
            alarms.append(f"the ledger refuses {rows} rows, which are kept in the journal")
        alarms += [*self.journal.unread(), *self._hindrances]
        self._hindrances = {}
        return FleetState(
            campaign=self.campaign.name,
            at=time.time(),
            pid=os.getpid(),
            ends_at=time.time() + self._orders.clock.left_s,
            researcher_budget=self.campaign.budget,
            campaign_budget=self.campaign.campaign_budget,
            spent=spent(None),
            members=tuple(m.shown(spent(m.name), last(m.name)) for m in self.members),
            services=self._services.states(),
            alarms=tuple(alarms),
        )
