import math
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.scoring.default_policy import NEVER
from aarlab.evaluation.scoring.hidden_labels import PgrScale
from aarlab.evaluation.scoring.meter import Meter, MeteredSubmission
from aarlab.evaluation.scoring.policies import POLICIES, set_up_bits, start
from aarlab.evaluation.scoring.units import Units

N = 400  # standard error 0.025
STEP = 0.025  # of the default policy there


def meter(path, policy="default"):
    return Meter(path / "meter" / "feedback.sqlite", POLICIES[policy], baseline=0.5, n=N)


def ask(made, key, accuracy, who="ann", campaign="one"):
    return made.answer_all([MeteredSubmission(key, campaign, who, accuracy)])[0]


def test_a_restart_goes_on_from_the_same_level_and_bits(tmp_path):
    first = meter(tmp_path)
    reported = [ask(first, str(k), a) for k, a in enumerate((0.54, 0.51, 0.60, 0.55))]
    first.close()
    again = meter(tmp_path)
    assert again.channel == first.channel
    assert [t.answer.improved for t in reported] == [True, False, True, False]
    assert again.channel.level == pytest.approx(0.5 + 4 * STEP)
    again.close()


def test_the_same_question_is_answered_from_memory_in_any_campaign(tmp_path):
    one, other = meter(tmp_path), meter(tmp_path)
    first = ask(one, "a", 0.6)
    before = one.channel.released
    again = ask(other, "a", 0.6, who="bob", campaign="two")
    assert again.repeated
    assert again.answer == first.answer
    assert other.channel.released == before
    for made in (one, other):
        made.close()


def test_campaigns_share_one_budget(tmp_path):
    """Two meters over one store see each other's answers at the next question."""
    one, other = meter(tmp_path), meter(tmp_path)
    ask(one, "a", 0.6, campaign="one")
    reported = ask(other, "b", 0.6, who="bob", campaign="two")
    assert not reported.answer.improved
    assert other.channel.level == pytest.approx(0.5 + 4 * STEP)
    by_campaign = one.state()["bits_by_campaign"]
    assert list(by_campaign) == ["one", "two"]
    assert sum(by_campaign.values()) == pytest.approx(one.channel.bits)
    assert one.answers_to("two").keys() == {"b"}
    assert one.channel == other.channel
    for made in (one, other):
        made.close()


def test_a_generous_policy_uses_up_the_default_ones_budget(tmp_path):
    """Bits belong to the label set, whatever policy released them."""
    generous = meter(tmp_path, "exact")
    for k in range(40):
        ask(generous, str(k), 0.5)
    generous.close()
    strict = meter(tmp_path)
    reported = ask(strict, "new", 0.9)
    assert reported.bits == pytest.approx(40 * math.log2(5 * N + 1))
    assert (reported.answer.improved, reported.outlook.tier, reported.outlook.price_bits) == (
        False,
        "sealed",
        None,
    )
    strict.close()


@pytest.mark.process
def test_processes_at_once_lose_no_answer_and_agree(tmp_path):
    program = (
        "import sys; from pathlib import Path; from aarlab.evaluation.scoring.meter import *\n"
        "import aarlab.evaluation.scoring.default_policy\n"
        "from aarlab.evaluation.scoring.policies import POLICIES\n"
        "m = Meter(Path(sys.argv[1]) / 'meter' / 'feedback.sqlite', POLICIES['default'], "
        f"baseline=0.5, n={N})\n"
        "for k in range(40): m.answer_all([MeteredSubmission(f'{sys.argv[2]}/{k}', sys.argv[2], "
        "sys.argv[2], 0.5 + k / 200)])\n"
    )
    meter(tmp_path).close()
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "abc"
    ]
    assert [p.wait(60) for p in running] == [0, 0, 0]
    made = meter(tmp_path)
    assert made.state()["answers"] == 120
    assert made.channel.released <= POLICIES["default"].cap_bits(N) + math.log2(1 / NEVER)
    made.close()


