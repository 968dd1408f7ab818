"""The contract of detectors: made once for a campaign from what is public, then shown every
submission in order.

A flag carries its evidence, never blocks, and is raised once for a submitter and an episode. State
is rebuilt by showing the submissions of a ledger again, old ones included: detectors keep nothing
on disk and read no clock and no chance.

Legend: S seeds, M feedback items in the order of their sorted ids, W 64-bit words.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aarlab.core.entries import Flag as Flag
from aarlab.core.printable import one_line
from aarlab.core.registry import Registry, in_short, place_of

Figures = Mapping[str, float]
log = logging.getLogger("aarlab.evaluation")


@dataclass(frozen=True)
class Text:
    """A published item: the question, and the choices (two of a pair, or one)."""

    question: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """What is public about a campaign. Nothing here depends on a hidden label, nor on the weak
    teacher's answers to feedback items: how many flags there are shows in the ledger's size and in
    the numbers of its entries."""

    ids: tuple[str, ...]  # of the feedback items, sorted
    texts: tuple[Text, ...] | None = None  # theirs; None where researchers do not see them
    others: Mapping[str, Text] = field(default_factory=dict)  # public items of other splits, by id
    naive_M: NDArray[np.bool_] | None = None  # the majority answers of the naive baseline
    judged_M: NDArray[np.bool_] | None = None  # the student's zero-shot judgement, as published
    code: Callable[[str], Mapping[str, str]] = lambda _: {}  # snapshot -> its files


@dataclass(frozen=True)
class Submitted:
    """One answered submission as a detector sees it."""

    who: str
    receipt: str
    snapshot: str
    answers_SM: NDArray[np.bool_]
    improved: bool = False  # as was reported to the submitter

    @cached_property
    def counts_M(self) -> NDArray[np.uint8]:
        """How many seeds answer 1. A score depends on these alone, so nobody hides a probe by
        swapping answers among seeds."""
        return self.answers_SM.view(np.uint8).sum(axis=0, dtype=np.uint8)

    @cached_property
    def tally(self) -> NDArray[np.intp]:
        """On how many items 0, 1, ... S seeds answer 1."""
        return np.bincount(self.counts_M, minlength=len(self.answers_SM) + 1)

    @cached_property
    def seedless(self) -> bool:
        """Do all seeds answer the same?"""
        return not self.tally[1:-1].any()

    @cached_property
    def planes_W(self) -> NDArray[np.uint64]:
        """The counts as packed bits, whose Hamming distance is the sum of |difference of
        counts|."""
        return packed(self.counts_M > np.arange(len(self.answers_SM), dtype=np.uint8)[:, None])

    @cached_property
    def majority_M(self) -> NDArray[np.bool_]:
        """What most seeds answer."""
        return self.counts_M > len(self.answers_SM) // 2

    @cached_property
    def majority_W(self) -> NDArray[np.uint64]:
        """The same as packed bits."""
        return packed(self.majority_M)


def packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Bits in 64-bit words, shape (W,)."""
    words_W = np.zeros(-(-bits.size // 64), np.uint64)
    words_W.view(np.uint8)[: -(-bits.size // 8)] = np.packbits(bits)
    return words_W


def agreement(one_M: NDArray[np.bool_], other_M: NDArray[np.bool_]) -> float:
    """Share of the items on which two vectors agree."""
    return np.count_nonzero(one_M == other_M) / one_M.size


@dataclass(frozen=True)
class Suspicion:
    """What a detector has to say. `episode` names what it is about: it is flagged once for a
    submitter, however often it is said again."""

    submitter: str
    episode: str
    words: str
    receipts: tuple[str, ...] = ()
    figures: Figures = field(default_factory=dict)
    items: tuple[str, ...] = ()  # offending ids, where it is about some


class Detector:
    """Base of all detectors: override `see`, or `opening`, or both. Work for a submission must not
    grow with the history."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def opening(self) -> Iterable[Suspicion]:
        """About the campaign's public data, before any submission."""
        return ()

    def see(self, latest: Submitted) -> Iterable[Suspicion]:
        """About the latest submission, after all earlier ones were seen."""
        del latest
        return ()


@dataclass(frozen=True)
class Kind:
    """A registered detector. `make` is None for one that is called with labels by a confirmation
    and sees no submission."""

    name: str
    about: str  # what it looks for, in a sentence
    uses_labels: bool
    make: Callable[[Context], Detector] | None = None

    def flag(self, s: Suspicion) -> Flag:
        """The suspicion under this detector's name."""
        return Flag(
            detector=self.name,
            submitter=s.submitter,
            episode=s.episode,
            receipts=s.receipts,
            evidence=s.words,
            figures={name: round(float(value), 6) for name, value in s.figures.items()},
            items=s.items,
            uses_labels=self.uses_labels,
        )


DETECTORS: Registry[Kind] = Registry("detector")


def detector(name: str) -> Callable[[type[Detector]], type[Detector]]:
    """Register a detector that uses no label: its context and what it is shown hold none. What it
    looks for is the first paragraph of its docstring."""

    def register(made: type[Detector]) -> type[Detector]:
        about = " ".join((made.__doc__ or "").split("\n\n")[0].split())
        DETECTORS.add(name)(Kind(name, about, uses_labels=False, make=made))
        return made

    return register


class Watch:
    """The detectors of one campaign, all that are registered if not `named`. `known`: keys of the
    flags that its ledger holds already. One that raises is set aside alone: it is shown nothing
    more, and `aside` says so."""

    def __init__(
        self,
        context: Context,
        known: Iterable[tuple[str, str, str]] = (),
        named: Iterable[str] = DETECTORS,
    ) -> None:
        self._known = set(known)
        self._watching: dict[str, tuple[Kind, Detector]] = {}
        self.aside: dict[str, str] = {}  # detector -> why and since when, as text
        for name in named:
            if make := DETECTORS[name].make:
                self._begin(DETECTORS[name], make, context)

    @property
    def watching(self) -> Iterable[str]:
        """The names of the detectors that see every submission."""
        return self._watching.keys()

    def known_of_detectors(self) -> set[tuple[str, str, str]]:
        """Keys of the flags that no detector here raises again."""
        mine = self._watching.keys() | self.aside.keys()
        return {key for key in self._known if key[0] in mine}

    def know(self, keys: Iterable[tuple[str, str, str]]) -> None:
        """These flags were raised already."""
        self._known |= set(keys)

    def opening(self) -> list[Flag]:
        """New flags about the public data."""
        return self._new(None)

    def see(self, latest: Submitted) -> list[Flag]:
        """New flags about the latest submission."""
        return self._new(latest)

    def _begin(self, kind: Kind, make: Callable[[Context], Detector], context: Context) -> None:
        try:
            self._watching[kind.name] = kind, make(context)
        except (Exception, SystemExit) as error:
            self._set_aside(kind, error, None)
            log.exception("A detector fails.")

    def _new(self, latest: Submitted | None) -> list[Flag]:
        flags: list[Flag] = []
        for kind, one in list(self._watching.values()):
            try:
                for s in one.opening() if latest is None else one.see(latest):
                    if (kind.name, s.submitter, s.episode) not in self._known:
                        flags.append(kind.flag(s))
                        self._known.add(flags[-1].key)
            except (Exception, SystemExit) as error:
                self._set_aside(kind, error, latest)
                log.exception("A detector fails.")
        return flags

    def _set_aside(self, kind: Kind, error: BaseException, latest: Submitted | None) -> None:
        self._watching.pop(kind.name, None)
        module = sys.modules.get(getattr(kind.make, "__module__", ""))
        file = getattr(module, "__file__", None)
        where = f" ({place_of(error, file)})" if file else ""
        since = "before any submission" if latest is None else f"at {latest.receipt}"
        self.aside[kind.name] = one_line(
            f"the detector '{kind.name}' raised {in_short(error)[:500]}{where} {since}: it sees no "
            "submission from there on, and flags of its kind are missing. The other detectors go "
            "on. Correct its file, then stop and resume the campaign: it is shown all submissions.",
            2000,
        )
