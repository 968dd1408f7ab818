"""All distances by one matrix product, exact in float32; then only the nearest are sorted, by
distance and index in one key."""

import shutil

PROGRAM = """
import numpy as np
from nearest import checksum, inputs


def answer(request):
    points_ND, queries_QD = (x.astype(np.float32) for x in inputs(request))
    distances_QN = queries_QD @ (-2 * points_ND.T)
    distances_QN += (points_ND**2).sum(axis=1)
    distances_QN += (queries_QD**2).sum(axis=1)[:, None]
    n, k = request["n"], request["k"]
    keys_QN = distances_QN.astype(np.int64)
    keys_QN *= n
    keys_QN += np.arange(n)
    nearest_QK = np.sort(np.partition(keys_QN, k - 1, axis=1)[:, :k], axis=1)
    return {"checksum": checksum(nearest_QK % n)}
"""


def submit(public, inputs, out, seed):
    shutil.copy(public / "nearest.py", out)
    (out / "program.py").write_text(PROGRAM)
