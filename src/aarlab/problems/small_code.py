"""small-code: does this short Python function do what its description says?

Descriptions and right functions stand in `code_catalogue`; other right functions are those in other
styles, wrong ones are functions of other descriptions (level 1) and mutants. The truth of every
label is execution, in a sandbox.
"""

import functools
import hashlib
import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, PartName, SplitName
from aarlab.problems.code_catalogue.bug_kinds import Description
from aarlab.problems.code_catalogue.catalogue import catalogue
from aarlab.problems.code_catalogue.matching import matched
from aarlab.problems.code_catalogue.mutations import mutants
from aarlab.problems.code_catalogue.styles import restyled
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS
from aarlab.sandbox.bubblewrap import Bubblewrap
from aarlab.sandbox.sandbox import MIB, Limits, Mount, SandboxSpec

SIZES: dict[tuple[SplitName, PartName], int] = {  # each divisible by 2 labels and in LEVEL_SHARES
    ("teacher", "id"): 300,
    ("student", "id"): 1_600,
    ("final", "id"): 1_600,
    ("final", "ood"): 1_600,
}
Share = SplitName | Literal["corpus"]
# of descriptions in distribution
SHARES: dict[Share, float] = {"corpus": 0.2, "teacher": 0.15, "student": 0.35, "final": 0.3}
# of the items; a bug of one line is hard to see for a small student
LEVEL_SHARES = {1: 0.6, 2: 0.2, 3: 0.2}
WORDINGS = ("Return {}.", "Write a function that returns {}.", "The function f should return {}.")
SHORT_LINES, MOST_LINES, MOST_CHARACTERS = 4, 9, 330  # the line of `def` counts
RIGHT, MUTANTS = 12, 3  # functions of each description and length, and mutants of each of them
OPTIONS = 25  # functions of other descriptions that may stand for a wrong one
LEAST_DIFFERENCE = 0.16  # share of the inputs on which a wrong function must differ
LIMIT_S = 0.05  # CPU time of one function on all inputs
CORPUS_TEXTS = 8_000
HASH_SEEDS = (1, 2)  # each function runs under both: what depends on the order of a set is seen
Length = Literal["short", "long"]
Outputs = list[str]


@dataclass
class Pool:
    """The functions of one description that execution has judged, with their outputs."""

    description: Description
    right: dict[Length, list[str]] = field(default_factory=lambda: {"short": [], "long": []})
    wrong: dict[Length, list[str]] = field(default_factory=lambda: {"short": [], "long": []})
    expected: Outputs = field(default_factory=list)


