"""small-math: is the worked solution of this word problem right?

Every item is generated: a word problem of one of `math_situations`, and a solution of two or three
short equations. In half of the solutions exactly one number is wrong, and is carried into the later
equations and the answer: a result that is miscalculated, or an operand that is misread, so that it
is neither in the question nor a result before. A slip keeps the number of digits of every number
and what is typical of its operation, so that no number looks wrong by itself: the error is found
only by doing the sum, or by looking the number up.
"""

import hashlib
import operator
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from aarlab.core.records import Choice, PartName, SplitName
from aarlab.problems.math_situations import CONSTANTS, RANGES, SITUATIONS, WORDS
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS

SIZES: dict[tuple[SplitName, PartName], int] = {  # each divisible by 2 labels x 3 levels
    ("teacher", "id"): 300,
    ("student", "id"): 1_602,
    ("final", "id"): 1_602,
    ("final", "ood"): 1_602,
}
LEVELS = (1, 2, 3)
Label = Literal[0, 1]
LABELS: tuple[Label, Label] = (0, 1)
CORPUS_TEXTS = 10_000


class Equation(NamedTuple):
    left: int
    operation: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operation} {self.right} = {self.result}."


Solution = list[Equation]
# the name of a situation and its numbers: what makes two word problems the same
Key = tuple[str, tuple[int, ...]]


class WordProblem(NamedTuple):
    key: Key
    question: str
    right: Solution
    wrong: Solution


def _divide(left: int, right: int) -> int:
    """The exact quotient; 0, which no solution may contain, if there is none."""
    return 0 if right == 0 or left % right else left // right


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
}


class Slip(NamedTuple):
    """One number off by `size`: the left (0) or right (1) operand of step `step`, or its result
    (2)."""

    step: int
    place: int
    size: int


NO_SLIP = Slip(-1, 0, 0)


def solve(steps: tuple[str, ...], numbers: dict[str, int], slip: Slip = NO_SLIP) -> Solution:
    """The equations of all steps, with at most one slip, from which later steps go on."""
    known = dict(numbers)
    solution: Solution = []
    for i, step in enumerate(steps):
        left, operation, right = step.split()
        off = [slip.size if (i, place) == slip[:2] else 0 for place in range(3)]
        a, b = (
            int(term) if term.isdigit() else known[term] + extra
            for term, extra in zip((left, right), off, strict=False)
        )
        known["xyz"[i]] = OPERATIONS[operation](a, b) + off[2]
        solution.append(Equation(a, operation, b, known["xyz"[i]]))
    return solution


def slips(right: Solution, step: int, place: int, rng: random.Random) -> list[Slip]:
    """Plausible errors of one number, in random order: a digit wrong, a carry lost, a neighbour in
    the times table.

    Those of a result before a division are multiples of the divisor, so that it stays exact.
    """
    left, operation, factor, _ = right[step]
    product_slip = operation == "*" and place == 2
    sizes = (left, factor, 10, 20, 100) if product_slip else (1, 2, rng.randint(3, 9), 10, 20, 100)
    divisor = next((e.right for e in right[step + (place == 2) :] if e.operation == "/"), 1)
    found = [Slip(step, place, sign * size * divisor) for size in sizes for sign in (-1, 1)]
    rng.shuffle(found)
    return found


def draw(part: PartName, name: str, level: int, rng: random.Random) -> WordProblem:
    """A word problem with its right solution and a wrong one whose numbers are positive and have as
    many digits."""
    situation = SITUATIONS[part][name]
    kinds = situation.numbers.split()
    while True:
        step, place = rng.randrange(len(situation.steps)), rng.randrange(3)
        numbers = {
            letter: rng.choice(RANGES[kind][level - 1])
            for letter, kind in zip("abcd", kinds, strict=False)
        }
        right = solve(situation.steps, numbers)
        if min(e.result for e in right) < 2 or len({*numbers.values()}) < len(numbers):
            continue  # too small, not exact, or two numbers alike
        known = {*numbers.values(), *CONSTANTS}
        attempts = (
            (slip, solve(situation.steps, numbers, slip)) for slip in slips(right, step, place, rng)
        )
        if wrong := next((w for slip, w in attempts if _plausible(w, right, slip, known)), None):
            words = {pool: rng.choice(options) for pool, options in WORDS.items()}
            question = rng.choice(situation.phrasings).format(**numbers, **words)
            return WordProblem((name, tuple(numbers.values())), question, right, wrong)


