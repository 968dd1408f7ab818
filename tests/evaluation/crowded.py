"""A crowd of honest researchers, for the tests of detectors."""

from aarlab.evaluation.detectors import Detector, Suspicion

N = 600


def shown(one: Detector, submissions) -> list[list[Suspicion]]:
    return [list(one.see(s)) for s in submissions]


def take(generator, count):
    return [next(generator) for _ in range(count)]
