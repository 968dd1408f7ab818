"""Whoever submits is answered, whatever fails in the round that takes it up."""

import asyncio
from contextlib import closing
from types import SimpleNamespace

import pytest

from aarlab.evaluation.submission_queue import MOST, SubmissionQueue


class Failing:
    """An evaluator and its handlers, of which one step raises."""

    def __init__(self, step: str) -> None:
        self._step = step

    def _reached(self, step: str) -> None:
        if step == self._step:
            raise ArithmeticError(step)

    def pending(self, token, body):
        self._reached("reading")

    def submit_all(self, some, reported):
        self._reached("recording")
        reported(["no future" for _ in some])

    @property
    def state_keeper(self):
        return SimpleNamespace(keep_if_due=lambda: self._reached("state_keeper"))


@pytest.mark.parametrize("step", ["reading", "recording", "telling"])
def test_each_that_waits_gets_the_error(step):
    failing = Failing(step)

    async def attempt():
        with closing(SubmissionQueue(failing, failing)) as queue:
            async with asyncio.timeout(10):
                return await asyncio.gather(
                    *(queue.submit("token", b"{}") for _ in range(3)), return_exceptions=True
                )

    kind = AttributeError if step == "telling" else ArithmeticError
    assert [type(error) for error in asyncio.run(attempt())] == [kind] * 3


class Counting:
    """An evaluator and its handlers, which answer each submission with its own body."""

    def __init__(self):
        self.rounds = []

    def pending(self, token, body):
        return body

    def submit_all(self, some, reported):
        self.rounds.append(len(some))
        reported([Answered(body) for body in some])

    state_keeper = SimpleNamespace(keep_if_due=lambda: None)


class Answered:
    """A receipt that is there."""

    def __init__(self, body):
        self._body = body

    def exception(self):
        return None

    def result(self):
        return self

    def model_dump_json(self):
        return self._body.decode()


def test_all_that_wait_are_answered_in_rounds_of_the_most_that_go_into_one():
    counting, bodies = Counting(), [b"%d" % n for n in range(3 * MOST + 1)]

    async def all_at_once():
        with closing(SubmissionQueue(counting, counting)) as queue:
            async with asyncio.timeout(10):
                return await asyncio.gather(*(queue.submit("token", body) for body in bodies))

    assert asyncio.run(all_at_once()) == bodies
    assert sum(counting.rounds) == len(bodies)
    assert max(counting.rounds) <= MOST
