"""Attackers on a label set, by name. Each knows the policy, its start vector and which half of that
is coin flips (white box); of the labels it knows what `AnswerVector.ask` answers. An attack ends by
itself, or when its questions are spent.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from aarlab.core.registry import Registry
from aarlab.redteam.channel import AnswerVector, Items, OutOfQuestions, World
from aarlab.redteam.groups import decode, detecting_matrix, split

Attack = Callable[[AnswerVector, np.random.Generator], None]
ATTACKS: Registry[Attack] = Registry("attack")
SHARED = {  # on labels that so many items share
    f"labels that {size} items share": (size, "best overlap, cheapest of nine") for size in (6, 8)
}
IDENTITIES = 9
NOTHING = np.zeros(0, np.intp)


def run_attack(name: str, line: AnswerVector, rng: np.random.Generator) -> AnswerVector:
    """The attack, until it ends or its questions are spent."""
    with suppress(OutOfQuestions):
        ATTACKS[name](line, rng)
    line.finish()
    return line


def _one(item: int) -> Items:
    return np.array([item], np.intp)


def _all_items(world: World) -> Items:
    return np.concatenate([world.coins, world.informed])


def _some(items: Items, count: int, rng: np.random.Generator) -> Items:
    return rng.choice(items, min(count, len(items) // 2), replace=False)


def _climbed(line: AnswerVector, flips: Items, best: float, who: str = "eve") -> float | None:
    """Ask; if it improved on `best` (a reported score), or improved at all, adopt it. The new
    best, or None."""
    answer = line.ask(flips, who)
    if not (answer.level > best if line.tells_scores else answer.improved):
        return None
    line.adopt(flips)
    line.belief_n[flips] += np.where(line.flipped_n[flips], -1, 1)
    return answer.level


def _base_score(line: AnswerVector) -> float:
    return line.ask(NOTHING).level


@ATTACKS.add("single flips")
def single_flips(line: AnswerVector, rng: np.random.Generator) -> None:
    """One answer at a time, coin flips first; what helps is kept."""
    del rng
    best = _base_score(line)
    for item in _all_items(line.world):
        higher = _climbed(line, _one(item), best)
        if higher is not None:
            best = higher
        elif line.tells_scores:
            line.belief_n[item] += 1


@ATTACKS.add("detecting matrix")
def detecting(line: AnswerVector, rng: np.random.Generator) -> None:
    """Sets of items whose exact scores give every label, in about 2n / log2 n questions; then
    all at once. If no scores are reported, each set is a group flip."""
    items = rng.permutation(_all_items(line.world))
    base = _base_score(line)
    wrong, place, n = [], 0, line.world.n
    for k in split(len(items)):
        matrix_RC = detecting_matrix(k)
        block = items[place : place + matrix_RC.shape[1]]
        place += len(block)
        rows = [block[row == 1] for row in matrix_RC]
        answers = [line.ask(row) for row in rows]
        if line.tells_scores:
            reported_R = np.array([round((a.level - base) * n) for a in answers])
            found = decode((reported_R + np.array([len(row) for row in rows])) // 2, matrix_RC) == 1
            line.belief_n[block] = np.where(found, -1, 1)
            wrong.append(block[found])
        else:
            for row, answer in zip(rows, answers, strict=True):
                line.belief_n[row] -= answer.improved
    line.ask(np.concatenate(wrong) if wrong else np.flatnonzero(line.belief_n < 0))


@ATTACKS.add("step edge")
def step_edge(line: AnswerVector, rng: np.random.Generator) -> None:
    """Walks to a point where one answer changes the reported level, then reads one label with
    each question."""
    coins, informed = rng.permutation(line.world.coins), rng.permutation(line.world.informed)
    reached, walked = _base_score(line), NOTHING
    if not line.tells_scores:
        _walk(line, coins)
        return
    for count in range(1, len(informed) + 1):  # downwards: these are mostly right
        if line.ask(informed[:count]).level < reached - 1e-9:
            walked = informed[: count - 1]
            break
    line.belief_n[informed[len(walked)]] += 1
    line.adopt(walked)
    rest = np.concatenate([coins, informed[len(walked) + 1 :], walked])
    for item in rest:
        drops = line.ask(_one(item)).level < reached - 1e-9
        line.belief_n[item] += 1 if drops != line.flipped_n[item] else -1
    best = line.belief_n < 0
    line.ask(np.flatnonzero(best != line.flipped_n))


def _walk(line: AnswerVector, coins: Items) -> None:
    """A walk through the coin flips. Each improvement is at the edge of a step, reached by the
    answers flipped since the last one."""
    first = 0
    for last in range(1, len(coins) + 1):
        if _climbed(line, coins[first:last], np.inf) is not None:
            first = last


@ATTACKS.add("boosting, whole set")
def boost_whole(line: AnswerVector, rng: np.random.Generator) -> None:
    """Random vectors, combined by votes that are weighted by the reported levels (Blum & Hardt
    2015, section 5)."""
    chance_n = np.full(line.world.n, 0.1)
    chance_n[line.world.coins] = 0.5
    _boost(line, rng, chance_n)


@ATTACKS.add("boosting, coin flips")
def boost_coins(line: AnswerVector, rng: np.random.Generator) -> None:
    """As before, within the coin flips."""
    chance_n = np.zeros(line.world.n)
    chance_n[line.world.coins] = 0.5
    _boost(line, rng, chance_n)


def _boost(line: AnswerVector, rng: np.random.Generator, chance_n: np.ndarray) -> None:
    total, count, base = 0.0, 0, _base_score(line)
    while True:
        flipped_n = rng.random(len(chance_n)) < chance_n
        answer = line.ask(np.flatnonzero(flipped_n))
        reported = answer.level if line.tells_scores else float(answer.improved)
        count, total = count + 1, total + reported
        signal = reported - (total / count if line.tells_scores else 0.0)
        line.belief_n -= signal * np.where(flipped_n, 1 - chance_n, -chance_n) * (chance_n > 0)
        if count % 50 == 0:
            vote = np.flatnonzero((line.belief_n < 0) & (chance_n == 0.5))
            base = max(base, line.ask(vote).level)
        if not line.tells_scores and line.sealed():
            return


def _hill(size: int, names: tuple[str, ...] = ("eve",)) -> Attack:
    """Flips so many coin-flip answers at random and keeps what improves. When one identity is
    sealed, the next takes over."""

    def climb(line: AnswerVector, rng: np.random.Generator) -> None:
        best = _base_score(line)
        while (name := next((name for name in names if not line.sealed(name)), None)) is not None:
            flips = _some(line.world.coins, size, rng)
            best = _climbed(line, flips, best, name) or best

    return climb


for _size in (1, 10, 100):
    ATTACKS.add(f"hill climbing, {_size}")(_hill(_size))
ATTACKS.add("relay of nine, 100")(
    _hill(100, tuple(f"eve-{number}" for number in range(IDENTITIES)))
)


def _staged(parts: int, who: Callable[[int], str] = lambda _: "eve") -> Attack:
    """Redraws one part of the coin flips until an improvement, then the next part; the last part
    until all nine identities are sealed."""

    def search(line: AnswerVector, rng: np.random.Generator) -> None:
        best, count, shut = _base_score(line), 0, 0
        pools = np.array_split(rng.permutation(line.world.coins), parts)
        while shut < IDENTITIES:
            count += 1
            if line.sealed(name := who(count)):
                shut += 1
                continue
            shut = 0
            flips = pools[0][rng.random(len(pools[0])) < 0.5]
            higher = _climbed(line, flips, best, name)
            if higher is not None:
                best, pools = higher, pools[1:] or pools

    return search


for _parts in (1, 2, 3, 4):
    ATTACKS.add(f"staged search, {_parts}")(_staged(_parts))
ATTACKS.add("nine colluding identities")(_staged(3, lambda count: f"eve-{count % 9}"))
ATTACKS.add("a fresh identity each time")(_staged(2, lambda count: f"eve-{count}"))


@ATTACKS.add("re-sending")
def resend(line: AnswerVector, rng: np.random.Generator) -> None:
    """The same vector again and again, and from other identities."""
    del rng
    for count in range(1_000):
        line.ask(NOTHING, f"eve-{count % 3}")


@ATTACKS.add("best of k seeds")
def best_of_seeds(line: AnswerVector, rng: np.random.Generator) -> None:
    """Re-runs that differ in 13.6 % of the answers and are equally good; the best is shown."""
    size = round(0.136 * line.world.n)
    while not line.sealed():
        line.ask(_some(line.world.coins, size, rng))


@ATTACKS.add("constant and majority")
def constant(line: AnswerVector, rng: np.random.Generator) -> None:
    """All 0, all 1, and the start vector with its coin flips all 0 or all 1 (what "the most common
    answer" does)."""
    del rng
    world = line.world
    start_n = world.right_n == world.labels_n  # the start vector's own answers
    for answer in (False, True):
        line.ask(np.flatnonzero(start_n != answer))
        line.ask(world.coins[start_n[world.coins] != answer])


@ATTACKS.add("griefing")
def griefing(line: AnswerVector, rng: np.random.Generator) -> None:
    """Spends the label set's bits: makes its own improvement expensive with useless questions,
    then gets one by chance, again and again."""
    while not line.sealed():
        for _ in range(30):
            line.ask(_some(line.world.informed, 60, rng))
        for _ in range(200):
            if (
                _climbed(line, line.world.coins[rng.random(len(line.world.coins)) < 0.5], np.inf)
                is not None
            ):
                break
