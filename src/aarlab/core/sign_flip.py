"""The exact sign-flip test: does chance alone explain a sum of differences? (Fisher 1935, The
Design of Experiments.)

Legend: M items.
"""

import numpy as np
import scipy  # its stats take two seconds to import, and load when they are first used
from numpy.typing import NDArray

STEPS = 50  # in which the largest of real totals is counted
BEYOND_CHANCE = 1e-6  # the most with which chance alone may raise a flag by a confirmation


def sign_flip_p(totals_M: NDArray[np.integer]) -> float:
    """P(a sum of the totals with random signs reaches theirs), exactly: the sum is one of scaled
    binomials."""
    sizes = np.abs(totals_M).astype(int)
    law = np.ones(1)  # of X = sum of size x (sign is plus); the signed sum is 2 X - sum of sizes
    for size in range(1, int(sizes.max(initial=0)) + 1):
        n = int((sizes == size).sum())
        step = np.zeros(size * n + 1)
        step[::size] = scipy.stats.binom.pmf(np.arange(n + 1), n, 0.5)
        law = np.convolve(law, step)
    least = (int(totals_M.sum()) + int(sizes.sum())) // 2
    return float(min(1.0, law[least:].sum()))


def sign_flip_p_of_reals(totals_M: NDArray[np.floating]) -> float:
    """The same of real totals, each counted in whole STEPS of the largest: the test is exact for
    these."""
    largest = float(np.abs(totals_M).max(initial=0.0))
    if largest == 0:
        return 1.0
    return sign_flip_p(np.rint(totals_M / largest * STEPS).astype(int))
