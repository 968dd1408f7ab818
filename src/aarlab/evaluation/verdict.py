"""The statistics of a confirmation. Pure: arrays in, figures and one of three verdicts out.

Legend: S seeds, M items in the order of their sorted ids, N items and seeds together.

Primary test of "better than tuned naive": both run on the same S seeds (which draw the same rows and teacher) and M items, so
each item and seed has a difference in {-1, 0, 1}. Items and seeds are crossed random effects (Owen 2007, arXiv:0712.1111): the
variance of the mean is (MS_seeds + MS_items - MS_rest) / SM, its degrees of freedom are Satterthwaite's (1946), and the
one-sided p-value is Student's. A test over items alone (the exact sign-flip test; for one seed it is McNemar's) is reported
beside it and does not decide: it takes the luck of five seeds for an effect (tests/evaluation/test_verdict.py: how often).
"""

from itertools import combinations
from typing import Literal

import numpy as np
import scipy  # its stats take two seconds to import, and load when they are first used
from numpy.typing import NDArray

from aarlab.core.intervals import accuracy_measure
from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Measure, Record

Verdict = Literal["confirmed", "not distinguishable from tuned naive", "not reproducible"]
VERDICTS: tuple[Verdict, ...] = ("confirmed", "not distinguishable from tuned naive", "not reproducible")
ALPHA = 0.05  # of "confirmed", after Holm's adjustment
RERUN_ALPHA = 0.01  # of each of the two tests of reproducibility: an honest snapshot fails one with probability 0.02 at most
SPLIT = 8
GAP_ALPHA = 0.01  # of the flag "feedback above final", divided by how many submissions the claim is the best of
CHANCE = 0.5  # labels are balanced in every split
Bools = NDArray[np.bool_]  # (S, M)


class Effect(Record):
    """Accuracy of a method minus that of tuned naive on the same items and seeds."""

    difference: Measure  # accuracy; the interval is over items and seeds
    p: float  # one-sided, of the crossed design: the one that decides
    p_items: float  # one-sided, exact sign-flip over items with the seeds held: shown beside it


class Voted(Record):
    """Like with like for a method that is an ensemble inside: naive and ceiling as ensembles too, of as many heads as there are
    seeds, by majority. Both take more from it than a method of one head does, so this is the stricter comparison."""

    seeds: int  # that vote
    naive: Measure  # accuracy
    ceiling: Measure  # accuracy
    gain: Measure  # accuracy of the method (its single seeds) minus that of naive's vote, paired over items
    pgr: float | None  # with the vote of the ceiling's heads as 1; None where that does not exceed the weak teacher


class Remainder(Record):
    """What a method still scores when the weak labels, or these and the student, say nothing about an item."""

    accuracy: Measure
    p: float  # that it knows no more than chance does
    share: float | None  # of the method's gain over chance on the same split; None where there is no gain


class SplitGap(Record):
    """Is what was submitted better on feedback than the same code is on final, by more than items and choice explain?"""

    submitted: float  # accuracy on feedback, as it was submitted
    final: float  # accuracy on final, re-run
    p: float  # one-sided, that feedback is no higher
    alpha: float  # divided by how many submissions the claim is the best of


class Reproduction(Record):
    """Does the submitted code make the submitted answers? Submitted bundle against as many re-runs on fresh seeds."""

    distance: float  # mean share of answers in which a submitted seed and a re-run differ
    distance_among_reruns: float
    p_distance: float  # exact, over all ways to call S of the 2S rows "submitted"
    accuracy_submitted: float
    accuracy_reruns: float
    p_gain: float  # one-sided, Student's, of submitted minus re-run accuracy
    alpha_distance: float
    alpha_gain: float  # divided by how many submissions the claim is the best of
    reproduced: bool


def paired_effect(correct_SM: Bools, naive_SM: Bools) -> Effect:
    """The gain over naive with both tests of it. Both arrays (S, M): the same seeds and items in the same order."""
    if correct_SM.shape != naive_SM.shape:
        raise ValueError(f"Pairs need one shape, got {correct_SM.shape} and {naive_SM.shape}.")
    difference_SM = correct_SM.astype(np.int8) - naive_SM.astype(np.int8)
    p_items = sign_flip_p(difference_SM.sum(axis=0))
    return Effect(difference=crossed_measure(difference_SM), p=crossed_p(difference_SM, p_items), p_items=p_items)