def _plausible(wrong: Solution, right: Solution, slip: Slip, known: set[int]) -> bool:
    """Every number as long as the right one and positive; a misread operand is not `known`, nor a
    result before."""
    if wrong == right:  # a constant cannot be misread
        return False
    operands = wrong[slip.step].left, wrong[slip.step].right
    if slip.place < 2 and operands[slip.place] in known | {e.result for e in right[: slip.step]}:
        return False
    return _lengths(wrong) == _lengths(right)


def _lengths(solution: Solution) -> list[int]:
    """The number of digits of every number, 0 for one that is not positive."""
    return [len(str(n)) if n > 0 else 0 for e in solution for n in (e.left, e.right, e.result)]


def _write(solution: Solution) -> str:
    return " ".join([*map(str, solution), f"The answer is {solution[-1].result}."])


def _draw_items(data_seed: int) -> Iterator[tuple[Key, Choice]]:
    """All items in order, no two of the same key; situations take turns, alike on all levels and
    under both labels."""
    rng = random.Random(data_seed)
    seen: set[Key] = set()
    for (split, part), n in SIZES.items():
        names = list(SITUATIONS[part])
        for turn, level, label in product(range(n // 6), LEVELS, LABELS):
            problem = draw(part, names[turn % len(names)], level, rng)
            while problem.key in seen:
                problem = draw(part, names[turn % len(names)], level, rng)
            seen.add(problem.key)
            yield problem.key, _item(problem, label, split, part, level)


def _item(
    problem: WordProblem, label: Label, split: SplitName, part: PartName, level: int
) -> Choice:
    choice = _write(problem.right if label else problem.wrong)
    name = "math-" + hashlib.sha256(f"{problem.question}\x00{choice}".encode()).hexdigest()[:12]
    return Choice(
        id=name,
        question=problem.question,
        choice=choice,
        label=label,
        split=split,
        part=part,
        level=level,
    )


def build(cache: Path, data_seed: int) -> list[Choice]:
    del cache
    items = [item for _, item in _draw_items(data_seed)]
    random.Random(data_seed).shuffle(items)
    return items


def corpus(data_seed: int, texts: int) -> list[str]:
    """Distinct right solutions in distribution, none of a problem (wording aside) that is an item
    of this seed."""
    rng = random.Random(f"corpus {data_seed}")
    items = {key for key, _ in _draw_items(data_seed)}
    found: dict[str, None] = {}
    while len(found) < texts:
        problem = draw("id", rng.choice(list(SITUATIONS["id"])), rng.choice(LEVELS), rng)
        if problem.key not in items:
            found[f"{problem.question}\n{_write(problem.right)}"] = None
    return list(found)


PROBLEMS.add("small-math")(
    Problem(
        name="small-math",
        version="1",
        card=(
            "Each item has a word problem (`question`) and a worked solution (`choice`). Predict "
            "1 if the solution is right, 0 if one of its numbers is miscalculated or misread "
            "(the error is then carried into the answer). The items are generated. You have weak "
            "labels on the `student` items and the frozen states of a strong student model. The "
            "problem is used for transfer only: methods that were found on another problem are "
            "confirmed on it, unseen."
        ),
        id_source="generated word problems: " + ", ".join(SITUATIONS["id"]),
        ood_source="generated word problems: " + ", ".join(SITUATIONS["ood"]),
        build=build,
        example=(
            "A box holds 12 pens. Tom buys 3 boxes and gives 7 pens away. How many pens has he "
            "left?\n"
            "3 * 12 = 36. 36 - 7 = 29. The answer is 29.\n\n"
        ),
        corpus=lambda cache, data_seed: corpus(data_seed, CORPUS_TEXTS),
        rebuildable=True,
        transfer_only=True,
    )
)
