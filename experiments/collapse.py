"""False alarms and delay of the collapse alarm, by simulation. Run: `.venv/bin/python
experiments/collapse.py`. A minute."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Family
from aarlab.diversity.collapse import WINDOW, states

FAMILIES, IDEAS, CAMPAIGNS, ONSET = tuple(Family), 1_000, 300, 200
Rng = np.random.Generator
Shares = NDArray[np.float64]
EVEN = np.full(11, 1 / 11)
FALLING = 1 / np.arange(1, 12) / (1 / np.arange(1, 12)).sum()
FEW = np.array([0.6, 0.3, 0.1] + [0.0] * 8)


def drawn(shares: Shares, n: int, rng: Rng) -> list[Family]:
    return [FAMILIES[i] for i in rng.choice(11, size=n, p=shares)]


def moving(rng: Rng) -> list[Family]:
    """Every 100 ideas three other families, with the same spread."""
    return [f for block in range(IDEAS // 100) for f in drawn(np.roll(FEW, 3 * block), 100, rng)]


def stubborn(rng: Rng) -> list[Family]:
    """Nine researchers in random turns; each keeps its family for twenty ideas on average."""
    now, out = list(rng.choice(11, size=9)), []
    for who in rng.integers(0, 9, size=IDEAS):
        if rng.random() < 1 / 20:
            now[who] = rng.choice(11)
        out.append(FAMILIES[now[who]])
    return out


def fleet_that_collapses(to: float, over: int) -> Callable[[Rng], list[Family]]:
    """Shares 1/rank until idea ONSET; then the third family's share rises to `to` within `over`
    ideas."""
    third = np.eye(11)[2]

    def ideas(rng: Rng) -> Iterator[Family]:
        for n in range(IDEAS):
            part = to * min(1.0, max(0.0, (n - ONSET + 1) / over))
            yield drawn((1 - part) * FALLING + part * third, 1, rng)[0]

    return lambda rng: list(ideas(rng))


QUIET: dict[str, Callable[[Rng], list[Family]]] = {
    "even over eleven": lambda rng: drawn(EVEN, IDEAS, rng),
    "shares 1/rank": lambda rng: drawn(FALLING, IDEAS, rng),
    "three families, 60/30/10 %": lambda rng: drawn(FEW, IDEAS, rng),
    "the same, other families every 100 ideas": moving,
    "nine stubborn researchers": stubborn,
}
COLLAPSES = {
    "to 90 %, at once": fleet_that_collapses(0.9, 1),
    "to 70 %, at once": fleet_that_collapses(0.7, 1),
    "to 50 %, at once": fleet_that_collapses(0.5, 1),
    "to 90 %, within 200 ideas": fleet_that_collapses(0.9, 200),
}


def first_alarm(ideas: list[Family], after: int = 0) -> int | None:
    """After how many ideas, more than `after`, the alarm stands first."""
    found = ((n * WINDOW, drop) for n, drop in enumerate(states(ideas), start=1))
    return next((n for n, drop in found if drop and n > after), None)


def main() -> None:
    print(f"| no collapse, {IDEAS} ideas | campaigns with an alarm |\n|---|---|")
    for name, make in QUIET.items():
        rung = sum(
            first_alarm(make(np.random.default_rng(seed))) is not None for seed in range(CAMPAIGNS)
        )
        print(f"| {name} | {rung} of {CAMPAIGNS} ({rung / CAMPAIGNS:.1%}) |")
    print(
        f"\n| one family's share rises after {ONSET} ideas | heard | ideas until heard: median "
        "(nine of ten) |\n|---|---|---|"
    )
    for name, make in COLLAPSES.items():
        found = [first_alarm(make(np.random.default_rng(seed)), ONSET) for seed in range(CAMPAIGNS)]
        delays = sorted(n - ONSET for n in found if n is not None)
        median, most = (
            (delays[int(q * (len(delays) - 1))] for q in (0.5, 0.9)) if delays else (None, None)
        )
        print(f"| {name} | {len(delays) / CAMPAIGNS:.0%} | {median} ({most}) |")


if __name__ == "__main__":
    main()
