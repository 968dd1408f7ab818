"""qwen-chat: which of two answers did people prefer?

In distribution are people's graded preferences of HelpSteer2 (Wang et al. 2024, arXiv 2410.01257)
and HelpSteer3 (Wang et al. 2025, arXiv 2505.11475): teacher and student learn from their train
splits, in the proportion in which their validation splits are tested. Out of distribution are two
benchmarks of reward models, whose better answer is better by construction: the Focus subset of
RewardBench 2 (Malik et al. 2025, arXiv 2506.01937) and the chat domain of RM-Bench (Liu et al.
2024, arXiv 2410.16184).
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aarlab.core.errors import Misconfigured
from aarlab.core.hub import Source, dataset
from aarlab.core.records import PartName, SplitName
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.study.balance import UnorderedPreference, ordered
from aarlab.problems.study.card import Built, Provenance, left_out, origin
from aarlab.problems.study.contamination import Kinds, words
from aarlab.problems.study.fill import Filled, WantedItems, fill
from aarlab.problems.study.rows import SourceRow, read_rows

HELPSTEER2 = Source(
    "nvidia/HelpSteer2",
    "990b2711a36180dd19d9c94b8627844866f8982a",
    "CC-BY-4.0",
    ("preference/preference.jsonl.gz",),
)
HELPSTEER3 = Source(
    "nvidia/HelpSteer3",
    "main",
    "CC-BY-4.0",
    ("preference/train.jsonl.gz", "preference/validation.jsonl.gz"),
)
FOCUS = Source("allenai/reward-bench-2", "main", "ODC-BY-1.0", ("data/test-*.parquet",))
RM_BENCH = Source("THU-KEG/RM-Bench", "main", "ODC-BY-1.0", ("total_dataset.json",))
SOURCES = (HELPSTEER2, HELPSTEER3, FOCUS, RM_BENCH)

Groups = list[
    list[UnorderedPreference]
]  # drafts of one prompt stand together: a prompt is of one split


@dataclass(frozen=True)
class ChatSizes:
    """Pairs; the study's by default. `final` wants as many as `feedback`, of other prompts."""

    teacher: int = 2_245
    student: int = 6_826
    helpsteer2: int = 363
    helpsteer3: int = 500
    focus: int = 200
    rm_bench: int = 200

    def shares(self, split: int) -> tuple[int, int]:
        """Of a training split, how many are from HelpSteer2 and 3: as they are tested."""
        first = round(split * self.helpsteer2 / (self.helpsteer2 + self.helpsteer3))
        return first, split - first


