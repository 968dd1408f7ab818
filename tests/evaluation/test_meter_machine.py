"""Policy and meter as a state machine: two meters over one store, restarts, repeats, against a
channel on the side."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aarlab.evaluation.scoring.default_policy import NEVER, MeteredLadder
from aarlab.evaluation.scoring.meter import Meter, MeteredSubmission
from aarlab.evaluation.scoring.policies import start

N, BASELINE = 400, 0.5
POLICY = MeteredLadder(60, cap_share=1 / 5)
WHO = st.sampled_from(["ann", "bob", "eve", *(f"late-{number}" for number in range(12))])
EITHER = st.sampled_from([0, 1])


class Metered(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.meters = [self._open(), self._open()]
        self.model, self.answers = start(BASELINE, N), {}

    def _open(self):
        return Meter(self.folder / "meter.sqlite", POLICY, baseline=BASELINE, n=N)

    def teardown(self):
        for meter in self.meters:
            meter.close()
        shutil.rmtree(self.folder)

    @rule(
        which=EITHER, sent=st.lists(st.tuples(WHO, st.integers(-30, 120)), min_size=1, max_size=4)
    )
    def ask(self, which, sent):
        """A batch of bundles: correct answers out of n, relative to the level. The question is
        named by its accuracy."""
        base = round(self.model.level * N)
        asked = [(who, min(max(base + more, 0), N)) for who, more in sent]
        reported = self.meters[which].answer_all(
            [MeteredSubmission(str(count), "one", who, count / N) for who, count in asked]
        )
        for (who, count), got in zip(asked, reported, strict=True):
            if (known := self.answers.get(count)) is not None:
                assert got.repeated
                assert got.answer == known
                continue
            expected = POLICY.answer(self.model, who, count / N)
            assert not got.repeated
            assert (got.answer.improved, got.answer.level) == (
                expected.improved,
                pytest.approx(expected.level),
            )
            self.model.record(who, expected)
            self.answers[count] = got.answer
            assert got.level == pytest.approx(self.model.level)
            assert got.bits == pytest.approx(self.model.released)

    @rule(which=EITHER, who=WHO)
    def repeat(self, which, who):
        """Anybody's repeat of anything, at either process, is answered as before and costs
        nothing."""
        for count, known in self.answers.items():
            got = self.meters[which].answer_all(
                [MeteredSubmission(str(count), "two", who, count / N)]
            )[0]
            assert (got.repeated, got.answer) == (True, known)
            assert got.bits == pytest.approx(self.model.released)

    @rule(which=EITHER)
    def restart(self, which):
        self.meters[which].close()
        self.meters[which] = self._open()
        assert self.meters[which].channel.bits == pytest.approx(self.model.bits)

    @rule(which=EITHER)
    def look(self, which):
        state = self.meters[which].state("ann")
        assert state["answers"] == len(self.answers)
        assert state["level_accuracy"] == pytest.approx(self.model.level)
        assert state["bits"] == pytest.approx(self.model.released)

    @invariant()
    def within_the_cap(self):
        cap = POLICY.cap_bits(N)
        for channel in (self.model, *(meter.channel for meter in self.meters)):
            assert channel.bits <= cap + 1e-9
            assert channel.passed <= 1 - NEVER + 1e-9
            assert all(spent <= cap / 2 + 1e-9 for spent in channel.spent.values())


Metered.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_policy_and_meter_as_one_machine = Metered.TestCase
