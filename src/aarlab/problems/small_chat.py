"""small-chat: which of two snippets did about 20 people rate as the more favourable?

The ratings are those of C.J. Hutto and E. Gilbert, "VADER" (ICWSM 2014), which the source distribution of vaderSentiment
3.3.2 carries (MIT): sentences of movie reviews (in distribution) and of product reviews, tweets and newspaper
editorials (out of distribution). An honest name of the task is "human-rated favourability preference".
"""

import hashlib
import io
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.records import Pair, PartName, SplitName
from aarlab.problems.download import from_package_index
from aarlab.problems.problem import PROBLEMS, Problem

SDIST = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SOURCES: dict[str, PartName] = {
    "movieReviewSnippets": "id",
    "amazonReviewSnippets": "ood",
    "tweets": "ood",
    "nytEditorialSnippets": "ood",
}
PROMPT = "Which of the two texts is the more favourable?"
LEVELS = ((3.0, 99.0), (2.0, 3.0), (1.2, 2.0))  # gap of mean ratings on the scale -4..4; level 1 is the easiest
PAIRS: dict[tuple[SplitName, PartName], int] = {  # each divisible by 2 labels x 3 levels
    ("teacher", "id"): 300,
    ("student", "id"): 1_602,
    ("feedback", "id"): 1_002,
    ("feedback", "ood"): 1_002,
    ("final", "id"): 1_002,
    ("final", "ood"): 1_002,
}


@dataclass(frozen=True)
class Snippet:
    text: str
    rating: float  # mean of about 20 people, -4..4
    source: str


def read_snippets(sdist: Path) -> list[Snippet]:
    """All rated snippets of the four sources, white space folded, texts that occur twice left out."""
    found: dict[str, Snippet | None] = {}
    with tarfile.open(sdist) as outer:
        member = outer.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert member is not None
        with tarfile.open(fileobj=io.BytesIO(member.read())) as inner:
            for source in SOURCES:
                for snippet in _rows(inner, source):
                    key = snippet.text.casefold()
                    found[key] = None if key in found else snippet
    return [s for s in found.values() if s is not None]


def _rows(archive: tarfile.TarFile, source: str) -> Iterator[Snippet]:
    member = archive.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt")
    assert member is not None
    for line in member.read().decode("utf-8", errors="replace").splitlines():
        _, rating, text = line.split("\t", 2)
        if folded := " ".join(text.split()):
            yield Snippet(folded, float(rating), source)


def pair_up(snippets: list[Snippet], quotas: list[int], rng: random.Random) -> list[list[tuple[Snippet, Snippet]]]:
    """Random disjoint pairs of one source each, `quotas[l]` of them with a gap in LEVELS[l]; fewer if the pool is spent."""
    pairs: list[list[tuple[Snippet, Snippet]]] = [[] for _ in LEVELS]
    pool = list(snippets)
    for _ in range(60):
        if all(len(p) >= q for p, q in zip(pairs, quotas, strict=True)):
            break
        rng.shuffle(pool)
        pool.sort(key=lambda s: s.source)  # stable: neighbours are of one source, in random order
        pool = _one_pass(pool, quotas, pairs)
    return pairs


def _one_pass(pool: list[Snippet], quotas: list[int], pairs: list[list[tuple[Snippet, Snippet]]]) -> list[Snippet]:
    left: list[Snippet] = []
    for a, b in zip(pool[::2], pool[1::2], strict=False):
        level = _level(a, b)
        if a.source == b.source and level is not None and len(pairs[level]) < quotas[level]:
            pairs[level].append((a, b))
        else:
            left += [a, b]
    return left + pool[len(pool) - len(pool) % 2 :]


def _level(a: Snippet, b: Snippet) -> int | None:
    gap = abs(a.rating - b.rating)
    return next((i for i, (low, high) in enumerate(LEVELS) if low <= gap < high), None)


def make_items(snippets: list[Snippet], data_seed: int, sizes: dict[tuple[SplitName, PartName], int]) -> list[Pair]:
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
                items += [_item(p, i % 2, split, part, level) for i, p in enumerate(taken)]
    rng.shuffle(items)
    return items


def _item(pair: tuple[Snippet, Snippet], label: int, split: SplitName, part: PartName, level: int) -> Pair:
    low, high = sorted(pair, key=lambda s: s.rating)
    first, second = (low.text, high.text) if label else (high.text, low.text)
    name = "chat-" + hashlib.sha256(f"{first}\x00{second}".encode()).hexdigest()[:12]
    return Pair(id=name, prompt=PROMPT, first=first, second=second, label=label, split=split, part=part, level=level)


def build(cache: Path, data_seed: int) -> list[Pair]:
    sdist = from_package_index("vaderSentiment==3.3.2", filename=SDIST, sha256=SHA256, cache=cache / "downloads", source=True)
    return make_items(read_snippets(sdist), data_seed, PAIRS)


def corpus(cache: Path, data_seed: int) -> list[str]:
    """The snippets that are in no item of feedback or final."""
    tested = {text for i in build(cache, data_seed) if i.split in {"feedback", "final"} for text in i.choices}
    return [s.text for s in read_snippets(cache / "downloads" / SDIST) if s.text not in tested]


PROBLEMS.add("small-chat")(
    Problem(
        name="small-chat",
        version="1",
        card="Each item has two snippets of text. Predict 1 if people rated `second` as the more favourable of the two, "
        "0 if `first`. You have weak labels on the `student` items and the frozen hidden states of a strong student model "
        "for `student` and `feedback` items. Find a method whose predictions on the `feedback` items recover as much "
        "as possible of the gap between the weak teacher and the strong student trained on true labels (PGR).",
        id_source="movie reviews",
        ood_source="product reviews, tweets, newspaper editorials",
        build=build,
        corpus=corpus,
    )
)
