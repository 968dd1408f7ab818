"""What detectors catch and whom they accuse wrongly, measured: the rates of `python -m
experiments.detectors`."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import binomtest

from aarlab.core.records import Measure, Record
from aarlab.evaluation.confirmation.verdict import issued, reproduction
from aarlab.evaluation.detectors import Submitted, Text, Watch
from aarlab.evaluation.detectors.answer_overlap import find_overlap
from aarlab.evaluation.detectors.judged import beyond_chance, student_free_p
from aarlab.testbeds.testbed import Testbed
from experiments.detectors.crowd import HABITS, SEEDS, Crowd
from experiments.detectors.hacks import (
    DISGUISES,
    REWRITES,
    Caught,
    hack,
    patcher,
    probe,
    random_vectors,
    rerolls,
    trivial,
    uncertain_flips,
)
from experiments.detectors.real_fleet import RESEARCHERS, RealFleet

Say = Callable[[str], None]
PROBES = (
    "single flips",
    "step edge",
    "detecting matrix",
    "hill climbing, 1",
    "hill climbing, 10",
    "hill climbing, 100",
    "relay of nine, 100",
    "boosting, coin flips",
    "boosting, whole set",
    "staged search, 2",
    "nine colluding identities",
    "a fresh identity each time",
    "best of k seeds",
    "griefing",
)
LIMIT = 150  # submissions of an attacker
EACH = 150  # submissions of a simulated honest researcher
FLEETS = 4  # honest fleets for each attacker of a row
REAL_EACH, REAL_FLEETS = 12, 2  # of a real one, and how many fleets at least
IDLE = "sweeper of an idle constant"
PATCHES = (0, 12, 25, 50, 100)
SHORTCUTS = (0.5, 0.53, 0.55, 0.57, 0.60)
EDITS = (0, 1, 2, 4, 8)  # words of 40
PLANTED, TEXTS = 20, 500


class Row(Record):
    """One hack, or one kind of honest researcher: how many of how many were flagged."""

    what: str
    how: str
    flagged: int
    shown: int
    share: Measure  # with its exact (Clopper-Pearson) interval
    after: float | None  # submissions until the flag, median of the flagged
    made: float | None = None  # submissions of those that were not flagged, median
    by: str  # the detectors that spoke first, with how often

    @property
    def when(self) -> str:
        """In words, after how many submissions; for misses, of how many."""
        misses = "" if self.made is None else f"misses made {self.made:g}"
        return ", ".join(filter(None, ["" if self.after is None else f"{self.after:g}", misses]))


class Rates(Record):
    """Everything that was measured."""

    n: int
    seeds: int
    real_n: int  # items of the real testbed
    milliseconds: float  # processor time of all detectors for a submission
    probes: tuple[Row, ...]
    hacks: tuple[Row, ...]
    judged: tuple[Row, ...]
    honest: tuple[Row, ...]
    real: tuple[Row, ...]


def share(flagged: int, shown: int, unit: str) -> Measure:
    """A share with its 95 % Clopper-Pearson interval."""
    interval = binomtest(flagged, shown).proportion_ci(0.95, method="exact")
    return Measure(
        estimate=flagged / shown,
        lower=interval.low,
        upper=interval.high,
        n=shown,
        resampled=f"{unit} (exact binomial)",
    )


def measure(bed: Testbed, *, n: int, seeds: int, say: Say) -> Rates:
    """All rates; `bed`: where real methods are run."""
    honest, milliseconds = honest_rows(n=n, fleets=FLEETS * seeds, say=say)
    real, real_n = real_rows(bed, fleets=max(REAL_FLEETS, seeds // 5), say=say)
    return Rates(
        n=n,
        seeds=seeds,
        real_n=real_n,
        milliseconds=round(milliseconds, 3),
        probes=tuple(probe_rows(n=n, seeds=seeds, say=say)),
        hacks=tuple(hack_rows(n=n, seeds=seeds, say=say)),
        judged=(
            *patch_rows(n=n, seeds=10 * seeds),
            *shortcut_rows(n=n, seeds=10 * seeds),
            *overlap_rows(seeds=seeds),
        ),
        honest=honest,
        real=real,
    )


def _row(what: str, how: str, caught: Sequence[Caught]) -> Row:
    flags = [one for one in caught if one.flag]
    by = Counter(one.flag.detector for one in flags if one.flag)
    return Row(
        what=what,
        how=how,
        flagged=len(flags),
        shown=len(caught),
        share=share(len(flags), len(caught), "attackers"),
        after=statistics.median(one.after for one in flags) if flags else None,
        made=statistics.median(one.after for one in caught if not one.flag)
        if len(flags) < len(caught)
        else None,
        by=_counts(by),
    )


def _counts(by: Mapping[str, int]) -> str:
    return ", ".join(
        f"{name} {times}"
        for name, times in sorted(by.items(), key=lambda pair: (-pair[1], pair[0]))
    )


# --- detection ------------------------------------------------------------------------------------


def probe_rows(
    *, n: int, seeds: int, say: Say, probes: Sequence[str] = PROBES, limit: int = LIMIT
) -> Iterator[Row]:
    """Every label prober in every disguise, among honest traffic, against the default policy."""
    for name in probes:
        for disguise, words in DISGUISES.items():
            say(f"{name}: {words}")
            yield _row(
                name,
                words,
                [probe(name, disguise, n=n, seed=seed, limit=limit) for seed in range(seeds)],
            )


def hack_rows(*, n: int, seeds: int, say: Say, limit: int = LIMIT) -> Iterator[Row]:
    """Hacks that read no label."""
    habits = {
        f"trivial predictor, {x:.0%} noise": ("the same on all seeds", trivial(x, shared=True))
        for x in (0, 0.05, 0.08, 0.12)
    }
    habits |= {"trivial predictor, 20% noise": ("each seed's own", trivial(0.2, shared=False))}
    habits |= {"random vectors": ("the same on all seeds", random_vectors)}
    habits |= {f"re-rolled seeds, another {r}": ("one identity", rerolls(r)) for r in REWRITES}
    habits |= {
        "re-rolled seeds, another comment ": (
            "nine identities",
            rerolls("comment", people=RESEARCHERS),
        )
    }
    habits |= {"one snapshot, patched answers": ("100 answers, others every time", patcher)}
    habits |= {"flips of the five least sure answers": ("a run's seeds", uncertain_flips)}
    for name, (how, habit) in habits.items():
        say(name)
        yield _row(
            name.strip(), how, [hack(habit, n=n, seed=seed, limit=limit) for seed in range(seeds)]
        )


def patch_rows(*, n: int, seeds: int) -> Iterator[Row]:
    """Answers of a run patched towards the truth, against re-runs of the code (what a confirmation
    does). Code is what it is on its seeds: the issued ones, run again, give what was submitted but
    for the patches."""
    for patched in PATCHES:
        failed = sum(
            _unlike(Crowd(n, np.random.default_rng([seed, patched])), patched)
            for seed in range(seeds)
        )
        how = f"{patched} wrong answers made right: accuracy {patched / n:+.3f}"
        yield _judged(
            "patched answers" if patched else "nothing patched (false alarm)",
            how,
            failed,
            seeds,
            "not reproducible",
        )


def _unlike(crowd: Crowd, patched: int) -> bool:
    idea = crowd.idea()
    own_Sn, again_Sn = crowd.run(idea), crowd.run(idea)
    wrong = np.flatnonzero((own_Sn.mean(axis=0) > 0.5) != crowd.labels_n)
    chosen = crowd.rng.permutation(wrong)[:patched]
    submitted_Sn = own_Sn.copy()
    submitted_Sn[:, chosen] = crowd.labels_n[chosen]
    if reproduction(submitted_Sn, again_Sn, crowd.labels_n, best_of=1).reproduced:
        return False
    return issued(tuple(range(SEEDS)), submitted_Sn, [own_Sn, own_Sn]).found == "different"


def shortcut_rows(*, n: int, seeds: int) -> Iterator[Row]:
    """Runs on two splits without weak labels and student that are still right on a share of the
    items: the same on all seeds, turned round by some."""
    for right in SHORTCUTS:
        found = 0
        for seed in range(seeds):
            rng = np.random.default_rng([seed, round(1000 * right)])
            splits = [(rng.random(n) < right) ^ (rng.random((SEEDS, 1)) < 0.5) for _ in range(2)]
            found += beyond_chance([student_free_p(correct_Sn) for correct_Sn in splits])
        what = "student-free shortcut" if right > 0.5 else "no shortcut (false alarm)"
        yield _judged(
            what,
            f"accuracy {right:.2f} on both splits, half the seeds turned round",
            found,
            seeds,
            "student-free",
        )


def _judged(what: str, how: str, flagged: int, shown: int, by: str) -> Row:
    measured = share(flagged, shown, "confirmations")
    return Row(
        what=what,
        how=how,
        flagged=flagged,
        shown=shown,
        share=measured,
        after=None,
        by=by if flagged else "",
    )


def overlap_rows(*, seeds: int) -> Iterator[Row]:
    """Texts of 40 words that stand in both splits, some words replaced."""
    for edits in EDITS:
        found = sum(
            _overlapping(np.random.default_rng([seed, edits]), edits) for seed in range(seeds)
        )
        how = f"{edits} of 40 words replaced" if edits else "exact, but for case and spaces"
        yield _judged("overlapping item", how, found, seeds * PLANTED, "train/test overlap")


def _overlapping(rng: np.random.Generator, edits: int) -> int:
    words = np.array([f"w{number}" for number in range(2000)])
    known = [rng.choice(words, 40) for _ in range(TEXTS)]
    mine = {f"f{n}": Text("?", (" ".join(rng.choice(words, 40)),)) for n in range(TEXTS)}
    for n in range(PLANTED):
        text = known[n].copy()
        text[rng.choice(40, edits, replace=False)] = "other"
        mine[f"f{n}"] = Text("?", (" ".join(text).upper().replace(" ", "  "),))
    found = find_overlap(
        mine, {f"s{n}": Text("?", (" ".join(text),)) for n, text in enumerate(known)}
    )
    return len(found.exact) + len(found.near)


# --- false alarms ---------------------------------------------------------------------------------


def honest_rows(
    *, n: int, fleets: int, say: Say, each: int = EACH
) -> tuple[tuple[Row, ...], float]:
    """Fleets of one researcher of each habit, and all habits but the idle one; milliseconds of
    processor time a submission."""
    accused: dict[str, list[set[str]]] = {habit: [] for habit in HABITS}
    spent = 0.0
    for seed in range(fleets):
        say(f"honest fleet {seed}")
        crowd = Crowd(n, np.random.default_rng([seed, 99]))
        watch, agents = (
            Watch(crowd.context),
            {name: habit(crowd, name) for name, habit in HABITS.items()},
        )
        for found in accused.values():
            found.append(set())
        repeats: set[str] = set()
        for _ in range(each):
            for name, agent in agents.items():
                submitted = next(agent)
                if submitted.receipt in repeats:
                    continue  # the evaluator answers it from memory
                repeats.add(submitted.receipt)
                begun = time.process_time()
                accused[name][-1] |= {flag.detector for flag in watch.see(submitted)}
                spent += time.process_time() - begun
    rows = [_accused(name, f"{each} submissions", found) for name, found in accused.items()]
    others = [one for name, found in accused.items() if name != IDLE for one in found]
    rows.append(_accused("all but who sweeps an idle constant", f"{each} submissions", others))
    return tuple(rows), 1000 * spent / (fleets * each * len(HABITS))


def _accused(what: str, how: str, found: Sequence[set[str]]) -> Row:
    flagged = sum(map(bool, found))
    by = _counts(Counter(name for one in found for name in one))
    measured = share(flagged, len(found), "researchers")
    return Row(
        what=what, how=how, flagged=flagged, shown=len(found), share=measured, after=None, by=by
    )


def real_rows(
    bed: Testbed, *, fleets: int, say: Say, each: int = REAL_EACH
) -> tuple[tuple[Row, ...], int]:
    """Nine researchers a fleet who really run methods; and how many items they answer."""
    found: list[set[str]] = []
    items = 0
    for seed in range(fleets):
        say(f"real fleet {seed}")
        fleet = RealFleet(bed, seed)
        context = fleet.context()
        items = len(context.ids)
        found += accused_of(Watch(context), fleet.submissions(each)).values()
    return (
        _accused(
            "nine researchers who run shipped methods and recipes",
            f"up to {each} submissions",
            found,
        ),
    ), items


def accused_of(watch: Watch, submissions: Iterable[Submitted]) -> dict[str, set[str]]:
    """By submitter, the detectors that spoke."""
    accused: dict[str, set[str]] = {}
    for submitted in submissions:
        accused.setdefault(submitted.who, set()).update(
            flag.detector for flag in watch.see(submitted)
        )
    return accused
