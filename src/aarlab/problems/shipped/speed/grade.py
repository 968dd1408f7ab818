"""Times a program against the reference, which runs here: the same new inputs, by turns, from one
side and by one clock. The program stands still while the reference runs.

A call costs the program about one millisecond beside its work, which the reference does not pay:
the reference, submitted, has a ratio a little below 1. What else the machine does changes single
times by more than that, so that a grading is repeated (`trials`). Units are shapes: their standard
error says nothing of another machine.
"""

import json
import math
import secrets
from time import perf_counter

import nearest

from aarlab.core.author import ProgramFailed

WORST, BEST = -1.0, 5.0


def grade(submission, secret, trial):
    shapes = json.loads((secret / "shapes.json").read_text())
    for shape in [{"n": 1000, "d": 8, "q": 50, "k": 3}] * 2:  # what a first call costs is not timed
        pair(submission, shape)
    found = {unit: ratio(submission, shape) for unit, shape in shapes.items()}
    return {
        "speedup": {unit: WORST if x is None else x for unit, x in found.items()},
        "correct": {unit: float(x is not None) for unit, x in found.items()},
    }


def ratio(submission, shape):
    """log2 of how many times as fast as the reference it is, or None where an answer was wrong."""
    reference_s, program_s, right = pair(submission, shape)
    return min(max(math.log2(reference_s / program_s), WORST), BEST) if right else None


def pair(submission, shape):
    """Seconds of the reference and of the program, on the same new inputs, and whether it is
    right; by turns one or the other comes first."""
    request, times, answers = shape | {"seed": secrets.randbits(48)}, {}, {}
    calls = [("reference", nearest.answer), ("program", submission.answer)]
    for name, call in calls[:: secrets.choice((1, -1))]:
        begun = perf_counter()
        try:
            answers[name] = call(request)
        except ProgramFailed:
            answers[name] = None
        times[name] = perf_counter() - begun
    return times["reference"], times["program"], answers["program"] == answers["reference"]
