"""The operation: for each of Q queries the K nearest of N points, by squared distance; of equally
near ones the first. Coordinates are whole, so every correct way has exactly the same result."""

import numpy as np

LEAST, BELOW = -8, 8  # of a coordinate
PRIME = 2_147_483_647


def inputs(request):
    """The points (N, D) and queries (Q, D) that a request stands for, int64."""
    rng = np.random.default_rng(request["seed"])
    shape_ND, shape_QD = (request["n"], request["d"]), (request["q"], request["d"])
    return rng.integers(LEAST, BELOW, shape_ND), rng.integers(LEAST, BELOW, shape_QD)


def nearest(points_ND, queries_QD, k):
    """The reference: indices (Q, K), the nearest first."""
    found_QK = np.empty((len(queries_QD), k), np.int64)
    for n, query_D in enumerate(queries_QD):
        distances_N = ((points_ND - query_D) ** 2).sum(axis=1)
        found_QK[n] = np.argsort(distances_N, kind="stable")[:k]
    return found_QK


def checksum(found_QK):
    """One number of all indices and their places."""
    flat = np.asarray(found_QK, np.int64).ravel()
    places = np.arange(1, len(flat) + 1) * 48_271 % PRIME
    return int(((flat + 1) * places % PRIME).sum() % PRIME)


def answer(request):
    """What a program returns for a request."""
    points_ND, queries_QD = inputs(request)
    return {"checksum": checksum(nearest(points_ND, queries_QD, request["k"]))}
