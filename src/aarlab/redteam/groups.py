"""A detecting matrix: sets of items whose exact counts give every item (Lindström 1965, "On a
combinatorial problem in number theory"). 2^k questions for k 2^(k-1) items, so about 2n / log2 n
questions for n.

Rows are the subsets B of {1..k}, as bit masks. Each subset A has |A| columns; column j is the
indicator of 2^j even subsets of A, as a function of B & A. Over the subsets B of C, the sum of
(-1)^|B| times a column of A vanishes unless C lies in A; for A = C it is 2^j. So from the largest C
to the smallest, the columns of C are the binary digits of what is left.
"""

import numpy as np
from numpy.typing import NDArray


def detecting_matrix(k: int) -> NDArray[np.int64]:
    """(2^k rows, k 2^(k-1) columns) of 0 and 1; columns ordered by decreasing |A|, then A, then
    j."""
    rows = np.arange(1 << k)
    columns = []
    for a in _by_size(k):
        even = [b for b in range(1 << k) if b & ~a == 0 and b.bit_count() % 2 == 0]
        columns += [np.isin(rows & a, even[: 1 << j]) for j in range(a.bit_count())]
    return np.array(columns, np.int64).reshape(-1, 1 << k).T


def decode(counts_R: NDArray[np.int64], matrix_RC: NDArray[np.int64]) -> NDArray[np.int64]:
    """The 0/1 vector (C,) with matrix @ vector = counts. `counts_R` must be exact."""
    k = len(counts_R).bit_length() - 1
    rows = np.arange(1 << k)
    sign_R = 1 - 2 * (np.array([b.bit_count() for b in range(1 << k)]) % 2)
    found_C = np.zeros(matrix_RC.shape[1], np.int64)
    left_R, place = counts_R.copy(), 0
    for a in _by_size(k):
        inside = (rows & ~a) == 0
        digits = int((sign_R[inside] * left_R[inside]).sum())
        for j in range(a.bit_count()):
            found_C[place + j] = (digits >> j) & 1
        here = slice(place, place + a.bit_count())
        left_R -= matrix_RC[:, here] @ found_C[here]
        place += a.bit_count()
    return found_C


def split(n: int) -> list[int]:
    """Orders k of matrices that together cover n items in few questions."""
    orders = []
    while n > 0:
        k = max((k for k in range(1, 12) if k << (k - 1) <= n), default=1)
        orders.append(k)
        n -= k << (k - 1)
    return orders


def _by_size(k: int) -> list[int]:
    return sorted(range(1, 1 << k), key=lambda a: (-a.bit_count(), a))
