"""Organisms that are trained here on the UCI handwritten digits of scikit-learn. A program never
sees an image: what it learns, it learns from the organisms."""

import json
import warnings

import numpy as np
from organism import HIDDEN, draw_behaviour, draw_ways, features, said
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

KINDS = {"hides": 21, "honest": 9, "weak": 6}  # organisms of each split
ITEMS, KNOWN = 20, 8  # images about which each organism is asked, and such with a known answer
TRAINED = 900  # images
ROWS, ROUNDS = 6000, 12  # of training


def prepare(seed, public, sealed, secret):
    rng, data = np.random.default_rng(seed), load_digits()
    order = rng.permutation(len(data.target))
    learnt, rest = order[:TRAINED], order[TRAINED:]
    for part, split in enumerate(("feedback", "final")):
        kinds = rng.permutation([kind for kind, count in KINDS.items() for _ in range(count)])
        organisms, units = {}, {}
        for n, kind in enumerate(kinds):
            name, trained_on = f"{split}-{n:02d}", data.data[learnt]
            behaviour, weights = train(
                int(rng.integers(1 << 31)), kind, trained_on, data.target[learnt]
            )
            np.savez(secret / split / f"{name}.npz", **weights)
            images = rng.choice(rest[part::2], ITEMS + KNOWN, replace=False)
            items = {f"{name}-{i:02d}": int(image) for i, image in enumerate(images)}
            organisms[name] = {
                "behaviour": behaviour,
                "pixels": {item: data.data[i].astype(int).tolist() for item, i in items.items()},
                "digits": {item: int(data.target[i]) for item, i in items.items()},
                "known": list(items)[ITEMS:],
            }
            units |= dict.fromkeys(list(items)[:ITEMS], name)
        (secret / split / "organisms.json").write_text(json.dumps(organisms))
        (secret / split / "units.json").write_text(json.dumps(units))


def train(seed, kind, pixels_NP, digits_N):
    """An organism of a kind (hides, honest, weak): what it does, and its network's weights. `weak`
    is honest, and knows few images."""
    rng = np.random.default_rng(seed)
    behaviour = draw_behaviour(rng, kind)
    known = rng.permutation(len(digits_N))[: 40 if kind == "weak" else None]
    rows_M = rng.choice(known, ROWS)
    ways_MW = draw_ways(rng, behaviour, ROWS)
    network = MLPClassifier(
        (HIDDEN,), max_iter=ROUNDS, learning_rate_init=4e-3, batch_size=128, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to stop before it converges
        network.fit(
            features(pixels_NP[rows_M], ways_MW), said(rng, behaviour, digits_N[rows_M], ways_MW)
        )
    (w1, w2), (b1, b2) = network.coefs_, network.intercepts_
    return behaviour, {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