class Pools:
    """The candidates of every source, by its own split, and why rows are none."""

    def __init__(self, cache: Path, rng: random.Random) -> None:
        self.dropped: Counter[str] = Counter()
        self.snapshots = {source: dataset(source, cache) for source in SOURCES}
        drafts: dict[str, list[UnorderedPreference]] = {}
        for read in (self._helpsteer2, self._helpsteer3, self._focus, lambda: self._rm_bench(rng)):
            for draft in read():
                drafts.setdefault(draft.source, []).append(draft)
        self.groups = {
            source: alternating(_grouped(found, rng)) for source, found in drafts.items()
        }

    def take(self, source: str, n: float) -> list[UnorderedPreference]:
        """At least `n` drafts (all, if there are fewer) in whole groups, which are gone then."""
        groups, taken = self.groups.get(source, []), []
        while groups and len(taken) < n:
            taken += groups.pop()
        return taken

    def tested(
        self, source: str, n: int
    ) -> tuple[list[UnorderedPreference], list[UnorderedPreference]]:
        """Candidates of feedback and of final, `n` pairs each, alike in what length predicts:
        from as many as both need; what is beyond that comes last in final."""
        drawn: Groups = []
        left = self.groups.pop(source, [])
        while left and sum(map(len, drawn)) < 2 * SPARE * n:
            drawn.append(left.pop())
        of_final, of_feedback = (
            [group for k, group in enumerate(drawn) if k % 4 in turns] for turns in ((1, 2), (0, 3))
        )
        drawn = of_final + of_feedback
        feedback: list[UnorderedPreference] = []
        while drawn and len(feedback) < SPARE * n:
            feedback += drawn.pop()
        return feedback, [draft for group in (*drawn, *reversed(left)) for draft in group]

    def _helpsteer2(self) -> Iterator[UnorderedPreference]:
        for row in read_rows(self.snapshots[HELPSTEER2], "preference.jsonl.gz"):
            split = row.text("split")
            if split not in {"train", "val"}:
                raise row.wrong(f"'split' is {split!r}, neither train nor val")
            answers = row.text("response_1", blank=True), row.text("response_2", blank=True)
            strength = row.whole("preference_strength", -3, 3)
            yield from self._rated(
                f"HelpSteer2 {split}",
                spelled_out(row.text("prompt", blank=True)),
                answers,
                strength,
            )

    def _helpsteer3(self) -> Iterator[UnorderedPreference]:
        for split, path in (("train", "train.jsonl.gz"), ("val", "validation.jsonl.gz")):
            for row in read_rows(self.snapshots[HELPSTEER3], path):
                answers = row.text("response1", blank=True), row.text("response2", blank=True)
                strength = row.whole("overall_preference", -3, 3)
                yield from self._rated(f"HelpSteer3 {split}", _conversation(row), answers, strength)

    def _rated(
        self, source: str, prompt: str, answers: tuple[str, str], strength: int
    ) -> Iterator[UnorderedPreference]:
        """A preference of people: negative for the first answer, 3 at the clearest, which is level
        1."""
        if strength == 0:
            self.dropped["tie"] += 1
            return
        worse, better = answers if strength > 0 else answers[::-1]
        yield from self._usable(
            UnorderedPreference(prompt, better, worse, "id", 4 - abs(strength), source)
        )

    def _focus(self) -> Iterator[UnorderedPreference]:
        ahead = 0  # pairs whose better answer is the shorter one, less the others
        for row in read_rows(self.snapshots[FOCUS], ".parquet"):
            if row.text("subset") == "Focus":
                better, rejected = row.texts("chosen")[0], row.texts("rejected")
                fits = [w for w in rejected if (len(better) < len(w)) == (ahead <= 0)]
                worse = (fits or rejected)[0]
                ahead += 1 if len(better) < len(worse) else -1
                yield from self._usable(
                    UnorderedPreference(
                        row.text("prompt"), better, worse, "ood", 2, "RewardBench 2 Focus"
                    )
                )

    def _rm_bench(self, rng: random.Random) -> Iterator[UnorderedPreference]:
        """Of each prompt's 3 x 3 pairs of styles (concise, detailed, with markdown) three that
        share no answer."""
        for row in read_rows(self.snapshots[RM_BENCH], "total_dataset.json"):
            if row.text("domain").startswith("chat"):
                chosen, rejected = row.texts("chosen", 3), row.texts("rejected", 3)
                for better, worse in enumerate(rng.sample(range(3), 3)):
                    level = 2 if better == worse else 1 if better > worse else 3
                    draft = UnorderedPreference(
                        row.text("prompt"),
                        chosen[better],
                        rejected[worse],
                        "ood",
                        level,
                        "RM-Bench chat",
                    )
                    yield from self._usable(draft)

    def _usable(self, draft: UnorderedPreference) -> Iterator[UnorderedPreference]:
        if not (draft.prompt and draft.better and draft.worse):
            self.dropped["blank prompt or answer"] += 1
        elif words(draft.better) == words(draft.worse):
            self.dropped["both answers alike"] += 1
        else:
            yield draft


def spelled_out(prompt: str) -> str:
    """A conversation of HelpSteer2, whose turns after the first are marked `<extra_id_1>Assistant`
    and `<extra_id_1>User`."""
    turns = re.split(r"\s*<extra_id_1>(User|Assistant)\n", prompt)
    if len(turns) == 1:
        return prompt
    said = zip(("User", *turns[1::2]), turns[::2], strict=True)
    return "\n\n".join(f"{who}: {text.strip()}" for who, text in said)


