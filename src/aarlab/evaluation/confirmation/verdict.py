"""The statistics of a confirmation. Pure: arrays in, figures and one of three verdicts out.

Legend: S seeds, M items in the order of their sorted ids, N items and seeds together.

Primary test of "better than tuned naive": both run on the same S seeds (which draw the same rows
and teacher) and M items, so each item and seed has a difference in {-1, 0, 1}. Items and seeds are
crossed random effects, and items that share a label are one unit: `aarlab.core.crossed` gives the
variance and the one-sided p-value. A test over units alone (the exact sign-flip test; for one seed
and items that stand alone it is McNemar's) is reported beside it and does not decide: it takes the
luck of five seeds for an effect (tests/evaluation/test_verdict.py: how often).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import scipy  # its stats take two seconds to import, and load when they are first used
from numpy.typing import NDArray

from aarlab.core.crossed import Crossed, UnitNumbers, sums_by_unit
from aarlab.core.intervals import accuracy_measure
from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Failure, Measure, Record, Verdict
from aarlab.core.sign_flip import BEYOND_CHANCE, sign_flip_p

ALPHA = 0.05  # of "confirmed", after Holm's adjustment
# of each of the two tests on fresh seeds: an honest snapshot fails one with probability 0.02 at
# most, so
RERUN_ALPHA = 0.01
# that they accuse nobody: they decide whether the issued seeds are run again
TOLERATED = 0.001  # of the answers on the issued seeds may differ: floating point
# times as far from what was submitted as two runs by the lab are from each other: not the noise of
# unseeded code
NOISE = 3.0
SPLIT = 8
# of "feedback above final", divided by how many submissions the claim is the best of
GAP_ALPHA = BEYOND_CHANCE
CHANCE = 0.5  # labels are balanced in every split
ONE_LESS_OTHER = np.array([1.0, -1.0])  # of two tables
Bools = NDArray[np.bool_]  # (S, M)


class Effect(Record):
    """Accuracy of a method minus that of tuned naive on the same items and seeds."""

    difference: Measure  # accuracy; the interval is over items and seeds
    p: float  # one-sided, of the crossed design: the one that decides
    p_items: float  # one-sided, exact sign-flip over units with the seeds held: shown beside it


class Voted(Record):
    """Like with like for a method that is an ensemble inside: naive and ceiling as ensembles too,
    of as many heads as there are seeds, by majority. Both take more from it than a method of one
    head does, so this is the stricter comparison."""

    seeds: int  # that vote
    naive: Measure  # accuracy
    ceiling: Measure  # accuracy
    # accuracy of the method (its single seeds) minus that of naive's vote, paired over items
    gain: Measure
    # with the vote of the ceiling's heads as 1; None where that does not exceed the weak teacher
    pgr: float | None


class Remainder(Record):
    """What a method still scores when the weak labels, or these and the student, say nothing about
    an item."""

    accuracy: Measure
    p: float  # that it knows no more than chance does
    # of the method's gain over chance on the same split; None where there is no gain
    share: float | None


class SplitGap(Record):
    """Is the code better on feedback than on final, on fresh seeds of both, by more than items and
    choice explain?"""

    # accuracy on feedback, re-run; in records of schemas 1 and 2 as it was submitted
    submitted: float
    final: float  # accuracy on final, re-run
    p: float  # one-sided, that feedback is no higher
    alpha: float  # divided by how many submissions the claim is the best of


class Reproduction(Record):
    """Does the submitted code make the submitted answers? Submitted bundle against as many re-runs
    on fresh seeds."""

    distance: float  # mean share of answers in which a submitted seed and a re-run differ
    distance_among_reruns: float
    p_distance: float  # exact, over all ways to call S of the 2S rows "submitted"
    accuracy_submitted: float
    accuracy_reruns: float
    p_gain: float  # one-sided, Student's, of submitted minus re-run accuracy
    alpha_distance: float
    alpha_gain: float  # divided by how many submissions the claim is the best of
    reproduced: bool


class IssuedSeedsRun(Record):
    """Does the submitted code make the submitted answers on the seeds for which they were handed
    in? On this alone an accusation rests, and not on chance: it is run twice more, by us, on
    exactly these seeds."""

    seeds: tuple[int, ...]
    compared: int  # answers: seeds x items
    # share of answers in which the nearer of our runs is equal to what was submitted; None: no
    # answers
    equal: float | None
    # the same between our two runs; None where not both gave answers
    equal_among_runs: float | None
    tolerated: float  # share that may differ
    failures: tuple[str, ...] = ()  # of the runs that gave no answers, as text
    found: Literal["equal", "different", "undecided"]
    predictions: tuple[str, ...] = ()  # SHA-256 of the stored answers of our runs

    def __str__(self) -> str:
        if self.equal is None:
            return (
                "run again on the issued seeds, the code gives no answers "
                f"({'; '.join(self.failures)[:500]})"
            )
        words = (
            f"on the issued seeds, {self.equal:.2%} of {self.compared:,} answers are those that "
            "were submitted"
        )
        if self.found == "equal" or self.equal_among_runs is None:
            return words
        return f"{words}; two runs by us on these seeds are equal in {self.equal_among_runs:.2%}"


Failed = tuple[Failure, str]  # how a run ended that gave no answers: the kind, and the words


def issued(
    seeds: tuple[int, ...], submitted_SM: Bools, runs: Sequence[Bools | Failed]
) -> IssuedSeedsRun:
    """What was submitted against runs of the same code on the same seeds. Each (S, M), or how it
    failed.

    Equal: one of the runs gives the submitted answers, but for `TOLERATED` of them. Different: no
    run does, and they are much further from it than from each other, or all ended with an error.
    Undecided: the code draws on something else than its seed, or took too long; nothing follows
    from that.
    """
    answers = [run for run in runs if not isinstance(run, tuple)]
    failed = [run for run in runs if isinstance(run, tuple)]
    equal = max((float((run == submitted_SM).mean()) for run in answers), default=None)
    among = float((answers[0] == answers[1]).mean()) if len(answers) > 1 else None
    if equal is not None and equal >= 1 - TOLERATED:
        found = "equal"
    elif equal is None:
        found = (
            "undecided"
            if not failed or any(kind == "timed out" for kind, _ in failed)
            else "different"
        )
    else:
        found = (
            "undecided"
            if among is None or equal >= 1 - TOLERATED - NOISE * (1 - among)
            else "different"
        )
    return IssuedSeedsRun(
        seeds=seeds,
        compared=submitted_SM.size,
        equal=equal,
        equal_among_runs=among,
        tolerated=TOLERATED,
        failures=tuple(words for _, words in failed),
        found=found,
    )


def paired_effect(correct_SM: Bools, naive_SM: Bools, units_M: UnitNumbers | None = None) -> Effect:
    """The gain over naive with both tests of it. Both arrays (S, M): the same seeds and items in
    the same order. `units_M`: which items share a label."""
    if correct_SM.shape != naive_SM.shape:
        raise ValueError(f"Pairs need one shape, got {correct_SM.shape} and {naive_SM.shape}.")
    crossed, apart_C = Crossed(np.stack([correct_SM, naive_SM]), units_M=units_M), ONE_LESS_OTHER
    difference_SM = correct_SM.astype(np.int64) - naive_SM.astype(np.int64)
    return Effect(
        difference=crossed.measure(apart_C),
        p=crossed.p_above(apart_C),
        p_items=sign_flip_p(sums_by_unit(difference_SM, units_M).sum(axis=0)),
    )


def voted(correct_SM: Bools, size: int) -> Bools:
    """Majority votes of groups of `size` seeds (one fewer if even, so that nobody draws), shape (G,
    M); answers are 0 or 1, so the vote is right where most are right."""
    odd = size - 1 + size % 2
    groups = max(1, len(correct_SM) // odd)
    return np.stack(
        [g.mean(axis=0) > 0.5 for g in np.array_split(correct_SM[: groups * odd], groups)]
    )


def against_votes(
    correct_SM: Bools,
    naive_SM: Bools,
    *,
    weak_SM: Bools,
    ceiling_SM: Bools,
    units_M: UnitNumbers | None = None,
) -> Voted:
    """A method's single seeds against the votes of naive's and of the ceiling's. All over the same
    M items."""
    naive_GM, ceiling_GM = voted(naive_SM, len(naive_SM)), voted(ceiling_SM, len(naive_SM))
    weak, ceiling = float(weak_SM.mean()), float(ceiling_GM.mean())
    gain = Crossed(correct_SM[None], naive_GM[None], units_M=units_M).measure(ONE_LESS_OTHER)
    return Voted(
        seeds=len(naive_SM) - 1 + len(naive_SM) % 2,
        naive=accuracy_measure(naive_GM, units_M),
        ceiling=accuracy_measure(ceiling_GM, units_M),
        gain=gain,
        pgr=performance_gap_recovered(float(correct_SM.mean()), weak=weak, ceiling=ceiling)
        if ceiling > weak
        else None,
    )


def remainder(
    correct_SM: Bools, *, whole: float | None, p: float, units_M: UnitNumbers | None = None
) -> Remainder:
    """What is left of a method of accuracy `whole` on the same split; `p` is of the test that fits
    the ablation."""
    accuracy = accuracy_measure(correct_SM, units_M)
    gain = (
        None
        if whole is None or whole <= CHANCE
        else (accuracy.estimate - CHANCE) / (whole - CHANCE)
    )
    return Remainder(accuracy=accuracy, p=p, share=gain)


def teacherless_p(correct_SM: Bools, units_M: UnitNumbers | None = None) -> float:
    """One-sided p of a method whose weak labels were dealt to other items and whose student was
    kept. A head that was fitted to such labels still points somewhere in states that know the
    answer, by luck of its seed: hence the crossed test."""
    signed_SM = 2 * correct_SM.astype(np.int8) - 1
    return Crossed(signed_SM[None], units_M=units_M).p_above(np.ones(1))


def split_gap(
    feedback_SM: Bools,
    final_SM: Bools,
    *,
    best_of: int,
    units: tuple[UnitNumbers | None, UnitNumbers | None] = (None, None),
) -> SplitGap:
    """Correctness of re-runs on feedback against that on final; `units`: of both, which items share
    a label. The splits are drawn alike and share neither items nor seeds, so the crossed errors
    add; the degrees of freedom are Welch's (1947)."""
    submitted, final = float(feedback_SM.mean()), float(final_SM.mean())
    (one, freedom), (other, other_freedom) = (
        Crossed(rows_SM[None], units_M=units_M).error(np.ones(1))
        for rows_SM, units_M in zip((feedback_SM, final_SM), units, strict=True)
    )
    error = float(np.hypot(one, other))
    if np.isinf(error):  # all items of a split are one unit
        p = 1.0
    elif error:
        joint = error**4 / (one**4 / freedom + other**4 / other_freedom)
        p = float(scipy.stats.t.sf((submitted - final) / error, joint))
    else:
        p = float(submitted <= final)
    return SplitGap(submitted=submitted, final=final, p=p, alpha=GAP_ALPHA / max(1, best_of))


