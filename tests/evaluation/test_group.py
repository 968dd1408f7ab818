import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core.errors import Transient
from aarlab.evaluation.group import GroupCommit


def test_each_caller_gets_its_own_result_and_many_share_a_batch():
    batches, first, go = [], threading.Event(), threading.Event()

    def handle(items):
        batches.append(len(items))
        first.set()
        go.wait(10)
        return [2 * i for i in items]

    group = GroupCommit(handle)
    with ThreadPoolExecutor(20) as pool:
        leader = pool.submit(group.do, 0)
        first.wait(10)
        others = [pool.submit(group.do, n) for n in range(1, 20)]
        while len(group._waiting) < 19:  # all wait for the first batch
            pass
        go.set()
        assert [f.result() for f in [leader, *others]] == [2 * n for n in range(20)]
    assert batches == [1, 19]


def test_a_failure_reaches_every_caller_of_the_batch_and_the_next_goes_on():
    def handle(items):
        if "bad" in items:
            raise Transient("Not recorded. Try again.")
        return items

    group = GroupCommit(handle)
    with pytest.raises(Transient):
        group.do("bad")
    assert group.do("good") == "good"
