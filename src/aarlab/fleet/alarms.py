"""What somebody who looks after a fleet should look at, from what the supervisor and the ledger
say."""

from collections import Counter
from collections.abc import Iterator

from aarlab.core.amounts import duration
from aarlab.fleet.progress import Progress
from aarlab.fleet.state import FleetState

STALE_S = 10.0  # the supervisor speaks once a second
STALLED_S = 900.0
NEARLY = 0.9  # of the campaign's budget
OVER = {"finished", "spent", "gave up", "stopped"}


def ended(state: FleetState) -> bool:
    """Whether no researcher will be started again by that supervisor."""
    return all(member.state in OVER for member in state.members)


def alarms(state: FleetState | None, progress: Progress | None, now: float) -> tuple[str, ...]:
    """As text, the gravest first; none twice. What is in them may come from researchers: make it
    printable."""
    found: list[str] = []
    if state is not None:
        found += [
            *_supervisor(state, now),
            *state.alarms,
            *_services(state),
            *_members(state, now),
            *_budget(state),
        ]
    if progress is not None:
        found += [*progress.aside.values(), *filter(None, [progress.collapse()])]
    if progress is not None and progress.flags:
        kinds = Counter(flag.detector for flag in progress.flags)
        found.append("flags raised: " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()))
    return tuple(dict.fromkeys(found))


def _supervisor(state: FleetState, now: float) -> Iterator[str]:
    if now - state.at > STALE_S and not ended(state):
        words = (
            f"the supervisor (process {state.pid}) has said nothing for {duration(now - state.at)}"
        )
        yield f"{words}: if it is gone, `aar run --resume {state.campaign}` goes on"


def _services(state: FleetState) -> Iterator[str]:
    yield from (
        f"{name}: {status}"
        for name, status in state.services.items()
        if status not in {"up", "starting", "stopped"}
    )


def _members(state: FleetState, now: float) -> Iterator[str]:
    held = [m.name for m in state.members if m.state == "held"]
    if held:
        yield f"held, at no cost to them, until the lab's services work again: {', '.join(held)}"
    for member in state.members:
        since = member.last_action_at or member.started_at
        if member.state == "gave up" and not any(
            words.startswith(f"{member.name} gave up") for words in state.alarms
        ):
            yield f"{member.name} was given up after {member.restarts} restarts"
        elif member.state == "running" and since is not None and state.at - since > STALLED_S:
            yield f"{member.name} has done nothing for {duration(now - since)}"


def _budget(state: FleetState) -> Iterator[str]:
    budget, spent = state.campaign_budget, state.spent
    limits = {
        "dollars": (spent.usd, budget.usd),
        "tokens": (spent.tokens, budget.tokens),
        "hours": (spent.wall_s / 3600, budget.hours),
        "processor time": (spent.cpu_s / 3600, budget.cpu_hours),
        "device time": (spent.device_s / 3600, budget.device_hours),
    }
    for what, (used, limit) in limits.items():
        if limit is not None and used >= NEARLY * limit:
            yield f"{used / limit:.0%} of the campaign's budget in {what} is spent"