def reproduction(
    submitted_SM: Bools, again_SM: Bools, truth_M: NDArray[np.bool_], *, best_of: int
) -> Reproduction:
    """Both tests of reproducibility on answers (S, M); `best_of`: among how many submissions the
    claim was chosen.

    Distance: seeds are drawn by hashes, so under honest work the 2S rows are exchangeable and the
    permutation test is exact. Gain: a leader is chosen for its luck as well, so its level is
    divided by `best_of` (Bonferroni).
    """
    s = len(submitted_SM)
    accuracies = [(rows == truth_M).mean(axis=1) for rows in (submitted_SM, again_SM)]
    crossed, among, p_distance = _distance_test(np.concatenate([submitted_SM, again_SM]), s)
    p_gain, alpha_gain = _gain_p(*accuracies), RERUN_ALPHA / max(1, best_of)
    return Reproduction(
        distance=crossed,
        distance_among_reruns=among,
        p_distance=p_distance,
        accuracy_submitted=float(accuracies[0].mean()),
        accuracy_reruns=float(accuracies[1].mean()),
        p_gain=p_gain,
        alpha_distance=RERUN_ALPHA,
        alpha_gain=alpha_gain,
        reproduced=p_distance > RERUN_ALPHA and p_gain > alpha_gain,
    )


