"""Back-off, giving up, and the fleet's circuit breaker, by hand."""

from hypothesis import given
from hypothesis import strategies as st

from aarlab.fleet.restarts import (
    IDLE_INCARNATIONS,
    MAX_RESTARTS,
    MOST_OPEN_S,
    MOST_OUTAGE_S,
    OPEN_S,
    STABLE_S,
    STAND_BACK_S,
    Breaker,
    Restarts,
)

SHORT = {"lived_s": 1.0, "acted": False}


def test_crashes_in_a_row_wait_longer_and_end_in_giving_up():
    restarts = Restarts()
    waits = [restarts.after("crashed", **SHORT) for _ in range(MAX_RESTARTS + 1)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, "gave up"]


def test_a_long_incarnation_forgives_the_crashes_before_it():
    restarts = Restarts()
    for _ in range(50):
        assert restarts.after("crashed", lived_s=STABLE_S, acted=False) == 1.0
    assert restarts.count == 50


def test_an_outage_is_waited_out_for_ever_and_counts_as_no_crash():
    restarts = Restarts()
    waits = [restarts.after("outage", **SHORT) for _ in range(20)]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == MOST_OUTAGE_S
    assert (restarts.crashes, restarts.count) == (0, 0)
    assert restarts.after("crashed", **SHORT) == 1.0


def test_who_ends_in_order_goes_on_until_it_has_nothing_to_do():
    restarts = Restarts()
    assert [restarts.after("again", lived_s=9, acted=True) for _ in range(9)] == [0.0] * 9
    ends = [restarts.after("again", lived_s=9, acted=False) for _ in range(IDLE_INCARNATIONS)]
    assert ends == [0.0] * (IDLE_INCARNATIONS - 1) + ["finished"]


def test_budget_and_finish_are_final():
    assert Restarts().after("spent", **SHORT) == "spent"
    assert Restarts().after("finished", **SHORT) == "finished"


def test_breaker_opens_at_half_of_the_fleet_and_closes_on_success():
    breaker = Breaker(9)
    assert [breaker.crashed(f"r-{n}", 10.0 + n) for n in range(4)] == [False] * 4
    assert breaker.crashed("r-4", 14.0)
    assert not breaker.may_start("r-0", 14.0 + OPEN_S - 0.1)
    assert breaker.may_start("r-7", 14.0 + OPEN_S)
    assert not breaker.may_start("r-0", 14.0 + OPEN_S), "one alone is tried"
    assert breaker.may_start("r-7", 15.0 + OPEN_S)
    breaker.lived("r-0")  # an old one that still ran: says nothing about starting
    assert breaker.open
    breaker.lived("r-7")
    assert not breaker.open
    assert breaker.may_start("r-0", 15.0 + OPEN_S)


def test_a_failed_trial_waits_twice_as_long():
    breaker = Breaker(2)
    breaker.crashed("a", 0.0)
    assert breaker.crashed("b", 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        start = now
        while not breaker.may_start("a", now):
            now += 1.0
        waits.append(now - start - STAND_BACK_S * bool(waits))
        assert breaker.crashed("a", now)
    assert waits == [OPEN_S, 2 * OPEN_S, 4 * OPEN_S, 8 * OPEN_S, MOST_OPEN_S, MOST_OPEN_S]


def opened() -> Breaker:
    """Of a fleet of three, at second 0."""
    breaker = Breaker(3)
    assert not breaker.crashed("a", 0.0)
    assert breaker.crashed("b", 0.0)
    return breaker


def test_breaker_trial_moves_on_after_repeated_failures():
    breaker, now = opened(), 0.0
    for name in ("a", "b"):  # both are broken
        while not (started := [n for n in ("a", "b", "c") if breaker.may_start(n, now)]):
            now += 1.0
        assert started == [name], "who has failed lets the next one try first"
        assert breaker.crashed(name, now)
    while not (started := [n for n in ("a", "b", "c") if breaker.may_start(n, now)]):
        now += 1.0
    assert started == ["c"]
    breaker.lived("c")
    assert not breaker.open


def test_breaker_trial_passes_to_next_member():
    breaker = opened()
    assert breaker.may_start("a", OPEN_S)
    assert not breaker.may_start("c", OPEN_S)
    breaker.left("c")
    assert not breaker.may_start("c", OPEN_S), "another's end is no matter of the trial"
    breaker.left("a")
    assert breaker.may_start("c", OPEN_S)


def test_weeks_of_failures_are_no_overflow():
    restarts, breaker = Restarts(), opened()
    assert {restarts.after("outage", **SHORT) for _ in range(5000)} >= {1.0, MOST_OUTAGE_S}
    now = 0.0
    for _ in range(2000):
        now += MOST_OPEN_S + STAND_BACK_S
        assert breaker.may_start("a", now)
        assert breaker.crashed("a", now)


def test_backoff_restarts_after_a_long_run():
    restarts = Restarts()
    assert [restarts.after("outage", **SHORT) for _ in range(3)] == [1.0, 2.0, 4.0]
    assert restarts.after("outage", lived_s=STABLE_S, acted=True) == 1.0


def test_crashes_far_apart_or_of_one_alone_open_nothing():
    breaker = Breaker(4)
    assert not breaker.crashed("a", 0.0)
    assert not breaker.crashed("b", 61.0)
    alone = Breaker(1)
    assert not any(alone.crashed("a", float(n)) for n in range(9))


@given(st.lists(st.sampled_from(["crashed", "outage", "again"]), max_size=60))
def test_backoff_is_bounded_and_outages_end_nobody(ends):
    restarts = Restarts()
    for ended in ends:
        wait = restarts.after(ended, lived_s=1.0, acted=True)
        assert wait == "gave up" or 0 <= wait <= MOST_OUTAGE_S
        if wait == "gave up":
            assert restarts.crashes > MAX_RESTARTS
            break
