import json

import numpy as np
from sklearn.linear_model import LogisticRegression


def submit(public, inputs, out, seed):
    rows = [json.loads(line) for line in (public / "train.jsonl").read_text().splitlines()]
    items = [json.loads(line) for line in inputs.read_text().splitlines()]
    rng = np.random.default_rng(seed)
    some = rng.choice(len(rows), len(rows))  # a bootstrap sample, so that the seed matters
    pixels = np.array([rows[n]["pixels"] for n in some]) / 16
    model = LogisticRegression(C=0.1, max_iter=1000).fit(pixels, [rows[n]["event"] for n in some])
    chances = model.predict_proba(np.array([item["pixels"] for item in items]) / 16)[:, 1]
    return {item["id"]: float(p) for item, p in zip(items, chances, strict=True)}