def test_what_could_not_be_written_was_not_decided(tmp_path):
    made = meter(tmp_path)
    ask(made, "a", 0.55)
    before = made.state()
    lock = sqlite3.connect(tmp_path / "meter" / "feedback.sqlite", isolation_level=None)
    made.close()
    lock.execute("DROP TABLE answers")
    with pytest.raises(Transient, match="Not recorded"):
        ask(made, "b", 0.9)
    lock.close()
    assert before["answers"] == 1
    assert made.channel.level == 0.5  # nothing of the undecided answer is kept in memory
    made.close()


def test_a_meter_of_other_labels_is_refused(tmp_path):
    made = meter(tmp_path)
    ask(made, "a", 0.55)
    made.close()
    with pytest.raises(Misconfigured, match="Do not exchange private files"):
        Meter(tmp_path / "meter" / "feedback.sqlite", POLICIES["default"], baseline=0.5, n=N + 1)


def test_the_receipts_figures_are_the_channels(tmp_path):
    made = meter(tmp_path)
    reported = ask(made, "a", 0.61)
    assert reported.level == pytest.approx(0.5 + 4 * STEP)
    assert reported.bits == pytest.approx(reported.answer.bits)
    assert reported.certified < reported.level
    dealt = math.log(2**N / math.comb(N, N // 2))  # half of the labels are 1
    assert reported.bound == pytest.approx(
        math.sqrt(
            (reported.bits * math.log(2) + math.log((10 * N + 1) ** 3 * 15 / 0.05) + dealt)
            / (2 * N)
        )
    )
    state = made.state("ann")
    assert state["cap_bits"] == pytest.approx(made._policy.cap_bits(N))
    assert state["improvements"] == 1
    made.close()


def test_threads_of_one_process_are_grouped_by_the_evaluator(evaluator, answers):
    """Sixteen threads with one and the same submission get one answer, and it is charged once."""
    from aarlab.core.records import Family

    code = evaluator.commit_code("ann", {"method.py": "#"}, Family.OTHER)
    sent = {str(s): dict(answers["feedback"]) for s in code["seeds"]}
    with ThreadPoolExecutor(16) as pool:
        receipts = list(
            pool.map(
                lambda _: evaluator.submit("ann", code["snapshot"], sent, Family.OTHER),
                range(16),
            )
        )
    assert len({r.id for r in receipts}) == 1
    assert sum(not r.repeated for r in receipts) == 1
    assert evaluator.meter.state()["answers"] == 1


def test_a_baseline_that_is_measured_again_tells_nothing_more(tmp_path):
    meter(tmp_path).close()
    for baseline in (0.3, 0.8):
        again = Meter(
            tmp_path / "meter" / "feedback.sqlite", POLICIES["default"], baseline=baseline, n=N
        )
        assert again.channel.level == 0.5
        again.close()


@given(weak=st.floats(0.4, 0.7), gap=st.floats(0.02, 0.3), n=st.integers(20, 5000))
def test_the_told_scale_is_the_operators_to_a_twentieth_of_an_item(weak, gap, n):
    """0 is the weak teacher and 1 the ceiling, whose values are among the 10 n + 1 that
    `set_up_bits` charges."""
    reported = PgrScale(weak, weak + gap, weak).released(n)
    for end, exact in (
        (reported.weak, weak),
        (reported.ceiling, weak + gap),
        (reported.start, weak),
    ):
        assert end * 10 * n == pytest.approx(round(end * 10 * n), abs=1e-6)
        assert abs(end - exact) <= 0.05 / n + 1e-12
    assert reported == reported.released(n)
    assert set_up_bits(n) == pytest.approx(3 * math.log2(10 * n + 1))


def test_weak_teacher_and_equal_baseline_have_pgr_0():
    """Chat: weak .528, ceiling .7325; on the grid of standard errors they were reported as -0.034
    and -0.07."""
    for n in (600, 1_263, 2_004, 10_000):
        reported = PgrScale(0.528, 0.7325, 0.528).released(n)
        assert reported.pgr(start(reported.start, n).level) == 0
        assert reported.pgr(0.528) == pytest.approx(0, abs=0.0005)
        assert reported.pgr(0.7325) == pytest.approx(1, abs=0.0005)
        assert reported.pgr_of_difference(0.2045) == pytest.approx(1, abs=0.0005)


def test_a_second_scale_is_charged_once_whoever_brings_it(tmp_path):
    """Anchors that other code measured are two more accuracies of the hidden labels."""

    def opened(*ends):
        return Meter(tmp_path / "m.sqlite", POLICIES["default"], baseline=0.5, n=N, ends=ends)

    first = opened(0.5, 0.8)
    alone = first.now("ann").outlook.slack_bits
    opened(0.5, 0.8).close()
    assert first.now("ann").outlook.slack_bits == alone
    for _ in range(2):
        opened(0.5, 0.9).close()
        assert first.now("ann").outlook.slack_bits == pytest.approx(
            alone + 2 * math.log2(10 * N + 1)
        )
    assert first.now("ann").verdict_bits == 0
    assert first.channel.gap == pytest.approx(0.3), "a step never changes"
    first.close()


def test_a_meter_of_the_older_scale_is_opened_and_keeps_its_level(tmp_path):
    """Its start was rounded down to a standard error, and it knows no ends."""
    made = meter(tmp_path)
    ask(made, "a", 0.61)
    made.close()
    with sqlite3.connect(tmp_path / "meter" / "feedback.sqlite") as store:
        store.execute("DROP TABLE ends")
        store.execute("DROP TABLE head")
        store.execute("UPDATE origin SET level = 0.475")
    store.close()
    again = Meter(
        tmp_path / "meter" / "feedback.sqlite",
        POLICIES["default"],
        baseline=0.49,
        n=N,
        ends=(0.5, 0.9),
    )
    assert again._begun.level == 0.475
    assert again.channel.level == pytest.approx(0.5 + 4 * STEP)
    again.close()


# --- groups ---------------------------------------------------------------------------------------


def grouped(path, each):
    """A meter of N items in groups of so many."""
    units = Units((each,) * (N // each), (N * each,))
    return Meter(path / "meter" / "feedback.sqlite", POLICIES["default"], baseline=0.5, n=units)


def test_items_in_groups_of_four_are_metered_as_a_quarter_of_the_labels(tmp_path):
    made, alone = grouped(tmp_path / "groups", 4), meter(tmp_path / "alone")
    here, there = made.now("ann"), alone.now("ann")
    assert here.outlook.cap_bits == there.outlook.cap_bits / 4
    assert here.outlook.next_step - here.level == pytest.approx(
        2 * (there.outlook.next_step - there.level)
    )
    assert here.bound > 1.8 * there.bound
    state = made.state()
    assert (state["items"], state["independent_labels"]) == (N, N // 4)
    made.close()
    alone.close()


def test_groups_that_are_found_later_count(tmp_path):
    first = meter(tmp_path)
    ask(first, "a", 0.6)
    before = first.now("ann")
    first.close()
    later = grouped(tmp_path, 4)
    after = later.now("ann")
    later.close()
    assert (after.level, after.bits) == (before.level, before.bits)
    assert after.bound > 1.8 * before.bound
    assert later.channel.beside == pytest.approx(Units((4,) * 100, (1600,)).deal_bits)


def test_groups_that_are_taken_away_are_missed(tmp_path):
    grouped(tmp_path, 4).close()
    with pytest.raises(Misconfigured, match=r"100 independent labels.*groups\.json"):
        meter(tmp_path)
    grouped(tmp_path, 8).close()


def test_a_meter_of_before_there_were_groups_is_still_read(tmp_path):
    first = meter(tmp_path)
    ask(first, "a", 0.6)
    first.close()
    with closing(sqlite3.connect(tmp_path / "meter" / "feedback.sqlite")) as connection:
        connection.execute("DROP TABLE counted")
        connection.commit()
    again = meter(tmp_path)
    assert again.channel == first.channel
    again.close()
