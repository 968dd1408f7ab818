"""Which limit of a budget is reached, and when: each by itself, at the limit and just below it."""

import pytest

from aarlab.core.budget import Budget, Spent


@pytest.mark.parametrize(
    ("budget", "spent", "below", "words"),
    [
        (Budget(usd=5), Spent(usd=5), Spent(usd=4.99), "budget of $5.00"),
        (Budget(tokens=4000), Spent(tokens=4000), Spent(tokens=3999), "budget of 4,000 tokens"),
        (Budget(hours=0.5), Spent(wall_s=1800), Spent(wall_s=1799), "budget of 0.5 hours"),
        (
            Budget(cpu_hours=0.5),
            Spent(cpu_s=1800),
            Spent(cpu_s=1799),
            "budget of 0.5 hours of processor time",
        ),
    ],
)
def test_budget_is_reached_at_its_limit_and_not_below(budget, spent, below, words):
    assert budget.reached(spent) == words
    assert budget.reached(below) is None


@pytest.mark.parametrize("limit", Budget.model_fields)
def test_limit_counts_its_own_amount_and_no_other(limit):
    lavish = {"usd": 1e9, "tokens": 10**9, "wall_s": 1e9, "cpu_s": 1e9, "device_s": 1e9}
    names = {"hours": "wall_s", "cpu_hours": "cpu_s", "device_hours": "device_s"}
    own = names.get(limit, limit)
    assert Budget(**{limit: 1}).reached(Spent(**lavish | {own: 0})) is None
    assert Budget(**{limit: 1}).reached(Spent(**lavish)) is not None


def test_budget_without_limits_is_never_reached():
    assert Budget().reached(Spent(usd=1e9, tokens=10**9, wall_s=1e9, cpu_s=1e9)) is None
