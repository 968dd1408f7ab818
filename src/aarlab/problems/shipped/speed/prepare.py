"""Shapes of the operation; those that count are secret. Inputs are drawn when they are asked."""

import json
import shutil
from pathlib import Path

import numpy as np

SIZES = {"public": 4, "feedback": 36, "final": 36}
WORK = 24_000_000  # coordinates that the reference subtracts in one call, about


def prepare(seed, public, sealed, secret):
    rng, known = np.random.default_rng(seed), set()
    shutil.copy(Path(__file__).with_name("nearest.py"), public)
    for split, size in SIZES.items():
        shapes = {}
        while len(shapes) < size:
            n, d = int(2 ** rng.uniform(10, 13)), int(2 ** rng.uniform(2, 6))
            # a point costs the reference about 24 coordinates more, for it is sorted
            q = max(8, round(WORK / (n * (d + 24))))
            shape = {"n": n, "d": d, "q": q, "k": int(2 ** rng.uniform(0, 5))}
            if (name := f"n{n}-d{d}-q{q}-k{shape['k']}") not in known:
                known.add(name)
                shapes[name] = shape
        if split == "public":
            (public / "shapes.json").write_text(json.dumps(list(shapes.values())))
        else:
            (secret / split / "shapes.json").write_text(json.dumps(shapes))
            (secret / split / "units.json").write_text(json.dumps(list(shapes)))
