"""small-chat-easy: the task of small-chat on pairs that are drawn at random.

The student's zero-shot judgement is right on four of five of its pairs, so elicitation without any
weak label comes close to the ceiling, and little is left to find. It was `small-chat` in version 1.
"""

import random
from pathlib import Path

from aarlab.core.records import Pair, PartName, SplitName
from aarlab.problems.problem import Problem
from aarlab.problems.rated_snippets import (
    LEVELS,
    SOURCES,
    Snippet,
    fetch,
    level_of,
    pair_of,
    untested,
)
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.small_chat import CARD, ID_SOURCE, OOD_SOURCE

PAIRS: dict[tuple[SplitName, PartName], int] = {  # each divisible by 2 labels x 3 levels
    ("teacher", "id"): 300,
    ("student", "id"): 1_602,
    ("feedback", "id"): 1_002,
    ("feedback", "ood"): 1_002,
    ("final", "id"): 1_002,
    ("final", "ood"): 1_002,
}


def pair_up(
    snippets: list[Snippet], quotas: list[int], rng: random.Random
) -> list[list[tuple[Snippet, Snippet]]]:
    """Random disjoint pairs of one source each, `quotas[l]` of them with a gap in LEVELS[l]; fewer
    if the pool is spent."""
    pairs: list[list[tuple[Snippet, Snippet]]] = [[] for _ in LEVELS]
    pool = list(snippets)
    for _ in range(60):
        if all(len(p) >= q for p, q in zip(pairs, quotas, strict=True)):
            break
        rng.shuffle(pool)
        pool.sort(key=lambda s: s.source)  # stable: neighbours are of one source, in random order
        pool = _one_pass(pool, quotas, pairs)
    return pairs


def _one_pass(
    pool: list[Snippet], quotas: list[int], pairs: list[list[tuple[Snippet, Snippet]]]
) -> list[Snippet]:
    left: list[Snippet] = []
    for a, b in zip(pool[::2], pool[1::2], strict=False):
        level = level_of(a, b)
        if a.source == b.source and level is not None and len(pairs[level]) < quotas[level]:
            pairs[level].append((a, b))
        else:
            left += [a, b]
    return left + pool[len(pool) - len(pool) % 2 :]


def make_items(
    snippets: list[Snippet], data_seed: int, sizes: dict[tuple[SplitName, PartName], int]
) -> list[Pair]:
    """Items of all splits: levels of equal size, labels balanced in every split x part x level."""
    rng = random.Random(data_seed)
    items: list[Pair] = []
    for part in ("id", "ood"):
        wanted = [(split, n) for (split, p), n in sizes.items() if p == part]
        quota = sum(n for _, n in wanted) // len(LEVELS)
        pool = [s for s in snippets if SOURCES[s.source] == part]
        for level, pairs in enumerate(pair_up(pool, [quota] * len(LEVELS), rng), start=1):
            rng.shuffle(pairs)
            for split, n in wanted:
                share = n // len(LEVELS) // 2 * 2
                taken, pairs = pairs[:share], pairs[share:]
                taken = taken[: len(taken) // 2 * 2]
                items += [pair_of(p, i % 2, split, part, level) for i, p in enumerate(taken)]
    rng.shuffle(items)
    return items


def build(cache: Path, data_seed: int) -> list[Pair]:
    """The items of a data seed."""
    return make_items(fetch(cache), data_seed, PAIRS)


def corpus(cache: Path, data_seed: int) -> list[str]:
    """The snippets that are in no item of feedback or final."""
    snippets = fetch(cache)
    return untested(snippets, make_items(snippets, data_seed, PAIRS))


PROBLEMS.add("small-chat-easy")(
    Problem(
        name="small-chat-easy",
        version="1",
        card=CARD,
        id_source=ID_SOURCE,
        ood_source=OOD_SOURCE,
        build=build,
        corpus=corpus,
    )
)
