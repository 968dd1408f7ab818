"""Does the state that is kept for the next start say what the ledger says?

A start believes a file that has the campaign's MAC, and whoever has the campaign's secret can write
one. So what a start from it would know is compared here with what the ledger alone gives.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from aarlab.core.layout import CampaignFolder
from aarlab.evaluation.derived import Derived
from aarlab.evaluation.detectors import DETECTORS, Context, Watch
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.handlers import Handlers
from aarlab.evaluation.identity import TokenStore

# what the use of a state that was never derived may end with
_UNFIT = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def compare_kept(problem: Path, campaign: Path, detectors: Iterable[str] = ()) -> tuple[str, ...]:
    """What is wrong with the kept state of a campaign that no server runs on: nothing where there
    is none that a start with this code would believe. `detectors`: the operator's own files.

    Raises:
        Misconfigured: one of these cannot be loaded; or see `Evaluator`.
    """
    for path in detectors:
        DETECTORS.registered_by(Path(path))
    again = _start(problem, campaign, "ledger")
    assert again is not None
    try:
        kept = _start(problem, campaign, "kept")
        wrong = [] if kept is None else list(_differing(kept, again))
    except _UNFIT as error:
        wrong = [f"{type(error).__name__}: {error}"]
    if not wrong:
        return ()
    path = CampaignFolder(campaign).server.derived
    return (
        f"{path}, which is kept for the next start, does not say what the ledger says "
        f"({', '.join(wrong)}). Somebody who has the campaign's secret changed it. Delete the "
        "file; the next start then derives everything from the ledger.",
    )


def _start(problem: Path, campaign: Path, source: Literal["ledger", "kept"]) -> Derived | None:
    """What an evaluator would know after a start; None where it would not believe what was kept."""
    with Evaluator(problem, campaign, read_only=True, derive_from=source) as evaluator:
        if source == "kept" and not evaluator.ledger.resumed:
            return None
        Handlers(evaluator, TokenStore(evaluator.folder))  # has the views of the ledger
        return evaluator.all_derived()


def _differing(kept: Derived, again: Derived) -> Iterator[str]:
    """The parts of it that differ, as text."""
    for field in fields(Derived):
        one, other = getattr(kept, field.name), getattr(again, field.name)
        if field.name == "views":
            names = sorted(one.keys() | other.keys())
            yield from (f"view {n}" for n in names if not _same(one.get(n), other.get(n)))
        elif not (_same_watch if field.name == "watch" else _same)(one, other):
            yield field.name


def _same_watch(one: Watch, other: Watch) -> bool:
    """Do both have the same detectors in the same state, and no flag that one alone takes for
    raised? Flags that a confirmation raised do not count: they are of no detector here."""
    held = [{n: v for n, v in vars(watch).items() if n != "_known"} for watch in (one, other)]
    return _same(*held) and one.known_of_detectors() == other.known_of_detectors()


def _same(one: Any, other: Any) -> bool:
    return _Pairs().same(one, other)


class _Pairs:
    """Do two objects hold the same, and share the same objects inside?"""

    def __init__(self) -> None:
        self._pairs: dict[int, tuple[Any, Any]] = {}  # by the id of either, which stay alive

    def same(self, one: Any, other: Any) -> bool:
        """As the class says."""
        if one is other or isinstance(one, Context):
            return True
        if type(one) is not type(other):
            return False
        match one:
            case np.ndarray():
                return one.dtype == other.dtype and np.array_equal(one, other)
            case Mapping():
                return one.keys() == other.keys() and all(self.same(one[k], other[k]) for k in one)
            case list() | tuple() | deque():
                return len(one) == len(other) and all(map(self.same, one, other))
        state = one.__getstate__() if hasattr(one, "__dict__") else None
        if not isinstance(state, dict) or isinstance(one, BaseModel | type):
            return bool(one == other)
        known = self._pairs.get(id(one)) or self._pairs.get(id(other))
        if known is not None:
            return known[0] is one and known[1] is other
        self._pairs[id(one)] = self._pairs[id(other)] = one, other
        # one of them may have computed, and cached, what the other has not; scratch space is left
        # out by `__getstate__`
        names = state.keys() | other.__getstate__().keys()
        return all(
            self.same(_of(one, state, n), _of(other, other.__getstate__(), n)) for n in names
        )


def _of(one: object, state: Mapping[str, Any], name: str) -> Any:
    return state[name] if name in state else getattr(one, name)
