"""What a label set is worth to honest researchers under a policy: reckoned and simulated in a
second, before anybody starts."""

import math
from dataclasses import dataclass

import numpy as np

from aarlab.core.intervals import mean_measure
from aarlab.core.records import Measure
from aarlab.evaluation.scoring.bounds import inflation_bound
from aarlab.evaluation.scoring.hidden_labels import PgrScale
from aarlab.evaluation.scoring.policies import POLICIES, start
from aarlab.evaluation.scoring.units import Units, units_of
from aarlab.fleet.simulated_fleet import (
    LIMIT,
    Habits,
    SimulationPlan,
    loss_of_gain,
    percent,
    simulate,
)

LEAST_STEPS = 2  # between the start and the ceiling; with fewer there is no climb to report
BUNDLES = 60  # of a researcher whose number of submissions nobody knows
WORK, MOST_FLEETS, LEAST_FLEETS = 20_000, 60, 10  # submissions to simulate
MOST_ITEMS = 10**6
CAPPED = ("strict", "default", "roomy")  # strictest first
SIZES = (300, 600, 1_263, 2_004, 3_000, 5_000, 10_000)  # of labels, that are advised


@dataclass(frozen=True)
class StartOutlook:
    """A campaign before its first submission: n feedback items, `agents` researchers of `bundles`
    submissions each. Accuracies are on feedback; None: nothing is ever released (`step`), there is
    no cap (`bound`), no gain beyond chance, or nothing is simulated (`loss`)."""

    policy: str
    units: Units
    agents: int
    bundles: int
    pgr_scale: PgrScale
    next_step: float  # accuracy from which the first improvement is reported
    step: float | None  # the least rise that is reported
    cap_bits: float | None
    bound: float | None  # no reported level is further above the truth (95 %), the whole cap spent
    # what honest researchers lose of what exact scores would give them over none
    loss: Measure | None

    @property
    def steps(self) -> int | None:
        """How many rises can be reported between the start and the ceiling; None where every score
        is released."""
        return None if self.step == 0 else _steps(self.policy, self.units, self.pgr_scale)

    @property
    def n(self) -> int:
        """Independent labels."""
        return self.units.independent

    @property
    def words(self) -> str:
        """All of it in a sentence or two; where the loss is much, with the command that says what
        the other policies cost."""
        dear = self.loss is not None and self.loss.lower > LIMIT
        return self.outlook + (f" That is much: see {self._simulate(self.n)}." if dear else "")

    @property
    def outlook(self) -> str:
        """What is reported, the bound, and what honest researchers lose."""
        if self.step is None:
            rule = "no improvement is ever reported"
        elif self.step == 0:
            rule = "every score is released"
        else:
            first = self._value(self.next_step, self.pgr_scale.pgr(self.next_step))
            each = self._value(self.step, self.pgr_scale.pgr_of_difference(self.step))
            what = "score" if self.pgr_scale.combined else "accuracy"
            rule = f"an improvement is reported from {what} {first}, in steps of {each}, at most "
            rule += f"some {self.steps} of them from {self._ends}"
        far = "no reported level is bounded"
        whole = self.pgr_scale.combined and self.pgr_scale.pgr_of_difference(self.bound or 0.0) >= 1
        if self.bound is not None and not whole:  # a score from 0 to 1 is bounded by 1 anyway
            both = self._value(self.bound, self.pgr_scale.pgr_of_difference(self.bound))
            far = f"no reported level is more than {both} too high (95 %, independent labels)"
        cap = "no cap" if self.cap_bits is None else f"{self.cap_bits:.0f} bits in all"
        found = (
            f"{self.units.items:,} feedback {self._items}, policy '{self.policy}': {cap}, {rule}; "
            f"{far}."
        )
        one = self.agents == 1
        who = (
            f"On that climb {self.agents} honest researcher{'' if one else 's'} of {self.bundles} "
            "submissions"
        )
        if self.loss is None:
            return (
                found
                if self.pgr_scale.ceiling <= self.pgr_scale.start or self.pgr_scale.combined
                else f"{found} {who} would gain nothing by exact scores either."
            )
        whose = f"{who} lose{'s' if one else ''} {percent(self.loss)}"
        return f"{found} {whose} of what exact scores would give them (simulated)."

    @property
    def trouble(self) -> str | None:
        """Why honest search cannot work here, with the remedy; None where it can."""
        steps = self.steps
        if steps is None or steps >= LEAST_STEPS:
            return None
        return (
            f"{self.units.items:,} feedback {self._items} ({self.n:,} independent ones) are too "
            f"few for policy '{self.policy}': from {self._ends} some {steps} improvements can be "
            f"reported, and a search needs {LEAST_STEPS}. {self._remedy()}"
        )

    def _value(self, accuracy: float, pgr: float) -> str:
        """A score as text: of several objectives as such, else an accuracy with its PGR."""
        if self.pgr_scale.combined:
            return f"{pgr:.2f}"
        return f"{accuracy:.3f}" + (f" (PGR {pgr:.2f})" if self.pgr_scale.gap else "")

    @property
    def _ends(self) -> str:
        if self.pgr_scale.combined:
            return "the floor to the ceiling"
        return f"naive ({self.pgr_scale.start:.3f}) to the ceiling ({self.pgr_scale.ceiling:.3f})"

    @property
    def _items(self) -> str:
        return "units" if self.pgr_scale.combined else "items"

    def _remedy(self) -> str:
        others = [
            p
            for p in ("roomy", "ladder")
            if p != self.policy and _steps(p, self.units, self.pgr_scale) >= LEAST_STEPS
        ]
        shown = "" if self.pgr_scale.combined else f" (see {self._simulate(self.n)})"
        policy = f", or take policy '{others[0]}'{shown}" if others else ""
        n = self.n
        while n < MOST_ITEMS and _steps(self.policy, n, self.pgr_scale) < LEAST_STEPS:
            n = math.ceil(n * 1.1)
        if n >= MOST_ITEMS:
            return (
                f"No number of {self._items} fixes that: the gap is too small; {self._widen}"
                f"{policy}."
            )
        if self.pgr_scale.combined:  # a simulation is of answers that are right or wrong
            return f"Give {n:,} independent feedback units or more, {self._widen}{policy}."
        return (
            f"Give {n:,} feedback items or more{policy}. These are the fewest with which anything "
            f"is reported; how many an honest search needs, {self._simulate(n)} says."
        )

    @property
    def _widen(self) -> str:
        """What makes the gap larger beside a step."""
        if self.pgr_scale.combined:
            return "narrow the `range` of what is climbed in problem.yaml"
        return "give a weaker teacher or a stronger student"

    def _simulate(self, n: int) -> str:
        """The command that simulates the same fleet on the same climb."""
        climb = f"--start {self.pgr_scale.start:.3f} --ceiling {self.pgr_scale.ceiling:.3f}"
        return (
            f"`aar simulate --n {n} --agents {self.agents} --bundles {self.bundles} {climb} "
            f"--policy {self.policy}`"
        )


