"""Distances of ROWS queries by one matrix product, exact in float32; then only the nearest are
sorted, by distance and index in one key."""

import shutil

PROGRAM = """
import numpy as np
from nearest import checksum, inputs

ROWS = 512  # queries at a time


def answer(request):
    points_ND, queries_QD = (x.astype(np.float32) for x in inputs(request))
    blocks = [queries_QD[first : first + ROWS] for first in range(0, len(queries_QD), ROWS)]
    found = [nearest(points_ND, block, request["k"]) for block in blocks]
    return {"checksum": checksum(np.vstack(found))}


def nearest(points_ND, queries_QD, k):
    distances_QN = queries_QD @ (-2 * points_ND.T)
    distances_QN += np.square(points_ND).sum(axis=1)
    distances_QN += np.square(queries_QD).sum(axis=1)[:, None]
    keys_QN = distances_QN.astype(np.int64)
    keys_QN *= len(points_ND)
    keys_QN += np.arange(len(points_ND))
    return np.sort(np.partition(keys_QN, k - 1, axis=1)[:, :k], axis=1) % len(points_ND)
"""


def submit(public, inputs, out, seed):
    shutil.copy(public / "nearest.py", out)
    (out / "program.py").write_text(PROGRAM)