def _distance_test(rows_NM: Bools, s: int) -> tuple[float, float, float]:
    """(distance across, distance among re-runs, p): the first `s` of the 2s rows are the submitted
    ones.

    The statistic is the sum over items of |share of 1 among one side - share among the other| to
    the power SPLIT: items on which the sides differ as wholes weigh most, and answers that were
    looked up are such items, whereas seeds differ in those that are a toss-up. With power 2 it is
    the energy distance (Szekely and Rizzo 2004), which sees the seeds' noise first.
    """
    signs = np.where(rows_NM, 1.0, -1.0)
    apart = (1.0 - signs @ signs.T / rows_NM.shape[1]) / 2
    sides = np.array(
        [[1.0 if n in one else -1.0 for n in range(2 * s)] for one in combinations(range(2 * s), s)]
    )
    # the first is as it was submitted
    found = (np.abs(sides @ signs / (2 * s)) ** SPLIT).sum(axis=1)
    p = float((found >= found[0] - 1e-9).mean())
    return float(apart[:s, s:].mean()), float(apart[s:, s:].sum() / (s * (s - 1))), p


def _gain_p(submitted_S: NDArray[np.float64], again_S: NDArray[np.float64]) -> float:
    gain, s = float(submitted_S.mean() - again_S.mean()), len(again_S)
    spread = float(np.sqrt((submitted_S.var(ddof=1) + again_S.var(ddof=1)) / 2))
    if spread < 1e-12:
        return 0.0 if gain > 1e-12 else 1.0
    return float(scipy.stats.t.sf(gain / (spread * np.sqrt(2 / s)), 2 * s - 2))


