"""One frame of `aar watch`, for any width. Researchers' text is shown as one printable line,
never as markup."""

import textwrap
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from aarlab.core.amounts import amount, duration, size
from aarlab.core.budget import Budget, Spent
from aarlab.core.printable import one_line
from aarlab.core.records import Released
from aarlab.fleet.alarms import alarms, ended
from aarlab.fleet.progress import Progress, Work
from aarlab.fleet.state import FleetState, MemberState
from aarlab.nodes.messages import HERE

WIDE, MEDIUM, SMALL = 150, 76, 44  # characters
MOST_ALARMS = 8
ALARM_LINES = 5  # of one alarm
COLOURS = {
    "running": "green",
    "held": "yellow",
    "backing off": "yellow",
    "gave up": "red",
    "spent": "cyan",
    "finished": "cyan",
}


class Seen(NamedTuple):
    """The state of a campaign at one moment."""

    campaign: str
    state: FleetState | None  # None: no supervisor has run
    progress: Progress | None  # None: there is no ledger yet
    at: float  # seconds since 1970


class FrameRow(NamedTuple):
    """One researcher, from fleet.json and the ledger."""

    member: MemberState
    work: Work
    budget: Budget
    at: float


Cell = Callable[[FrameRow], Text]


def frame(seen: Seen, *, width: int, rows: int | None = None) -> Group:
    """The fleet as a table. `rows`: the most lines in all (None: no limit)."""
    state, head = seen.state, [*_head(seen, width), *_alarms(seen, width)]
    if state is None:
        return Group(
            *head,
            _line("No supervisor has run this campaign yet: `aar run`, or `aar demo`.", width),
        )
    room = len(state.members) if rows is None else max(1, rows - len(head) - 4)
    shown = state.members[:room]
    table = _table(
        [
            FrameRow(
                m,
                seen.progress.of(m.name) if seen.progress else Work(),
                state.researcher_budget,
                seen.at,
            )
            for m in shown
        ],
        width,
    )
    left_out = len(state.members) - len(shown)
    return Group(*head, table, *([_line(f"and {left_out} more", width)] if left_out else []))


def summary(seen: Seen) -> str:
    """One line, for logs."""
    progress, state = seen.progress, seen.state
    parts = [_states(state)] if state else []
    if progress:
        parts += [f"{progress.experiments} experiments", _level(progress)]
    if state:
        parts += [*_spent_words(state.spent, state.campaign_budget), _left(state, seen.at)]
    found = alarms(state, progress, seen.at)
    return one_line(
        ", ".join(p for p in parts if p) + "".join(f" | ALARM {words}" for words in found), 2000
    )


def _line(words: str, width: int, style: str = "") -> Text:
    return Text(one_line(words, max(20, width)), style=style, no_wrap=True, overflow="ellipsis")


def _head(seen: Seen, width: int) -> list[Text]:
    state, progress = seen.state, seen.progress
    lines = [
        " · ".join([seen.campaign, *([_states(state), _left(state, seen.at)] if state else [])])
    ]
    if progress:
        counts = f"{progress.experiments} experiments, {progress.findings} findings"
        lines.append(" · ".join(filter(None, [counts, _level(progress)])))
    if state:
        lines.append(
            " · ".join(
                [*_spent_words(state.spent, state.campaign_budget), _rate(state.spent, progress)]
            )
        )
        if not ended(state):
            lines.append(
                " · ".join(f"{name} {status}" for name, status in state.services.items())
                or "no services"
            )
    found = [line for words in lines for line in _wrapped(words, width)]
    return [
        _line(words, width, "bold" if number == 0 else "") for number, words in enumerate(found)
    ]


def _wrapped(words: str, width: int) -> list[str]:
    """Break a long line at its ` · ` separators."""
    lines: list[str] = []
    for part in words.split(" · "):
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def _alarms(seen: Seen, width: int) -> list[Text]:
    found = alarms(seen.state, seen.progress, seen.at)
    lines = [
        Text(line, style="bold red", no_wrap=True, overflow="ellipsis")
        for words in found[:MOST_ALARMS]
        for line in _folded(f"! {words}", width)
    ]
    return [
        *lines,
        *(
            [_line(f"! and {len(found) - MOST_ALARMS} more", width, "red")]
            if len(found) > MOST_ALARMS
            else []
        ),
    ]


def _folded(words: str, width: int) -> list[str]:
    """An alarm in lines: its cause often stands at its end."""
    width = max(20, width)
    whole = one_line(words, ALARM_LINES * width)
    return textwrap.wrap(whole, width, subsequent_indent="  ") or [whole]


def _states(state: FleetState) -> str:
    counts = Counter(member.state for member in state.members)
    return ", ".join(f"{n} {name}" for name, n in counts.most_common())


def _left(state: FleetState, at: float) -> str:
    if ended(state):
        return "ended"
    return f"{duration(state.ends_at - at)} left"


def _level(progress: Progress) -> str:
    if progress.level_pgr is None or progress.released is None:
        return ""
    unit = "score" if progress.combined else "PGR"
    bits = released(progress.released, combined=progress.combined)
    return f"reported level {unit} {progress.level_pgr:.2f} (provisional) · {bits}"


