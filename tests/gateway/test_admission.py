"""However calls interleave, a budget is overspent by at most one call: the promise that dollars
rest on."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.budget import Budget, Spent
from aarlab.gateway.admission import Account, BudgetSpent, InFlight, MustWait, Reserve, decide_call

NOTHING = InFlight(0, 0, 0.0)
NEW = Spent()


def account(*, budget: Budget, spent: Spent = NEW, in_flight: InFlight = NOTHING) -> Account:
    return Account("researcher-3", budget, spent, in_flight)


@pytest.mark.parametrize(
    ("spent", "in_flight", "reserve", "answer"),
    [
        (Spent(usd=0.00), NOTHING, Reserve(10, 9.0), None),  # the first is always let through
        (Spent(usd=0.99), NOTHING, Reserve(10, 9.0), None),
        (
            Spent(usd=1.00),
            NOTHING,
            Reserve(10, 0.0),
            BudgetSpent("researcher-3: budget of $1.00 is spent"),
        ),
        # all fit, to the last cent
        (Spent(usd=0.50), InFlight(1, 1, 0.25), Reserve(10, 0.25), None),
        (Spent(usd=0.50), InFlight(1, 1, 0.25), Reserve(10, 0.26), MustWait()),
        (Spent(usd=0.50), InFlight(1, 1, 0.75), Reserve(10, 0.00), MustWait()),
        (
            Spent(tokens=1_000),
            NOTHING,
            Reserve(1, 0.0),
            BudgetSpent("researcher-3: budget of 1,000 tokens is spent"),
        ),
        (Spent(tokens=900), InFlight(2, 60, 0.0), Reserve(40, 0.0), None),
        (Spent(tokens=900), InFlight(2, 60, 0.0), Reserve(41, 0.0), MustWait()),
        (
            Spent(wall_s=7_200),
            NOTHING,
            Reserve(1, 0.0),
            BudgetSpent("researcher-3: budget of 2 hours is spent"),
        ),
        # nobody knows what a call takes in hours
        (Spent(wall_s=7_199), InFlight(9, 10, 0.1), Reserve(1, 0.0), None),
    ],
)
def test_a_call_goes_out_waits_or_is_refused(
    spent: Spent, in_flight: InFlight, reserve: Reserve, answer: MustWait | BudgetSpent | None
) -> None:
    budget = Budget(hours=2, tokens=1_000, usd=1.0)
    assert decide_call(reserve, account(budget=budget, spent=spent, in_flight=in_flight)) == answer


def test_the_campaigns_budget_counts_as_well_and_no_limit_is_none() -> None:
    free, tight = Budget(), Budget(usd=1.0)
    spent = account(budget=tight, spent=Spent(usd=1.0))
    busy = account(budget=tight, in_flight=InFlight(1, 1, 0.9))
    assert (
        decide_call(
            Reserve(1, 5.0),
            account(budget=free, in_flight=InFlight(9, 9, 9.0)),
            account(budget=free),
        )
        is None
    )
    assert decide_call(Reserve(1, 0.0), account(budget=free), spent) == BudgetSpent(
        "researcher-3: budget of $1.00 is spent"
    )
    assert decide_call(Reserve(1, 0.2), account(budget=free), busy) == MustWait()
    assert decide_call(Reserve(1, 0.2), busy, spent) == BudgetSpent(
        "researcher-3: budget of $1.00 is spent"
    ), "waiting would be in vain"


@dataclass
class Books:
    """What one budget has seen."""

    spent: Spent = field(default_factory=Spent)
    open: dict[int, Reserve] = field(default_factory=dict)

    def account(self, budget: Budget) -> Account:
        flying = self.open.values()
        total = InFlight(len(flying), sum(r.tokens for r in flying), sum(r.usd for r in flying))
        return Account("who", budget, self.spent, total)

    def settle(self, call: int, share: float) -> None:
        reserve = self.open.pop(call)
        taken = Spent(tokens=int(reserve.tokens * share), usd=reserve.usd * share)
        self.spent = Spent(tokens=self.spent.tokens + taken.tokens, usd=self.spent.usd + taken.usd)


STEP = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 2), st.integers(1, 400)),
    st.tuples(st.just("settle"), st.integers(0, 20), st.sampled_from([0.0, 0.3, 1.0])),
)


@given(st.lists(STEP, max_size=120), st.integers(1, 1_000), st.integers(1, 2_000))
def test_no_interleaving_overspends_by_more_than_one_call(
    steps: list[tuple[str, int, float]], mine: int, everybodys: int
) -> None:
    """Three researchers open and settle as they like; each step is a call's, in any order. Dollars
    are binary fractions."""
    each, all_ = Budget(usd=mine / 64, tokens=mine), Budget(usd=everybodys / 64, tokens=everybodys)
    books, campaign = {w: Books() for w in range(3)}, Books()
    owner: dict[int, int] = {}
    dearest = {**dict.fromkeys(range(3), 0), "campaign": 0}
    for number, (what, who, value) in enumerate(steps):
        if what == "open":
            reserve = Reserve(int(value), value / 64)
            if decide_call(reserve, books[who].account(each), campaign.account(all_)) is None:
                owner[number] = who
                books[who].open[number] = campaign.open[number] = reserve
                dearest[who] = max(dearest[who], reserve.tokens)
                dearest["campaign"] = max(dearest["campaign"], reserve.tokens)
        elif owner:
            call = sorted(owner)[who % len(owner)]
            campaign.settle(call, value)
            books[owner.pop(call)].settle(call, value)
        for name, book, budget in (
            (0, books[0], each),
            (1, books[1], each),
            (2, books[2], each),
            ("campaign", campaign, all_),
        ):
            worst = book.spent.tokens + sum(r.tokens for r in book.open.values())
            assert worst < budget.tokens + max(1, dearest[name])
            assert book.spent.usd <= budget.usd + dearest[name] / 64


@given(st.lists(STEP, max_size=60))
def test_somebody_can_always_go_on_until_the_budget_is_spent(
    steps: list[tuple[str, int, float]],
) -> None:
    """No deadlock: with nothing in flight, a call is let through or the budget is spent; never
    `MustWait`."""
    budget, book = Budget(usd=4.0), Books()
    for number, (what, _, value) in enumerate(steps):
        if what == "open" and decide_call(Reserve(1, value / 64), book.account(budget)) is None:
            book.open[number] = Reserve(1, value / 64)
        elif what == "settle" and book.open:
            book.settle(min(book.open), value)
        if not book.open:
            assert decide_call(Reserve(1, 100.0), book.account(budget)) != MustWait()
