"""Who may call a model now: the one rule by which no budget is overspent by more than one model
turn.

Before a call is sent, the most that it can cost is reserved. A call goes out only if what is spent,
what calls in flight have reserved and what it reserves itself fit into the budget, or if nothing of
this budget is in flight: then what is overspent is that one call's. A call never takes more than it
reserved, so however many calls somebody sends at once, at most one of them ends beyond the budget.
"""

from dataclasses import dataclass

from aarlab.core.budget import Budget, Spent


@dataclass(frozen=True)
class Reserve:
    """The most that calls can cost: tokens of all kinds, dollars."""

    tokens: int
    usd: float


@dataclass(frozen=True)
class InFlight:
    """How many calls are open, and what they have reserved together."""

    calls: int
    tokens: int
    usd: float


@dataclass(frozen=True)
class Account:
    """One budget, what is spent of it, and what is in flight; `whose` are the words for it
    ("researcher-3", "the campaign")."""

    whose: str
    budget: Budget
    spent: Spent
    in_flight: InFlight


@dataclass(frozen=True)
class CallOpened:
    """The call is open; its number is what it is settled by."""

    call: int


@dataclass(frozen=True)
class MustWait:
    """Only what is in flight stands in the way: ask again when it is settled."""


@dataclass(frozen=True)
class BudgetSpent:
    """A budget is spent; the words say which."""

    words: str


Admission = CallOpened | MustWait | BudgetSpent


def decide_call(reserve: Reserve, *accounts: Account) -> MustWait | BudgetSpent | None:
    """None: the call may go out now."""
    for account in accounts:
        if limit := account.budget.reached(account.spent):
            return BudgetSpent(f"{account.whose}: {limit} is spent")
    return None if all(_fits(reserve, account) for account in accounts) else MustWait()


def _fits(reserve: Reserve, account: Account) -> bool:
    budget, spent, flying = account.budget, account.spent, account.in_flight
    if not flying.calls:
        return True
    usd, tokens = (
        spent.usd + flying.usd + reserve.usd,
        spent.tokens + flying.tokens + reserve.tokens,
    )
    return (budget.usd is None or usd <= budget.usd) and (
        budget.tokens is None or tokens <= budget.tokens
    )