def doubted(again: Reproduction | None, p: float | None, *, failed: bool) -> bool:
    """Must the issued seeds be run again before a verdict? See `decide`; `p` is that on final."""
    return failed or again is None or p is None or not again.reproduced


def decide(
    again: Reproduction | None,
    p_adjusted: float | None,
    fresh_gain: float | None,
    *,
    failed: bool = False,
    on_issued: IssuedSeedsRun | None = None,
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and why.

    `again`, `p_adjusted`: None if that run did not happen. `fresh_gain`: accuracy over naive on
    a fresh draw of the data; None where there is none. `failed`: the code itself failed somewhere.
    `on_issued`: where the claim is doubted. Transfer problems do not decide: a method may be good
    where it was found and nowhere else.

    Raises:
        ValueError: the claim is doubted and the issued seeds were not run: nobody is accused by a
            test on other seeds.
    """
    why: tuple[str, ...] = ()
    if doubted(again, p_adjusted, failed=failed):
        if on_issued is None:
            raise ValueError("The claim is doubted: the issued seeds must be run before a verdict.")
        why = (
            "the submitted code did not run" if failed or again is None else _unlike(again),
            str(on_issued),
        )
        if on_issued.found == "different":
            return "not reproducible", why
        if on_issued.found == "undecided" or failed or again is None:
            return "not distinguishable from tuned naive", why
        why = (
            f"{on_issued!s}: the code makes them, and what differs on fresh seeds is the luck of "
            "seeds",
            why[0],
        )
    if p_adjusted is None or p_adjusted >= ALPHA:
        words = (
            "p on final is unknown"
            if p_adjusted is None
            else f"adjusted p on final {p_adjusted:.3g} is not below {ALPHA}"
        )
        return "not distinguishable from tuned naive", (words, *why)
    if fresh_gain is not None and fresh_gain <= 0:
        words = f"on a fresh draw it gains {fresh_gain:+.4f}: that contradicts final"
        return "not distinguishable from tuned naive", (words, *why)
    fresh = (
        "no fresh draw was run"
        if fresh_gain is None
        else f"a fresh draw agrees ({fresh_gain:+.4f})"
    )
    return "confirmed", (f"adjusted p on final {p_adjusted:.3g}", fresh, *why)


def _unlike(again: Reproduction) -> str:
    words = []
    if again.p_distance <= again.alpha_distance:
        apart = (
            f"{again.distance:.3f} of the answers, re-runs among themselves in "
            f"{again.distance_among_reruns:.3f}"
        )
        words.append(
            f"re-runs differ from what was submitted in {apart} (p {again.p_distance:.2g})"
        )
    if again.p_gain <= again.alpha_gain:
        scores = f"{again.accuracy_submitted:.3f}, its re-runs {again.accuracy_reruns:.3f}"
        words.append(f"what was submitted scores {scores} (p {again.p_gain:.2g})")
    return "; ".join(words)
