"""The grid on which replies to submissions leave."""

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.lab.reply_times import GRID_S, ReplyTimes, wait_s


@given(st.floats(0, 100), st.floats(1e-3, 1))
def test_now_and_wait_together_are_the_next_multiple_of_the_grid(now, grid):
    together = (now + wait_s(now, grid)) / grid
    assert together == pytest.approx(round(together), abs=1e-6)
    assert 0 <= wait_s(now, grid) <= grid * (1 + 1e-9)


@given(st.integers(1, 50), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_work_within_the_same_step_is_reported_apart_by_nothing(step, one, other):
    ends = [(step + x) * GRID_S + wait_s((step + x) * GRID_S) for x in (one, other)]
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)


@pytest.mark.parametrize("fails", [False, True])
def test_the_reply_waits_whether_the_work_went_well_or_not(fails):
    slept = []
    grid = ReplyTimes(lambda: 5.0 + 0.3 * GRID_S, slept.append)

    async def work():
        async with grid.on_it():
            if fails:
                raise ValueError("no")

    if fails:
        with pytest.raises(ValueError, match="no"):
            asyncio.run(work())
    else:
        asyncio.run(work())
    assert slept == pytest.approx([0.7 * GRID_S])


def test_replies_whose_work_ends_at_other_times_leave_together_and_hold_nobody():
    """All hundred requests have done their work before the first reply leaves: the wait holds
    neither the loop nor a thread of theirs."""
    point, events = threading.Event(), []
    grid = ReplyTimes(time.monotonic, lambda _: point.wait(10))

    async def reply(number):
        async with grid.on_it():
            await asyncio.sleep(0)
            events.append(("worked", number))
        events.append(("left", number))

    async def replies():
        tasks = [asyncio.create_task(reply(n)) for n in range(100)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert events == [("worked", n) for n in range(100)]
        point.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    asyncio.run(replies())
    assert sorted(events[100:]) == [("left", n) for n in range(100)]


def test_whoever_comes_after_a_point_waits_for_the_next():
    points = []
    grid = ReplyTimes(time.monotonic, points.append)

    async def replies():
        for _ in range(3):
            async with grid.on_it():
                pass

    asyncio.run(replies())
    assert len(points) == 3