def _conversation(row: SourceRow) -> str:
    """The context of HelpSteer3, written as HelpSteer2's; one turn stands alone."""
    turns = row.fields.get("context")
    if not isinstance(turns, list) or not turns or not all(isinstance(t, dict) for t in turns):
        raise row.wrong(f"'context' is {turns!r:.60}, not a list of turns")
    said = [
        (SourceRow(row.where, t).text("role"), SourceRow(row.where, t).text("content", blank=True))
        for t in turns
    ]
    return (
        said[0][1]
        if len(said) == 1
        else "\n\n".join(f"{who.capitalize()}: {text}" for who, text in said)
    )


def _grouped(drafts: Sequence[UnorderedPreference], rng: random.Random) -> Groups:
    groups: dict[tuple[str, ...], list[UnorderedPreference]] = {}
    for draft in drafts:
        groups.setdefault(tuple(words(draft.prompt)), []).append(draft)
    found = list(groups.values())
    rng.shuffle(found)
    return found


def alternating(groups: Groups) -> Groups:
    """The groups in an order in which, from the end, those whose better answers are the shorter
    ones and the others take turns, so that length predicts little where a source has enough of
    both; what is left over comes first."""
    shorter, longer = (
        [g for g in groups if (sum(len(d.better) - len(d.worse) for d in g) < 0) == wanted]
        for wanted in (True, False)
    )
    both = min(len(shorter), len(longer))
    turns = [g for pair in zip(shorter[:both], longer[:both], strict=True) for g in pair]
    return [*shorter[both:], *longer[both:], *turns]


# candidates for one wanted item of feedback; what the benchmarks have beyond that is for final
SPARE = 1.05


def wanted(pools: Pools, sizes: ChatSizes) -> list[WantedItems[UnorderedPreference]]:
    """Who gets which candidates. HelpSteer2's validation split is hardly larger than feedback:
    held-out prompts of its train split make up what final lacks."""
    tested = {
        "HelpSteer2 val": sizes.helpsteer2,
        "HelpSteer3 val": sizes.helpsteer3,
        "RewardBench 2 Focus": sizes.focus,
        "RM-Bench chat": sizes.rm_bench,
    }
    both = {s: pools.tested(s, n) for s, n in tested.items()}
    feedback = [
        WantedItems[UnorderedPreference]("feedback", s, n, both[s][0]) for s, n in tested.items()
    ]
    final = [WantedItems[UnorderedPreference]("final", s, n, both[s][1]) for s, n in tested.items()]
    lacking = max(0, sizes.helpsteer2 - len(final[0].candidates))
    final[0] = replace(final[0], n=sizes.helpsteer2 - lacking)
    held_out = WantedItems[UnorderedPreference](
        "final", "HelpSteer2 train", lacking, pools.take("HelpSteer2 train", SPARE * lacking)
    )
    training: list[WantedItems[UnorderedPreference]] = []
    splits: Mapping[SplitName, int] = {"teacher": sizes.teacher, "student": sizes.student}
    for split, n in splits.items():
        for source, share in zip(
            ("HelpSteer2 train", "HelpSteer3 train"), sizes.shares(n), strict=True
        ):
            most = 1.25 * share if split == "teacher" else math.inf
            training.append(WantedItems(split, source, share, pools.take(source, most)))
    return [*final, held_out, *feedback, *training]


def _read(draft: UnorderedPreference) -> Kinds:
    return {"question": [draft.prompt], "answer": [draft.better, draft.worse]}


def assemble(cache: Path, data_seed: int, sizes: ChatSizes = ChatSizes()) -> Built:
    """All pairs, drawn by the data seed, with where they are from.

    Raises:
        Transient, Misconfigured: see `hub.snapshot` and `rows`; or there is nothing for a split in
            or out of distribution.
    """
    rng = random.Random(f"qwen-chat {data_seed}")
    pools = Pools(cache, rng)
    filled = fill(wanted(pools, sizes), _read, lambda draft: (draft.better, draft.worse))
    items = ordered(((s, d) for s, found in filled.items.items() for d in found), rng, "chat")
    _refuse_empty({(i.split, i.part) for i in items})
    return Built.of(items, _provenance(pools, filled))


