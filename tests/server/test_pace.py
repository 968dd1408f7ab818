"""The grid on which replies to submissions leave."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.server.pace import GRID_S, on_grid, wait_s


@given(st.floats(0, 100), st.floats(1e-3, 1))
def test_work_and_wait_together_are_the_next_multiple_of_the_grid(elapsed, grid):
    together = (elapsed + wait_s(elapsed, grid)) / grid
    assert together == pytest.approx(round(together), abs=1e-6)
    assert 0 <= wait_s(elapsed, grid) <= grid * (1 + 1e-9)


@given(st.integers(1, 50), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_work_within_the_same_step_is_told_apart_by_nothing(step, one, other):
    ends = [(step + x) * GRID_S + wait_s((step + x) * GRID_S) for x in (one, other)]
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)


@pytest.mark.parametrize("fails", [False, True])
def test_the_reply_waits_whether_the_work_went_well_or_not(fails):
    clock, slept = iter([5.0, 5.0 + 1.3 * GRID_S]), []

    async def sleep(seconds):
        slept.append(seconds)

    async def work():
        async with on_grid(lambda: next(clock), sleep):
            if fails:
                raise ValueError("no")

    if fails:
        with pytest.raises(ValueError, match="no"):
            asyncio.run(work())
    else:
        asyncio.run(work())
    assert slept == pytest.approx([0.7 * GRID_S])


def test_others_work_while_a_reply_waits():
    """The wait takes neither the loop nor a thread: a hundred waits end in the order of their ends."""
    ended = []

    async def one(number):
        async with on_grid():
            await asyncio.sleep(0)
        ended.append(number)

    async def all_of_them():
        await asyncio.gather(*(one(n) for n in range(100)))

    asyncio.run(all_of_them())
    assert sorted(ended) == list(range(100))
