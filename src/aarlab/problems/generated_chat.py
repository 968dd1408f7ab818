"""generated-chat: generated pairs in the form of small-chat, for tests and for trying a campaign
without a download.

Each snippet has neutral words and a few "goodK"/"badK" words; the better one has the larger sum.
Its results have no meaning.
"""

import random
from pathlib import Path

from aarlab.core.records import Pair
from aarlab.problems.problem import Problem
from aarlab.problems.rated_snippets import Snippet
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.small_chat_easy import make_items

SIZES = {
    ("teacher", "id"): 60,
    ("student", "id"): 300,
    ("feedback", "id"): 150,
    ("feedback", "ood"): 150,
    ("final", "id"): 150,
    ("final", "ood"): 150,
}
NEUTRAL = [
    "the",
    "a",
    "of",
    "story",
    "plot",
    "scene",
    "price",
    "size",
    "colour",
    "paper",
    "word",
    "line",
    "game",
    "box",
    "door",
]


def build(cache: Path, data_seed: int) -> list[Pair]:
    del cache
    rng = random.Random(data_seed)
    sources = ["movieReviewSnippets"] * 2600 + ["tweets"] * 1400
    return make_items(
        [_snippet(rng, source, i) for i, source in enumerate(sources)], data_seed, SIZES
    )


def _snippet(rng: random.Random, source: str, number: int) -> Snippet:
    values = [rng.choice((-1, 1)) * rng.randint(1, 9) for _ in range(rng.randint(1, 2))]
    words = [f"{'good' if v > 0 else 'bad'}{abs(v)}" for v in values] + rng.choices(NEUTRAL, k=6)
    rng.shuffle(words)
    return Snippet(f"{' '.join(words)} no{number}x", sum(values) / 4, source)


PROBLEMS.add("generated-chat")(
    Problem(
        name="generated-chat",
        version="1",
        card=(
            "A generated look-alike of small-chat that measures nothing real. Predict 1 if "
            "`second` has the larger sum."
        ),
        id_source="generated, source A",
        ood_source="generated, source B",
        build=build,
        corpus=lambda cache, data_seed: (),  # the double needs none
    )
)