def execute(
    functions: Sequence[tuple[str, Description]], limit_s: float = LIMIT_S
) -> list[Outputs]:
    """The outputs of each function on the inputs of its description's kind, computed in a sandbox.

    Raises:
        Misconfigured: this machine cannot isolate, or the batch did not come to its end.
    """
    Bubblewrap.require()
    kinds = {d.kind.name: d.kind for _, d in functions}
    tasks = {
        "functions": [(source, d.kind.name) for source, d in functions],
        "inputs": {
            name: [repr(arguments) for arguments in kind.inputs()] for name, kind in kinds.items()
        },
        "limit_s": limit_s,
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tasks.json").write_text(json.dumps(tasks))
        script = Path(__file__).with_name("run_cases.py")
        mounts = (Mount(place, "/cases", writable=True), Mount(script, "/run_cases.py"))
        spec = SandboxSpec("small-code", mounts, workdir="/cases")
        with closing(Bubblewrap(spec)) as sandbox, ThreadPoolExecutor(len(HASH_SEEDS)) as threads:
            one, two = threads.map(functools.partial(_run, sandbox, place), HASH_SEEDS)
    return [
        [a if a == b else "error: not deterministic" for a, b in zip(*both, strict=True)]
        for both in zip(one, two, strict=True)
    ]


def _run(sandbox: Bubblewrap, place: Path, hash_seed: int) -> list[Outputs]:
    answers = f"answers{hash_seed}.json"
    argv = ["/usr/bin/env", f"PYTHONHASHSEED={hash_seed}", sys.executable, "-S", "-B"]
    done = sandbox.exec(
        [*argv, "/run_cases.py", "/cases/tasks.json", f"/cases/{answers}"],
        Limits(300, memory_bytes=2_048 * MIB),
    )
    if done.returncode:
        raise Misconfigured(
            f"The sandbox could not execute the functions of small-code: {done.output[-500:]} Run "
            "`aar doctor`."
        )
    return json.loads((place / answers).read_bytes())


def length(function: str) -> Length | None:
    """Whether a function is short or long; None if it is too long for an item."""
    lines = function.count("\n") + 1
    if lines > MOST_LINES or len(function) > MOST_CHARACTERS:
        return None
    return "short" if lines <= SHORT_LINES else "long"


def right_functions(description: Description, n: int, rng: random.Random) -> list[str]:
    """Up to `n` short and `n` long functions of a description, in many styles; all different."""
    found: dict[str, None] = {}
    counts: Counter[Length] = Counter()
    for _ in range(6 * n):
        function = restyled(rng.choice(description.functions), rng)
        size = length(function)
        if size and counts[size] < n and function not in found:
            found[function] = None
            counts[size] += 1
    return list(found)


def judged(descriptions: Sequence[Description], data_seed: int) -> list[Pool]:
    """For each description, right functions and mutants that execution has shown to be wrong."""
    jobs: list[tuple[str, Description]] = []
    # (description, function) of those that are written to be right
    meant: set[tuple[str, str]] = set()
    for description in descriptions:
        rng = random.Random(f"{data_seed} {description.text}")
        candidates = dict.fromkeys(right_functions(description, RIGHT, rng))
        meant |= {(description.text, function) for function in candidates}
        for function in list(candidates):
            candidates |= dict.fromkeys(mutants(function, rng, MUTANTS))
        jobs += [(description.functions[0], description), *((c, description) for c in candidates)]
    pools: dict[str, Pool] = {}
    for (function, description), outputs in zip(jobs, execute(jobs), strict=True):
        pool = pools.get(description.text)
        if pool is None:
            # the reference comes first
            pools[description.text] = Pool(description, expected=outputs)
        else:
            _sort_in(pool, function, outputs, meant_right=(description.text, function) in meant)
    return list(pools.values())


def _sort_in(pool: Pool, function: str, outputs: Outputs, *, meant_right: bool) -> None:
    """Keep a function that is right or really wrong. A mutant that agrees on these inputs may
    differ on others: it is neither, like one that hardly ever differs, or mostly fails."""
    size = length(function)
    if size is None:
        return
    if outputs == pool.expected:
        if meant_right and function not in pool.right[size]:
            pool.right[size].append(function)
    elif is_wrong(outputs, pool.expected):
        pool.wrong[size].append(function)


def is_wrong(outputs: Outputs, expected: Outputs) -> bool:
    """Whether a function differs on a good share of the inputs, though it ends on all and raises
    nothing on most."""
    if "error: timeout" in outputs or "error: not deterministic" in outputs:
        return False
    failed = sum(o.startswith("error: ") for o in outputs)
    return failed < len(outputs) / 2 and sum(
        a != b for a, b in zip(outputs, expected, strict=True)
    ) >= LEAST_DIFFERENCE * len(expected)


def shares(data_seed: int) -> dict[tuple[Share, PartName], list[Description]]:
    """Which descriptions belong to which split: those in distribution are drawn, all others are
    final's."""
    inside = [d for d in catalogue() if d.kind.part == "id"]
    random.Random(data_seed).shuffle(inside)
    cells: dict[tuple[Share, PartName], list[Description]] = {}
    start = 0.0
    for split, share in SHARES.items():
        cells[split, "id"] = inside[
            round(start * len(inside)) : round((start + share) * len(inside))
        ]
        start += share
    cells["final", "ood"] = [d for d in catalogue() if d.kind.part == "ood"]
    return cells


def _wrong_options(pools: Sequence[Pool], level: int, rng: random.Random) -> list[list[str]]:
    """For each description its wrong functions of that level."""
    if level > 1:
        return [p.wrong["short" if level == 2 else "long"] for p in pools]
    others: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools:
        others[pool.description.kind.name].append(pool)
    options = []
    for pool in pools:
        apart = [
            p for p in others[pool.description.kind.name] if is_wrong(p.expected, pool.expected)
        ]
        apart = [p for p in apart if p.description.family != pool.description.family] or apart
        functions = sorted({f for p in apart for f in p.right["short"]})
        options.append(rng.sample(functions, min(OPTIONS, len(functions))))
    return options


def draw_slots(
    right: Sequence[Sequence[str]], options: Sequence[Sequence[str]], n: int, rng: random.Random
) -> list[tuple[int, str]]:
    """`n` right functions with the place of their description; descriptions take turns as long as
    they have functions."""
    left = [rng.sample(r, min(len(r), len(o))) for r, o in zip(right, options, strict=True)]
    slots: list[tuple[int, str]] = []
    turns = list(range(len(left)))
    while len(slots) < n:
        rng.shuffle(turns)
        turns = [at for at in turns if left[at]]
        if not turns:
            raise Misconfigured(
                f"The catalogue yields {len(slots)} right functions where {n} are needed; add "
                "descriptions."
            )
        slots += [(at, left[at].pop()) for at in turns]
    return slots[:n]


def _cell(
    pools: Sequence[Pool], split: SplitName, part: PartName, n: int, rng: random.Random
) -> list[Choice]:
    """The items of one split and part. Each slot is a right and a wrong function with the same
    question."""
    items: list[Choice] = []
    used: set[str] = set()
    for level, share in LEVEL_SHARES.items():
        size: Length = "long" if level == 3 else "short"
        options = _wrong_options(pools, level, rng)
        slots = draw_slots(
            [[f for f in p.right[size] if f not in used] for p in pools],
            options,
            round(share * n) // 2,
            rng,
        )
        used |= {function for _, function in slots}
        wrong = matched(
            [f for _, f in slots], [options[at] for at, _ in slots], [at for at, _ in slots]
        )
        for (at, right), other in zip(slots, wrong, strict=True):
            question = rng.choice(WORDINGS).format(pools[at].description.text)
            for label, choice in ((1, right), (0, other)):
                name = "code-" + hashlib.sha256((question + choice).encode()).hexdigest()[:12]
                fields = {
                    "label": label,
                    "split": split,
                    "part": part,
                    "level": level,
                    "group": pools[at].description.text,
                }
                items.append(Choice(id=name, question=question, choice=choice, **fields))
    return items


def build(cache: Path, data_seed: int) -> list[Choice]:
    del cache
    cells = shares(data_seed)
    pools = {p.description.text: p for p in judged(catalogue(), data_seed)}
    items: list[Choice] = []
    for (split, part), size in SIZES.items():
        rng = random.Random(f"{data_seed} {split} {part}")
        items += _cell([pools[d.text] for d in cells[split, part]], split, part, size, rng)
    random.Random(data_seed).shuffle(items)
    return items


def corpus(data_seed: int, texts: int) -> list[str]:
    """Right functions of descriptions that are in no split, each under every wording."""
    rng = random.Random(f"corpus {data_seed}")
    descriptions = shares(data_seed)["corpus", "id"]
    jobs = [(d.functions[0], d) for d in descriptions]
    each = texts // len(descriptions) // len(WORDINGS)
    jobs += [(f, d) for d in descriptions for f in right_functions(d, each, rng)]
    outputs = execute(jobs)
    expected = {d.text: o for (_, d), o in zip(jobs[: len(descriptions)], outputs, strict=False)}
    right = [(d, f) for (f, d), o in zip(jobs, outputs, strict=True) if o == expected[d.text]][
        len(descriptions) :
    ]
    found = [f"{wording.format(d.text)}\n{f}" for d, f in right for wording in WORDINGS]
    rng.shuffle(found)
    if len(found) < texts:
        raise Misconfigured(
            f"The catalogue yields {len(found)} texts where {texts} are wanted; ask for fewer."
        )
    return found[:texts]


PROBLEMS.add("small-code")(
    Problem(
        name="small-code",
        version="1",
        card=(
            "Each item has a one-sentence description of a function (`question`) and a short "
            "Python function (`choice`). Predict 1 if the function does what the description "
            "says, 0 if it does not: it is then a right function for another description, or has "
            "a one-line bug. The truth was found by execution; descriptions and functions are "
            "generated from a catalogue, not collected. You have weak labels on the `student` "
            "items and the frozen hidden states of a strong student model. The problem is used "
            "for transfer only: methods that were found on another problem are confirmed on it, "
            "unseen."
        ),
        id_source="generated Python functions over integers and lists of integers",
        ood_source="generated Python functions over strings, lists of strings and dicts",
        build=build,
        corpus=lambda cache, data_seed: corpus(data_seed, CORPUS_TEXTS),
        rebuildable=True,
        transfer_only=True,
    )
)
