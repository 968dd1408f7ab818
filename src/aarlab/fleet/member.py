"""One researcher of a running fleet: its incarnations, what each was charged, when it last did
something."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from aarlab.core.budget import Spent
from aarlab.fleet.restarts import Restarts
from aarlab.fleet.state import MemberState, State
from aarlab.fleet.transcripts import last_action
from aarlab.nodes.messages import HERE
from aarlab.nodes.node_client import RemoteIncarnation
from aarlab.researchers.researcher import Brief, Ended, EndedBefore, Researcher
from aarlab.sandbox import volume
from aarlab.sandbox.sandbox import Sandbox, Usage

TAIL_BYTES = 1 << 16  # of what an incarnation printed: it says how it ended
REST_S = 15.0  # for a program to end in order where the fleet is paused
DRAIN_S = 0.3  # between a process's end and the reading of its last output
DONE: frozenset[State] = frozenset({"finished", "spent", "gave up", "stopped"})


@dataclass
class Member:
    """See the module's docstring. Times are of the monotonic clock, but for `started_at` and
    `last_action_at`."""

    brief: Brief
    researcher: Researcher
    session: str
    brief_folder: Path
    home: Path
    transcripts: Path
    python: str  # the interpreter that is seen inside
    # the folder of the strong model's socket, where the student can be fine-tuned
    strong: Path | None = None
    state: State = "waiting"
    incarnation: int = 0
    begun: bool = False  # it had an incarnation
    session_begun: bool = False  # one in this session
    # what its model calls were refused for in the incarnation before, if they were; words of the
    # latest
    refused_for: str | None = None
    refusal: str | None = None
    restarts: Restarts = field(default_factory=Restarts)
    not_before: float = 0.0
    sandbox: Sandbox | RemoteIncarnation | None = None
    process: Popen | RemoteIncarnation | None = None
    host: str = HERE  # where its latest incarnation was started
    log: Path | None = None
    before: EndedBefore | None = None  # how its incarnation before this one ended
    began: float = 0.0
    started_at: float | None = None  # seconds since 1970
    died: float | None = None
    stalled: bool = False
    extended: bool = False  # it was given more to do than this incarnation knows of
    rest_at: float | None = None  # when this incarnation was asked to rest
    # when a budget of its own was first seen to be spent in this incarnation
    spent_at: float | None = None
    handed_in: int = 0  # submissions and findings when its previous incarnation ended
    # of activity: when it last wrote and called, by a clock that may be adjusted
    sign: tuple[float, float | None] = 0.0, None
    sign_at: float = 0.0  # when that was seen
    charged_until: float = 0.0
    charged_cpu_s: float = 0.0  # of this incarnation
    # since its last event: time in which something of the lab was broken, not charged
    lost_s: float = 0.0
    # in which what it prints could not be written, as it was measured, not charged for yet
    unwritten_s: float = 0.0
    measured_at: float = 0.0
    used: Usage = field(default_factory=lambda: Usage(0.0, 0, 0, 0))

    @property
    def name(self) -> str:
        return self.brief.name

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def remote(self) -> RemoteIncarnation | None:
        """Its incarnation, where that is on another machine."""
        return self.process if isinstance(self.process, RemoteIncarnation) else None

    @property
    def fault(self) -> str:
        """What ended its incarnation that is not its own, as text; "" for nothing."""
        return self.remote.fault if self.remote else ""

    @property
    def unwritten(self) -> str:
        """Why what it prints cannot be written on this machine now; "" if it can."""
        return self.remote.unwritten if self.remote else self.used.unwritten

    @property
    def waits(self) -> bool:
        """Whether it waits for what is not its own: for its node, or for room on a disk."""
        return bool(self.used.unwritten or (self.remote and self.remote.away))

    @property
    def done(self) -> bool:
        """Whether it is not started again."""
        return self.state in DONE

    def begin(self) -> None:
        """An incarnation has been started."""
        self.state, self.died, self.spent_at, self.rest_at = "running", None, None, None
        self.stalled, self.extended, self.lost_s, self.unwritten_s = False, False, 0.0, 0.0
        self.began = self.charged_until = self.sign_at = self.measured_at = time.monotonic()
        self.started_at, self.charged_cpu_s = time.time(), 0.0
        self.begun = self.session_begun = True

    def leave(self, ended: EndedBefore | None) -> None:
        """An incarnation is over; all that still runs of it is ended."""
        if self.sandbox is not None:
            self.sandbox.close()
        self.process, self.sandbox, self.before = None, None, ended

    def transcript_bytes(self) -> int:
        """Of all its incarnations."""
        return sum(path.stat().st_size for path in self.transcripts.glob("*.jsonl"))

    def last_output(self) -> str:
        """The end of what its incarnation printed."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read().decode(errors="replace")

    def limit_words(self) -> str | None:
        """Which of its sandbox's limits ended it, if the last line of its log says so."""
        last = self.last_output().rstrip().rpartition("\n")[2]
        if not last.startswith('{"type": "sandbox"'):
            return None
        try:
            return f"ended at a limit of its sandbox: {str(json.loads(last)['words'])[:300]}"
        # not the sandbox's line: the program prints what it likes
        except (ValueError, LookupError, TypeError):
            return None

    def ended_by(self) -> str | None:
        """What ended its incarnation besides itself: its host, or a limit of its sandbox."""
        return f"ended by its host: {self.fault}" if self.fault else self.limit_words()

    def lost_words(self) -> str | None:
        """What was not charged since its last event."""
        return (
            f"{self.lost_s:.1f} s were lost to what is not its own, and not charged"
            if self.lost_s
            else None
        )

    def alarms(self, campaign: str) -> Iterator[str]:
        """What somebody should look at: that it is started no more, and what starts it again; that
        a disk is full."""
        if self.state == "gave up":
            why = f": its model calls were refused, {self.refusal}" if self.refusal else ""
            resume = f"`aar run --resume {campaign}` takes it up again"
            yield f"{self.name} gave up after {self.restarts.count} restarts{why}. {resume}"
        if self.alive and (why := self.used.unwritten):
            where = "this disk" if self.host == HERE else f"the disk of {self.host}"
            yield (
                f"what {self.name} prints cannot be written ({why}): it waits, and nothing is "
                f"lost. Make room on {where}"
            )

    def give_home_back(self) -> None:
        """It is a plain folder again, where it was of a fixed size."""
        volume.let_go(self.home)

    def quiet_since(self, last_call: float | None) -> float:
        """Seconds since 1970 at which it last wrote something or called a model; its start if it
        has not."""
        return max(self.started_at or 0.0, self._wrote_at(), last_call or 0.0)

    def quiet_s(self, last_call: float | None) -> float:
        """Seconds for which it has neither written nor called, however the clock was set
        meanwhile."""
        sign, now = (self._wrote_at(), last_call), time.monotonic()
        if sign != self.sign:
            self.sign, self.sign_at = sign, now
        return now - self.sign_at

    def _wrote_at(self) -> float:
        return self.log.stat().st_mtime if self.log and self.log.exists() else 0.0

    def measure(self) -> None:
        """Take a look at what it uses; also after its program has ended, as long as its sandbox
        stands."""
        now = time.monotonic()
        if self.unwritten:
            self.unwritten_s += now - self.measured_at
        self.measured_at = now
        if self.sandbox is not None:
            self.used = self.sandbox.usage()

    def ask_to_stop(self) -> None:
        """By closing its standard input, as every program of a researcher is started to
        understand."""
        if (
            self.process is not None
            and self.process.stdin is not None
            and not self.process.stdin.closed
        ):
            self.process.stdin.close()

    def asked_to_rest(self) -> bool:
        """Ask it to stop, once; whether it has had REST_S since."""
        if self.rest_at is None:
            self.rest_at = time.monotonic()
            self.ask_to_stop()
        return time.monotonic() - self.rest_at > REST_S

    def go_further(self, experiments: int) -> None:
        """Limits were raised: it may do that many experiments, and go on where it had ended for
        want of them."""
        self.brief = self.brief.model_copy(update={"experiments": experiments})
        self.researcher.prepare(self.brief_folder, self.brief)
        self.extended, self.spent_at = True, None
        if self.state in ("finished", "spent") and self.process is None:
            self.state, self.not_before = "waiting", 0.0

    def with_more_to_do(self, ended: Ended) -> Ended:
        """How its incarnation ended, where it may have ended for want of what it has now."""
        return "again" if self.extended and ended in ("finished", "spent") else ended

    def kill(self) -> None:
        """End all that runs in its sandbox, now."""
        self.measure()
        if self.sandbox is not None:
            self.sandbox.close()
            self.sandbox = None

    def shown(self, spent: Spent, last_call: float | None) -> MemberState:
        """As others see it."""
        action = last_action(self.log) if self.log else None
        acted_at = (
            None
            if self.started_at is None
            else max(action[0] if action else 0.0, self.quiet_since(last_call))
        )
        return MemberState(
            name=self.name,
            direction=self.brief.direction,
            state=self.state,
            incarnation=self.incarnation,
            started_at=self.started_at,
            last_action_at=acted_at,
            last_action=action[1] if action else "",
            restarts=self.restarts.count,
            spent=spent,
            memory_bytes=self.used.memory_bytes,
            disk_bytes=self.used.disk_bytes,
            processes=self.used.processes,
            host=self.host,
        )
