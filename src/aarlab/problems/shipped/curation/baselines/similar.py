"""Each document of the public sample takes, by turns, the document of the pool that has most of its
words, rare words counted more; the last third of the budget is spent at random."""

import json
import math
import random
import re
from collections import Counter

BUDGET, AT_RANDOM = 60_000, 18_000


def vectors(texts):
    """Of each text, its words with weights; the squares of the weights have the sum 1."""
    counts = [Counter(re.findall(r"\w+|[^\w\s]", text)) for text in texts]
    texts_with = Counter(word for count in counts for word in count)
    found = []
    for count in counts:
        weights = {
            w: math.log1p(n) * math.log(len(texts) / texts_with[w]) for w, n in count.items()
        }
        length = math.sqrt(sum(x * x for x in weights.values())) or 1.0
        found.append({word: x / length for word, x in weights.items()})
    return found


def submit(public, inputs, out, seed):
    pool, sample = (
        [json.loads(line) for line in (public / name).read_text().splitlines()]
        for name in ("pool.jsonl", "sample.jsonl")
    )
    found = vectors([row["text"] for row in (*pool, *sample)])
    orders = []
    for near in found[len(pool) :]:
        alike = [sum(x * near.get(w, 0) for w, x in v.items()) for v in found[: len(pool)]]
        orders.append(iter(sorted(range(len(pool)), key=lambda n, alike=alike: -alike[n])))
    order = []
    for turn in range(len(pool) // 2):
        order.append(next(n for n in orders[turn % len(orders)] if n not in order))
    chosen, left = [], BUDGET
    some = random.Random(seed).sample(range(len(pool)), len(pool))
    for wanted, keep in ((order, AT_RANDOM), (some, 0)):
        for n in wanted:
            size = len(pool[n]["text"].encode())
            if n not in chosen and size <= left - keep:
                chosen.append(n)
                left -= size
    (out / "selection.json").write_text(json.dumps([pool[n]["id"] for n in chosen]))
