"""qwen-code: does this Python program solve its contest problem?

Programs that people sent in to contests, and the judge's verdict on each (CodeContests, Li et al.
2022). In distribution the problems are Codeforces', out of distribution AtCoder's: another judge,
other people, other statements.
"""

import ast
import random
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aarlab.core.hub import dataset
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.study.card import Built, Provenance, left_out, origin
from aarlab.problems.study.code_contests import (
    CODE_CONTESTS,
    RATINGS,
    Contest,
    Dropped,
    Part,
    contests,
)
from aarlab.problems.study.pairing import (
    DEALT,
    Match,
    Sizes,
    SourceAnswer,
    assemble,
    nearest,
    shortfall,
)

SIZES = Sizes(inside={"final": 642, "teacher": 448, "student": 4_083}, outside=641, most_each=3)
MOST_RATIO = 1.25  # of the lengths of a pair's programs
MOST_CHARACTERS, LEAST_CHARACTERS = 10_000, 20  # of a program
PROGRAMS = 40  # right ones and wrong ones of a problem that are paired, drawn at random


def pairs(contest: Contest, data_seed: int, dropped: Dropped) -> list[Match]:
    """Right and wrong programs of a problem, drawn by the seed and paired by length, nearest
    first."""
    rng = random.Random(f"{data_seed} {contest.name}")
    right, wrong = (_programs(found, rng, dropped) for found in (contest.right, contest.wrong))
    both = right.keys() & wrong.keys()
    dropped["programs that were taken and refused"] += len(both)
    rights, wrongs = (
        [SourceAnswer(contest.statement, text) for text in side if text not in both]
        for side in (right, wrong)
    )
    return [Match(r, w, contest.level) for r, w in nearest(rights, wrongs, MOST_RATIO)]


def _programs(found: Sequence[str], rng: random.Random, dropped: Dropped) -> dict[str, None]:
    """Up to PROGRAMS different programs that Python can read, of a sensible length."""
    kept: dict[str, None] = {}
    for program in rng.sample(found, len(found)):
        text = program.replace("\r\n", "\n").strip()
        if len(kept) == PROGRAMS:
            break
        if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS:
            dropped[
                f"programs of less than {LEAST_CHARACTERS} or more than {MOST_CHARACTERS} "
                "characters"
            ] += 1
        elif not readable(text):
            dropped["programs that are not Python 3"] += 1
        else:
            kept[text] = None
    return kept


def readable(program: str) -> bool:
    """Whether Python 3 can parse it; it is never run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in strings
        try:
            ast.parse(program)
        # MemoryError: too deeply nested for the parser
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def build(cache: Path, data_seed: int) -> Built:
    snapshot = dataset(CODE_CONTESTS, cache)
    dropped: Dropped = Counter()
    groups: dict[Part, dict[str, list[Match]]] = {"inside": {}, "outside": {}}  # by statement
    for contest in contests(snapshot, dropped):
        if any(contest.statement in known for known in groups.values()):
            dropped["problems that occur twice"] += 1
        else:
            groups[contest.part][contest.statement] = pairs(contest, data_seed, dropped)[
                : SIZES.most_each
            ]
    near, far = (groups[part].values() for part in ("inside", "outside"))
    dropped["problems without a right and a wrong program of about one length"] += sum(
        not g for g in (*near, *far)
    )
    items, found = assemble("code", near, far, SIZES, data_seed)
    provenance = Provenance(
        origins=(origin(CODE_CONTESTS, snapshot),),
        drawn=DRAWN,
        levels=LEVELS,
        balancing=BALANCING,
        left_out=left_out(found),
        dropped=dict(dropped),
        limits=(*LIMITS, *shortfall(items, SIZES)),
    )
    return Built.of(items, provenance)


DRAWN = (
    "Python 3 programs of the training set. Of each problem one pair of programs in the final "
    f"split, and in the others at most {SIZES.most_each}, fewer where fewer fill them, all in one "
    f"split. {DEALT}"
)
LEVELS = (
    f"In distribution by Codeforces' rating: below {RATINGS[0]}, below {RATINGS[1]}, below "
    f"{RATINGS[2]}. Out of distribution by AtCoder's kind of contest: Beginner, Regular, Grand."
)
BALANCING = (
    "Every problem comes with as many right as wrong programs, paired by length (ratio at most "
    f"{MOST_RATIO}). All were written by people for the same contest; the source does not name "
    "the authors."
)
LIMITS = (
    "The truth is the judge's verdict: a refused program may be right but too slow, a taken one "
    "wrong beyond its tests.",
    "Where a problem has several pairs (not in the final split), its right programs agree on "
    "every input and its wrong ones mostly do not: running them would reveal the labels. They "
    "are never run here.",
    "A person's refused and taken programs can both be there, and resemble each other.",
    "Statements with `<image>` (42 % of the source's) are left out: they have lost their pictures.",
    "The problems and many programs are public: a model's pretraining may have seen them.",
)

PROBLEMS.add("qwen-code")(
    Problem(
        name="qwen-code",
        version="1",
        card=(
            "Each item has a contest problem (`question`) and a Python 3 program that somebody "
            "sent in (`choice`). Predict 1 if the contest's judge took it, 0 if it refused it. "
            "You have weak labels on the `student` items. The problem is used for transfer only: "
            "methods that were found on another problem are confirmed on it, unseen."
        ),
        id_source=(
            "Codeforces problems of a rating below 2,000, people's programs and the judge's "
            "verdicts (CodeContests)"
        ),
        ood_source="AtCoder problems, people's programs and the judge's verdicts (CodeContests)",
        build=build,
        corpus=lambda cache, data_seed: (),
        transfer_only=True,
    )
)
