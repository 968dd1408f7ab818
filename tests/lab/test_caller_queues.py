"""Fairness: a flooder waits for itself."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from aarlab.lab.caller_queues import WIDTH, CallerQueues


def work_through(requests: list[str], places: int) -> tuple[list[str], int]:
    """Requests by identity, in the order of their coming, all at once, before `places` workers
    (first come, first served). The order in which they were done, and the most that one identity
    had in work."""
    done: list[str] = []
    at_work: dict[str, int] = {}
    most = 0

    async def one(name: str, queues: CallerQueues, workers: asyncio.Semaphore) -> None:
        nonlocal most
        async with queues.of(name):
            at_work[name] = at_work.get(name, 0) + 1
            most = max(most, at_work[name])
            async with workers:
                await asyncio.sleep(0)
                done.append(name)
            at_work[name] -= 1

    async def all_of_them() -> None:
        queues, workers = CallerQueues(), asyncio.Semaphore(places)
        await asyncio.gather(*(one(name, queues, workers) for name in requests))

    asyncio.run(all_of_them())
    return done, most


def test_one_who_floods_does_not_starve_the_others():
    done, most = work_through(["flood"] * 1000 + ["quiet"] * 3, places=2)
    assert len(done) == 1003  # nobody is refused
    last = max(n for n, name in enumerate(done) if name == "quiet")
    assert last < 4 * WIDTH  # and not after the thousand
    assert most == WIDTH


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 5))
def test_all_are_served_and_nobody_takes_more_than_a_lane(requests, places):
    done, most = work_through(requests, places)
    assert sorted(done) == sorted(requests)
    assert most <= WIDTH