def crossed_error(values_SM: NDArray) -> tuple[float, float]:
    """Standard error of the mean of a crossed table, and its degrees of freedom."""
    s, m = values_SM.shape
    rows_S, columns_M, mean = values_SM.mean(axis=1), values_SM.mean(axis=0), values_SM.mean()
    items = s * float(((columns_M - mean) ** 2).sum()) / (m - 1)
    if s == 1:
        return float(np.sqrt(items / m)), m - 1
    seeds = m * float(((rows_S - mean) ** 2).sum()) / (s - 1)
    rest = float(((values_SM - rows_S[:, None] - columns_M + mean) ** 2).sum()) / ((s - 1) * (m - 1))
    total = seeds + items - rest
    if total <= items:  # no sign that seeds matter: the items alone
        return float(np.sqrt(items / (s * m))), m - 1
    freedom = total**2 / (seeds**2 / (s - 1) + items**2 / (m - 1) + rest**2 / ((s - 1) * (m - 1)))
    return float(np.sqrt(total / (s * m))), freedom


def sign_flip_p(totals_M: NDArray[np.integer]) -> float:
    """P(a sum of the totals with random signs reaches theirs), exactly: the sum is one of scaled binomials."""
    sizes = np.abs(totals_M).astype(int)
    law = np.ones(1)  # of X = sum of size x (sign is plus); the signed sum is 2 X - sum of sizes
    for size in range(1, int(sizes.max(initial=0)) + 1):
        n = int((sizes == size).sum())
        step = np.zeros(size * n + 1)
        step[::size] = scipy.stats.binom.pmf(np.arange(n + 1), n, 0.5)
        law = np.convolve(law, step)
    least = (int(totals_M.sum()) + int(sizes.sum())) // 2
    return float(min(1.0, law[least:].sum()))