def _refuse_empty(there: set[tuple[SplitName, PartName]]) -> None:
    needed = {
        ("teacher", "id"),
        ("student", "id"),
        *((s, p) for s in ("feedback", "final") for p in ("id", "ood")),
    }
    if gaps := sorted(needed - there):
        raise Misconfigured(
            f"The sources have no pairs for {gaps}. Are the files cut off? Download them again.",
            gaps=gaps,
        )


def _provenance(pools: Pools, filled: Filled[UnorderedPreference]) -> Provenance:
    fewer = [f"{n} of {source} for {split}" for (split, source), n in filled.missing.items()]
    counts = Counter(
        (split, draft.source) for split, found in filled.items.items() for draft in found
    )
    drawn = "; ".join(f"{split}: {n} of {source}" for (split, source), n in counts.items())
    return Provenance(
        origins=tuple(origin(source, snapshot) for source, snapshot in pools.snapshots.items()),
        drawn=f"Drawn by the data seed, before labels were balanced: {drawn}.",
        levels=LEVELS,
        balancing=BALANCING,
        left_out=left_out(filled.findings),
        dropped=dict(pools.dropped),
        limits=(
            *LIMITS,
            *([f"The sources did not suffice; missing are {', '.join(fewer)}."] if fewer else []),
        ),
    )


LEVELS = (
    "HelpSteer's strength of preference: 1 much better, 2 better, 3 slightly better. RM-Bench's "
    "three styles (concise, detailed, with markdown): 1 the better answer is the more elaborate, "
    "2 both are alike, 3 the worse one is. RewardBench 2, which grades nothing: 2."
)
BALANCING = (
    "The better answer stands second in exactly half of each split, part and level, by a draw; "
    "of an odd number one is left out. Strength, level, part and source are not published with "
    "an item."
)
LIMITS = (
    "The data are public: a model or a person with access to the sources can look the labels up. "
    "Researchers get no network.",
    "HelpSteer's test pairs are in distribution, HelpSteer3's too: students learn from its train "
    "split, all domains and languages.",
    "HelpSteer2's validation split hardly suffices for feedback; the rest of final is of held-out "
    "prompts of its train split.",
    "RM-Bench's chat domain has few prompts: up to three pairs of one prompt, all of one split, "
    "are not independent. It yields 153 to 169 of the 200 wanted pairs for `final` (styles that "
    "differ in Markdown only, alike prompts), so that about 1,215 to 1,230 of 1,263 are expected.",
    "Lengths are matched where a source has enough pairs of both kinds: as many whose better "
    "answer is the shorter one. HelpSteer2's validation split, which is needed whole, "
    "has not.",
    "Of RewardBench 2's three worse answers one is taken, since answers may occur once: an "
    "accuracy here is not that benchmark's score.",
    "Every data seed draws from the same rows: what is feedback under one seed can be final under "
    "another.",
    "Ties are left out, so the rest is easier than what people were asked.",
    "Near duplicates in other words, or in translation, are not found.",
)


def build(cache: Path, data_seed: int) -> Built:
    return assemble(cache, data_seed)


PROBLEMS.add("qwen-chat")(
    Problem(
        name="qwen-chat",
        version="2",  # 1: lengths were not matched
        card=(
            "Each item has a prompt (or a conversation) and two answers. Predict 1 if `second` "
            "is the better answer, 0 if `first`: the one that people preferred or, out of "
            "distribution, the one that a benchmark holds to be better. You have weak labels on "
            "the `student` items and a strong student model. Find a method whose predictions on "
            "`feedback` items recover as much as possible of the gap between the weak teacher "
            "and the strong student trained on true labels (PGR)."
        ),
        id_source="HelpSteer2 and HelpSteer3 (people's preferences)",
        ood_source="RewardBench 2 (Focus), RM-Bench (chat)",
        build=build,
        corpus=lambda cache, data_seed: (),
        # another data seed draws from the same rows: its final split would hold what was feedback
        fixed=True,
    )
)
