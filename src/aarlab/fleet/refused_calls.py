"""Model calls that were refused or fail, as alarms: one for each cause, with its count and the
words of who refused."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from aarlab.core.amounts import duration
from aarlab.gateway.call_health import RefusedCalls

FAILING_S = 60.0  # for which calls may fail before that is an alarm: clients try again
NAMED = 3  # researchers that an alarm names


class CallAlarms:
    """The alarms about model calls; `note(event, detail)` gets the first of each cause, for the
    ledger."""

    def __init__(self, note: Callable[[str, str], object]) -> None:
        self._note = note
        self._noted: set[tuple[str, str]] = set()  # (kind, cause)

    def of(self, troubles: Sequence[RefusedCalls]) -> list[str]:
        """See `alarms_of`, now."""
        for one in troubles:
            words = alarms_of([one], time.time())
            if words and (one.kind, one.cause) not in self._noted:
                self._noted.add((one.kind, one.cause))
                self._note(f"model calls {one.kind}", words[0])
        return alarms_of(troubles, time.time())


def alarms_of(troubles: Iterable[RefusedCalls], now: float) -> list[str]:
    """As text, the most frequent first; `now` in seconds since 1970."""
    by_cause: defaultdict[tuple[str, str], list[RefusedCalls]] = defaultdict(list)
    for one in troubles:
        by_cause[one.kind, one.cause].append(one)
    found = []
    for (kind, _), alike in by_cause.items():
        calls, since = sum(one.calls for one in alike), min(one.since for one in alike)
        words = max(alike, key=lambda one: one.last).words
        whose = _names(sorted({one.who for one in alike}))
        if kind == "refused":
            found.append((calls, f"{calls} model calls of {whose} were refused: {words}"))
        elif now - since >= FAILING_S:
            lasts = duration(now - since)
            found.append((calls, f"{calls} model calls of {whose} failed in {lasts}: {words}"))
    return [words for _, words in sorted(found, reverse=True)]


def refusal_of(troubles: Sequence[RefusedCalls], who: str, since: float) -> RefusedCalls | None:
    """The latest refusal of that researcher's calls from `since` on; None if there was none, or a
    later call went well."""
    mine = [t for t in troubles if t.who == who and t.kind == "refused" and t.last >= since]
    return mine[-1] if mine else None


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