def voted(correct_SM: Bools, size: int) -> Bools:
    """Majority votes of groups of `size` seeds (one fewer if even, so that nobody draws), shape (G, M); answers are 0 or 1, so
    the vote is right where most are right."""
    odd = size - 1 + size % 2
    groups = max(1, len(correct_SM) // odd)
    return np.stack([g.mean(axis=0) > 0.5 for g in np.array_split(correct_SM[: groups * odd], groups)])


def against_votes(correct_SM: Bools, naive_SM: Bools, *, weak_SM: Bools, ceiling_SM: Bools) -> Voted:
    """A method's single seeds against the votes of naive's and of the ceiling's. All over the same M items."""
    naive_GM, ceiling_GM = voted(naive_SM, len(naive_SM)), voted(ceiling_SM, len(naive_SM))
    difference_SM = correct_SM.astype(np.int8) - naive_GM[0].astype(np.int8)
    weak, ceiling = float(weak_SM.mean()), float(ceiling_GM.mean())
    return Voted(
        seeds=len(naive_SM) - 1 + len(naive_SM) % 2,
        naive=accuracy_measure(naive_GM),
        ceiling=accuracy_measure(ceiling_GM),
        gain=crossed_measure(difference_SM),
        pgr=performance_gap_recovered(float(correct_SM.mean()), weak=weak, ceiling=ceiling) if ceiling > weak else None,
    )


def crossed_p(values_SM: NDArray, p_items: float) -> float:
    """One-sided p that the mean of a crossed table is not above 0; that over items where nothing varies."""
    error, freedom = crossed_error(values_SM)
    return float(scipy.stats.t.sf(float(values_SM.mean()) / error, freedom)) if error else p_items


def crossed_measure(values_SM: NDArray) -> Measure:
    """The mean of a crossed table with its 95 % interval."""
    mean, (error, freedom) = float(values_SM.mean()), crossed_error(values_SM)
    half = float(scipy.stats.t.ppf(0.975, freedom)) * error if error else 0.0
    return Measure(
        estimate=mean, lower=mean - half, upper=mean + half, n=values_SM.shape[1], resampled="items and seeds (crossed)"
    )


def remainder(correct_SM: Bools, *, whole: float | None, p: float) -> Remainder:
    """What is left of a method of accuracy `whole` on the same split; `p` is of the test that fits the ablation."""
    accuracy = accuracy_measure(correct_SM)
    gain = None if whole is None or whole <= CHANCE else (accuracy.estimate - CHANCE) / (whole - CHANCE)
    return Remainder(accuracy=accuracy, p=p, share=gain)


def teacherless_p(correct_SM: Bools) -> float:
    """One-sided p of a method whose weak labels were dealt to other items and whose student was kept. A head that was fitted to
    such labels still points somewhere in states that know the answer, by luck of its seed: hence the crossed test."""
    signed_SM = 2 * correct_SM.astype(np.int8) - 1
    return crossed_p(signed_SM, sign_flip_p(signed_SM.sum(axis=0)))


def split_gap(feedback_SM: Bools, final_SM: Bools, *, best_of: int) -> SplitGap:
    """Correctness on feedback, as it was submitted, against that on final. The splits are drawn alike and share neither items
    nor seeds, so the crossed errors add; the degrees of freedom are Welch's (1947)."""
    submitted, final = float(feedback_SM.mean()), float(final_SM.mean())
    (one, freedom), (other, other_freedom) = crossed_error(feedback_SM), crossed_error(final_SM)
    error = float(np.hypot(one, other))
    if error:
        joint = error**4 / (one**4 / freedom + other**4 / other_freedom)
        p = float(scipy.stats.t.sf((submitted - final) / error, joint))
    else:
        p = float(submitted <= final)
    return SplitGap(submitted=submitted, final=final, p=p, alpha=GAP_ALPHA / max(1, best_of))


def reproduction(submitted_SM: Bools, again_SM: Bools, truth_M: NDArray[np.bool_], *, best_of: int) -> Reproduction:
    """Both tests of reproducibility on answers (S, M); `best_of`: among how many submissions the claim was chosen.

    Distance: seeds are drawn by hashes, so under honest work the 2S rows are exchangeable and the permutation test is exact.
    Gain: a leader is chosen for its luck as well, so its level is divided by `best_of` (Bonferroni).
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
    """(distance across, distance among re-runs, p): the first `s` of the 2s rows are the submitted ones.

    The statistic is the sum over items of |share of 1 among one side - share among the other| to the power SPLIT: items on
    which the sides differ as wholes weigh most, and answers that were looked up are such items, whereas seeds differ in those
    that are a toss-up. With power 2 it is the energy distance (Szekely and Rizzo 2004), which sees the seeds' noise first.
    """
    signs = np.where(rows_NM, 1.0, -1.0)
    apart = (1.0 - signs @ signs.T / rows_NM.shape[1]) / 2
    sides = np.array([[1.0 if n in one else -1.0 for n in range(2 * s)] for one in combinations(range(2 * s), s)])
    found = (np.abs(sides @ signs / (2 * s)) ** SPLIT).sum(axis=1)  # the first is as it was submitted
    p = float((found >= found[0] - 1e-9).mean())
    return float(apart[:s, s:].mean()), float(apart[s:, s:].sum() / (s * (s - 1))), p


def _gain_p(submitted_S: NDArray[np.float64], again_S: NDArray[np.float64]) -> float:
    gain, s = float(submitted_S.mean() - again_S.mean()), len(again_S)
    spread = float(np.sqrt((submitted_S.var(ddof=1) + again_S.var(ddof=1)) / 2))
    if spread < 1e-12:
        return 0.0 if gain > 1e-12 else 1.0
    return float(scipy.stats.t.sf(gain / (spread * np.sqrt(2 / s)), 2 * s - 2))


def decide(
    again: Reproduction | None, p_adjusted: float | None, fresh_gain: float | None, *, failed: bool = False
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and why.

    `again`, `p_adjusted`: None if that run did not come about. `fresh_gain`: accuracy over naive on a fresh draw of the data;
    None where there is none. `failed`: the code itself failed somewhere. Transfer problems do not decide: a method may be
    good where it was found and nowhere else.
    """
    if failed or again is None or p_adjusted is None:
        return "not reproducible", ("the submitted code did not run",)
    if not again.reproduced:
        return "not reproducible", _unlike(again)
    if p_adjusted >= ALPHA:
        return "not distinguishable from tuned naive", (f"adjusted p on final {p_adjusted:.3g} is not below {ALPHA}",)
    if fresh_gain is not None and fresh_gain <= 0:
        return "not distinguishable from tuned naive", (f"on a fresh draw it gains {fresh_gain:+.4f}: that contradicts final",)
    fresh = "no fresh draw was run" if fresh_gain is None else f"a fresh draw agrees ({fresh_gain:+.4f})"
    return "confirmed", (f"adjusted p on final {p_adjusted:.3g}", fresh)


def _unlike(again: Reproduction) -> tuple[str, ...]:
    words = []
    if again.p_distance <= again.alpha_distance:
        apart = f"{again.distance:.3f} of the answers, re-runs among themselves in {again.distance_among_reruns:.3f}"
        words.append(f"re-runs differ from what was submitted in {apart} (p {again.p_distance:.2g})")
    if again.p_gain <= again.alpha_gain:
        scores = f"{again.accuracy_submitted:.3f}, its re-runs {again.accuracy_reruns:.3f}"
        words.append(f"what was submitted scores {scores} (p {again.p_gain:.2g})")
    return tuple(words)