def released(found: Released, *, combined: bool = False) -> str:
    """`41.2 of 140.0 bits released (3.3 % of the labels), a level is at most 0.11 (0.54 PGR) too
    high`."""
    cap = "" if found.cap_bits is None else f" of {found.cap_bits:.1f}"
    share, bound = found.share_of_labels, found.inflation_bound
    # older receipts lack it
    of = found.inflation_bound_pgr
    words = f"{bound:.2f}" + ("" if of is None else f" ({of:.2f} PGR)")
    if combined and of is not None:
        words = f"{of:.2f}"
    what = "units" if combined else "labels"
    return (
        f"{found.bits:.1f}{cap} bits released ({share:.1%} of the {what}), a level is at most "
        f"{words} too high"
    )


def _rate(spent: Spent, progress: Progress | None) -> str:
    """Dollars per researcher-hour, and which costs are not included."""
    if not spent.wall_s:
        return "cost per researcher-hour unknown"
    left_out = progress.tally.unknown if progress else ()
    if not spent.usd and left_out:
        return f"cost unknown: no price of {' and of '.join(left_out)}"
    without = f" without {' and '.join(left_out)}, of unknown price" if left_out else ""
    return f"${spent.usd / (spent.wall_s / 3600):.2f} per researcher-hour{without}"


def _amounts(spent: Spent, budget: Budget) -> list[tuple[str, float]]:
    """Each kind of spending as text, and the spent share of its limit (0.0 if it has no limit)."""

    def one(
        used: float, limit: float | None, words: Callable[[float], str], unit: str, sign: str = ""
    ) -> tuple[str, float]:
        of, share = ("", 0.0) if limit is None else (f"/{words(limit)}", used / limit)
        return f"{sign}{words(used)}{of}{unit}", share

    devices, shown = spent.device_s / 3600, spent.device_s or budget.device_hours
    return [
        one(spent.usd, budget.usd, lambda usd: f"{usd:.2f}", "", "$"),
        one(spent.tokens, budget.tokens, amount, " tok"),
        one(spent.wall_s / 3600, budget.hours, lambda h: f"{h:.2f}", " h"),
        one(spent.cpu_s / 3600, budget.cpu_hours, lambda h: f"{h:.2f}", " cpu-h"),
        *([one(devices, budget.device_hours, lambda h: f"{h:.2f}", " dev-h")] if shown else []),
    ]


def _spent_words(spent: Spent, budget: Budget) -> list[str]:
    return [words for words, _ in _amounts(spent, budget)]


# --- the table ------------------------------------------------------------------------------------


def _table(rows: list[FrameRow], width: int) -> Table:
    wide, medium, small = (width >= least for least in (WIDE, MEDIUM, SMALL))
    table = Table(box=None, padding=(0, 1) if small else 0, expand=True, show_edge=False)
    columns: list[tuple[str, Cell, int | None]] = [("researcher", _name, 14 if medium else 13)]
    columns += [("state", _state, (15 if medium else 9) if small else None)]
    columns += [("best reported", _best, 14 if medium else 9)] if small else []
    columns += [("exp", _experiments, 5)] if medium else []
    columns += (
        [("spent", _all_spent if wide else _most_spent, 54 if wide else 15)] if medium else []
    )
    columns += [("memory/disk", _held, 15)] if wide else []
    columns += [("last action", _last, None)] if small else []
    for title, _, fixed in columns:
        table.add_column(
            title, no_wrap=True, overflow="ellipsis", width=fixed, ratio=None if fixed else 1
        )
    for row in rows:
        table.add_row(*(cell(row) for _, cell, _ in columns))
    return table


def _name(row: FrameRow) -> Text:
    return Text(one_line(row.member.name, 64))


def _state(row: FrameRow) -> Text:
    member = row.member
    incarnation = f" #{member.incarnation}" if member.incarnation > 1 else ""
    host = f" on {one_line(member.host, 40)}" if member.host != HERE else ""
    return Text(member.state + incarnation + host, style=COLOURS.get(member.state, ""))


def _best(row: FrameRow) -> Text:
    best, at = row.work.best_pgr, row.work.best_at
    return Text("-" if best is None or at is None else f"{best:.2f}, {duration(row.at - at)} ago")


def _experiments(row: FrameRow) -> Text:
    return Text(str(row.work.experiments))


def _all_spent(row: FrameRow) -> Text:
    return Text(" ".join(_spent_words(row.member.spent, row.budget)))


def _most_spent(row: FrameRow) -> Text:
    """The spending that is nearest to its limit; dollars if nothing has a limit."""
    return Text(max(_amounts(row.member.spent, row.budget), key=lambda found: found[1])[0])


def _held(row: FrameRow) -> Text:
    return Text(f"{size(row.member.memory_bytes)}/{size(row.member.disk_bytes)}")


def _last(row: FrameRow) -> Text:
    at = row.member.last_action_at
    if at is None:
        return Text("-")
    return Text(
        f"{duration(row.at - at)}: {one_line(row.member.last_action, 200) or 'nothing printed yet'}"
    )