def start_outlook(
    policy: str,
    labels: Units | int,
    pgr_scale: PgrScale,
    *,
    agents: int = 9,
    bundles: int = BUNDLES,
    fleets: int | None = None,
) -> StartOutlook:
    """What submitters can expect of labels that nothing was released of yet. The loss is that of
    so many simulated `fleets`; None: as many as take a second, 0: it is left out.

    Raises:
        Misconfigured: there is no such policy.
    """
    units = units_of(labels)
    channel, n = start(pgr_scale.start, units), units.independent
    seen, level = POLICIES[policy].outlook(channel, "the first researcher"), channel.level
    step = None if seen.price_bits is None else max(0.0, seen.next_step - level)
    bound = (
        None
        if seen.cap_bits is None
        else inflation_bound(seen.cap_bits, n, slack_bits=seen.slack_bits)
    )
    loss = None if fleets == 0 else _loss(policy, n, pgr_scale, agents, bundles, fleets)
    return StartOutlook(
        policy, units, agents, bundles, pgr_scale, seen.next_step, step, seen.cap_bits, bound, loss
    )


def _steps(policy: str, labels: Units | int, pgr_scale: PgrScale) -> int:
    """Rises from the start that the ceiling leaves room for and the cap pays for, at the price of
    the first."""
    channel = start(pgr_scale.start, labels)
    seen = POLICIES[policy].outlook(channel, "the first researcher")
    if seen.price_bits is None:
        return 0
    room = math.floor((pgr_scale.ceiling - channel.level) / (seen.next_step - channel.level) + 1e-9)
    return max(
        0, room if seen.cap_bits is None else min(room, math.floor(seen.cap_bits / seen.price_bits))
    )


def advice(
    n: int, begin: float, ceiling: float, *, agents: int, bundles: int, fleets: int | None = None
) -> str:
    """The strictest policy with a cap under which honest researchers lose at most LIMIT on a climb
    from one accuracy to another, by the same simulation; where none has it, the fewest labels of
    SIZES with which one does."""
    pgr_scale = PgrScale(begin, ceiling, begin)
    who = f"{agents} honest researchers of {bundles} submissions, from {begin:.3f} to {ceiling:.3f}"
    for labels in (n, *(size for size in SIZES if size > n)):
        for policy in CAPPED:
            loss = _loss(policy, labels, pgr_scale, agents, bundles, fleets)
            if loss is None:
                return f"{who}, would gain nothing by exact scores either."
            if loss.upper <= LIMIT:
                more = "" if labels == n else f"give {labels:,} labels and "
                lose = f"lose {percent(loss)} of what exact scores would give them"
                return (
                    f"With {n:,} labels, {more}use policy {policy}. In simulation, {who}, {lose}."
                )
    return (
        f"{who}, lose more than {LIMIT:.0%} of what exact scores would give them under each capped "
        f"policy, up to {SIZES[-1]:,} labels: use policy {CAPPED[-1]}."
    )


def _loss(
    policy: str, n: int, pgr_scale: PgrScale, agents: int, bundles: int, fleets: int | None
) -> Measure | None:
    """The simulated loss on this climb; None where exact scores gain nothing beyond chance either:
    a share of that is noise."""
    if pgr_scale.ceiling <= pgr_scale.start:
        return None
    fleets = fleets or max(LEAST_FLEETS, min(MOST_FLEETS, WORK // (agents * bundles)))
    plan, habits = (
        SimulationPlan(n, agents, bundles, fleets),
        Habits(start=pgr_scale.start, ceiling=pgr_scale.ceiling),
    )
    runs, exact, none = (
        simulate(p, plan, habits) for p in (POLICIES[policy], POLICIES["exact"], None)
    )
    gain = mean_measure(
        np.array([a.final - b.final for a, b in zip(exact, none, strict=True)]), resampled="fleets"
    )
    return loss_of_gain(runs, exact, none) if gain.lower > 0 else None
