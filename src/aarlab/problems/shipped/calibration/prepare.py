"""Real images, the UCI handwritten digits that scikit-learn ships. The events are drawn: nobody can
look them up."""

import json

import numpy as np
from sklearn.datasets import load_digits

SIZES = {"train": 400, "feedback": 650, "final": 650}


def probability(image_P, digit):
    """Of the event: of digit and ink, between 0.04 and 0.96."""
    pull = np.array([2.2, -2.4, 1.6, -1.2, 2.6, -2.0, 1.0, -2.8, 2.4, -1.4])[digit]
    return 1 / (1 + np.exp(-(pull + 0.04 * (image_P.sum() - 312))))


def prepare(seed, public, sealed, secret):
    rng = np.random.default_rng(seed)
    data = load_digits()
    order, at = rng.permutation(len(data.target)), 0
    for split, size in SIZES.items():
        rows, events = [], {}
        for n in order[at : at + size]:
            event = int(
                rng.random() < np.clip(probability(data.data[n], data.target[n]), 0.04, 0.96)
            )
            row = {"id": f"{split}-{len(rows):04d}", "pixels": data.data[n].astype(int).tolist()}
            events[row["id"]] = event
            rows.append(row | ({"event": event} if split == "train" else {}))
        folder = sealed if split == "final" else public
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if split != "train":
            (secret / split / "events.json").write_text(json.dumps(events))
            (secret / split / "units.json").write_text(json.dumps(sorted(events)))
        at += size
