"""Snippets of text that about 20 people rated as favourable or unfavourable: what small-chat and
small-chat-easy are made of.

The ratings are those of C.J. Hutto and E. Gilbert, "VADER" (ICWSM 2014), which the source
distribution of vaderSentiment 3.3.2 carries (MIT): sentences of movie reviews (in distribution) and
of product reviews, tweets and newspaper editorials (out of distribution).
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.download import from_package_index
from aarlab.core.records import Pair, PartName, SplitName

SDIST = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SOURCES: dict[str, PartName] = {
    "movieReviewSnippets": "id",
    "amazonReviewSnippets": "ood",
    "tweets": "ood",
    "nytEditorialSnippets": "ood",
}
PROMPT = "Which of the two texts is the more favourable?"
# gap of mean ratings on the scale -4..4; level 1 is the easiest
LEVELS = ((3.0, 99.0), (2.0, 3.0), (1.2, 2.0))


@dataclass(frozen=True)
class Snippet:
    text: str
    rating: float  # mean of about 20 people, -4..4
    source: str


def read_rated(sdist: Path) -> list[Snippet]:
    """All rated snippets of the four sources, white space folded, texts that occur twice left
    out."""
    found: dict[str, Snippet | None] = {}
    with tarfile.open(sdist) as outer:
        member = outer.extractfile(
            "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        )
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


def fetch(cache: Path) -> list[Snippet]:
    """All rated snippets; the source distribution is downloaded at the first call.

    Raises:
        Transient: the package index could not be reached.
    """
    return read_rated(
        from_package_index(
            "vaderSentiment==3.3.2",
            filename=SDIST,
            sha256=SHA256,
            cache=cache / "downloads",
            source=True,
        )
    )


def level_of(a: Snippet, b: Snippet) -> int | None:
    """The index in LEVELS of a pair, or None if the two ratings are too close."""
    gap = abs(a.rating - b.rating)
    return next((i for i, (low, high) in enumerate(LEVELS) if low <= gap < high), None)


def pair_of(
    pair: tuple[Snippet, Snippet], label: int, split: SplitName, part: PartName, level: int
) -> Pair:
    """The item of two snippets whose label is `label`: 1 if `second` has the higher rating."""
    low, high = sorted(pair, key=lambda s: s.rating)
    first, second = (low.text, high.text) if label else (high.text, low.text)
    name = "chat-" + hashlib.sha256(f"{first}\x00{second}".encode()).hexdigest()[:12]
    return Pair(
        id=name,
        prompt=PROMPT,
        first=first,
        second=second,
        label=label,
        split=split,
        part=part,
        level=level,
    )


def untested(snippets: Sequence[Snippet], items: Sequence[Pair]) -> list[str]:
    """The texts that are in no item of feedback or final."""
    tested = {text for i in items if i.split in {"feedback", "final"} for text in i.choices}
    return [s.text for s in snippets if s.text not in tested]
