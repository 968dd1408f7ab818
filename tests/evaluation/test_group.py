import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core.errors import Transient
from aarlab.evaluation.ledger.group_commit import GroupCommit


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
        while group.waiting < 19:  # all wait for the first batch
            time.sleep(0.001)
        go.set()
        assert [f.result() for f in [leader, *others]] == [2 * n for n in range(20)]
    assert batches == [1, 19]


def held(group, items):
    """What each of these gets, where all waited for one batch."""
    with ThreadPoolExecutor(len(items)) as pool, group._turn:
        sent = [pool.submit(group.do, item) for item in items]
        while group.waiting < len(items):
            time.sleep(0.001)
        group._turn.release()
        found = [future.exception() or future.result() for future in sent]
        group._turn.acquire()
    return found


def test_failed_request_fails_alone_and_failed_store_fails_the_batch():
    calls = []

    def handle(items):
        calls.append(len(items))
        if "full" in items:
            raise Transient("Not recorded. Try again.")
        if "bad" in items:
            raise ValueError("bad")
        return items

    group = GroupCommit(handle)
    found = held(group, ["a", "bad", "b"])
    assert [found[0], type(found[1]), found[2]] == ["a", ValueError, "b"]
    calls.clear()
    assert [type(one) for one in held(group, ["a", "full"])] == [Transient, Transient]
    assert calls == [2], "a store that is busy is waited for once, not once a caller"


def test_batch_failure_reaches_every_caller_and_the_next_batch_runs():
    def handle(items):
        if "bad" in items:
            raise Transient("Not recorded. Try again.")
        return items

    group = GroupCommit(handle)
    with pytest.raises(Transient):
        group.do("bad")
    assert group.do("good") == "good"


def test_what_comes_after_a_batch_is_done_though_nobody_can_be_reported():
    seen = []

    def gone(_):
        raise RuntimeError("the event loop is closed")

    group = GroupCommit(lambda items: items, lambda: seen.append("after"))
    with pytest.raises(RuntimeError):
        group.do_all([1], gone)
    assert seen == ["after"]
