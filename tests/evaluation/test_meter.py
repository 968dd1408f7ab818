import math
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.answers import Ruler
from aarlab.evaluation.meter import Meter, Question
from aarlab.evaluation.metered import NEVER
from aarlab.evaluation.policies import POLICIES, set_up_bits

N = 400  # standard error 0.025
STEP = 0.03125  # of the default policy there


def meter(path, policy="default"):
    return Meter(path / "meter" / "feedback.sqlite", POLICIES[policy], baseline=0.5, n=N)


def ask(made, key, accuracy, who="ann", campaign="one"):
    return made.tell([Question(key, campaign, who, accuracy)])[0]


def test_a_restart_goes_on_from_the_same_level_and_bits(tmp_path):
    first = meter(tmp_path)
    told = [ask(first, str(k), a) for k, a in enumerate((0.54, 0.51, 0.60, 0.55))]
    first.close()
    again = meter(tmp_path)
    assert again.channel == first.channel
    assert [t.answer.improved for t in told] == [True, False, True, False]
    assert again.channel.level == pytest.approx(0.5 + 3 * STEP)
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
    told = ask(other, "b", 0.6, who="bob", campaign="two")
    assert not told.answer.improved
    assert other.channel.level == pytest.approx(0.5 + 3 * STEP)
    by_campaign = one.state()["bits_by_campaign"]
    assert list(by_campaign) == ["one", "two"]
    assert sum(by_campaign.values()) == pytest.approx(one.channel.bits)
    assert one.asked_by("two") == {"b"}
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
    told = ask(strict, "new", 0.9)
    assert told.bits == pytest.approx(40 * math.log2(5 * N + 1))
    assert (told.answer.improved, told.outlook.tier, told.outlook.price_bits) == (False, "sealed", None)
    strict.close()


def test_processes_at_once_lose_no_answer_and_agree(tmp_path):
    program = (
        "import sys; from pathlib import Path; from aarlab.evaluation.meter import *; import aarlab.evaluation.metered\n"
        "from aarlab.evaluation.policies import POLICIES\n"
        f"m = Meter(Path(sys.argv[1]) / 'meter' / 'feedback.sqlite', POLICIES['default'], baseline=0.5, n={N})\n"
        "for k in range(40): m.tell([Question(f'{sys.argv[2]}/{k}', sys.argv[2], sys.argv[2], 0.5 + k / 200)])\n"
    )
    meter(tmp_path).close()
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "abc"]
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
    made._engine.dispose()
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
    told = ask(made, "a", 0.61)
    assert told.level == pytest.approx(0.5 + 3 * STEP)
    assert told.bits == pytest.approx(told.answer.bits)
    assert told.certified < told.level
    assert told.bound == pytest.approx(math.sqrt((told.bits * math.log(2) + math.log(41**3 * 15 / 0.05)) / (2 * N)))
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
        receipts = list(pool.map(lambda who: evaluator.submit(who, code["snapshot"], sent, Family.OTHER), map(str, range(16))))
    assert len({r.id for r in receipts}) == 1
    assert sum(not r.repeated for r in receipts) == 1
    assert evaluator.meter.state()["answers"] == 1


def test_a_baseline_that_is_measured_again_tells_nothing_more(tmp_path):
    meter(tmp_path).close()
    for baseline in (0.3, 0.8):
        again = Meter(tmp_path / "meter" / "feedback.sqlite", POLICIES["default"], baseline=baseline, n=N)
        assert again.channel.level == 0.5
        again.close()


@given(weak=st.floats(0.4, 0.7), gap=st.floats(0.001, 0.3), n=st.integers(20, 5000), level=st.floats(0, 1))
def test_a_told_pgr_knows_its_anchors_to_a_standard_error_only(weak, gap, n, level):
    """One of 2 sqrt(n) + 1 values each, which is what `set_up_bits` charges; and near the exact one."""
    told, step = Ruler(weak, weak + gap, weak).told(n), 0.5 / math.sqrt(n)
    for end, exact in ((told.weak, weak), (told.ceiling, weak + gap)):
        assert end / step == pytest.approx(round(end / step), abs=1e-3)
        assert abs(end - exact) <= 1.5 * step + 1e-5
    assert told.ceiling > told.weak
    assert told.pgr(told.weak) == 0
    assert told.pgr(told.ceiling) == pytest.approx(1)
    assert set_up_bits(n) == pytest.approx(3 * math.log2(2 * math.sqrt(n) + 1))
    assert math.isfinite(told.pgr(level))
