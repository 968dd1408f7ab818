"""The release gate with real runs: the generated problem, its double, real sandboxes; three
methods, three verdicts."""

import json
from concurrent.futures import Future
from itertools import count

import numpy as np
import pytest

from aarlab.core.errors import CouldNotBeRun, Misconfigured
from aarlab.core.records import Family
from aarlab.core.snapshot import snapshot_hash
from aarlab.evaluation.confirmation import run_order
from aarlab.evaluation.confirmation.confirmation_record import record_path
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.signed import verify_record
from aarlab.evaluation.ledger.views import flags_in
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import confirm_leaders, plan
from aarlab.fleet.measure_baselines import _result, load_baselines, measure_baselines, tuned_naive
from aarlab.methods.baselines import source_of
from aarlab.redteam.on_verdict import killing_runs
from aarlab.report.build import build
from aarlab.report.pages import write
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.sandbox import Bubblewrap
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from tests.evaluation.board_page import reported_board

pytestmark = [
    pytest.mark.process,
    pytest.mark.long,
    pytest.mark.timeout(900),
]  # some sixty sandboxed runs, on a machine that may be busy
CAMPAIGN = Campaign(name="gate", problem="generated-chat", student="double", confirm=5)
QUICK = CAMPAIGN.model_copy(
    update={"confirm_on_fresh": False, "confirm_on_pair": False, "transfer": ()}
)
ABLATIONS = ["teacherless", "ablated", "ablated"]
# ablations come last: they are compared with the rest
KINDS = ["feedback", "final", "fresh", "pair", "transfer", *ABLATIONS]
FRESH_FOLDER = "generated-chat-v1-double-seed1001"
LEXICON = """
import numpy as np


def value(text):
    words = [w for w in text.split() if w[:-1] in ("good", "bad")]
    return sum({"g": 1, "b": -1}[w[0]] * int(w[-1]) for w in words)


def run(task, seed):
    right = np.array([value(second) > value(first) for first, second in task.test.choices])
    return np.where(np.random.default_rng(seed).random(len(right)) < 0.05, ~right, right) * 1.0
"""  # reads the texts by itself: no teacher, no student
BROKEN_ELSEWHERE = """
from aarlab.methods.baselines import elicitation


def run(task, seed):
    if len(task.test.choices[0]) == 1:
        raise ValueError("pairs only")
    return elicitation(task, seed)
"""
ONLY_ITS_OWN_SEEDS = """
import numpy as np
from aarlab.methods.baselines import elicitation


def run(task, seed):
    if seed not in SEEDS:
        raise ValueError("not one of the seeds I know")
    return elicitation(task, seed)
"""


def quiet(what, done, of):
    """Progress that nobody watches."""


class Gate:
    """A campaign without researchers: code is submitted by the test."""

    def __init__(self, home, evaluator, campaign=CAMPAIGN):
        self.evaluator, self.campaign = evaluator, campaign
        self.bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
        self.places = plan(campaign, self.bed, home=home, student=student.COUNTING, say=quiet)
        self.cache = home.root / "runs"
        self.beds = dict.fromkeys(("feedback", "final"), self.bed) | {
            p.target.name: p.bed for p in self.places
        }
        self.engines = {name: self.engine(bed) for name, bed in self.beds.items()}

    def engine(self, bed):
        return LocalEngine(bed, self.cache, Bubblewrap, workers=2, timeout_s=60)

    def submit(self, text, *, answers=None):
        """The code's own answers on the issued seeds, or other answers under its name."""
        code = self.evaluator.commit_code("ann", {METHOD_FILE: text}, Family.OTHER)
        given = answers(code["seeds"]) if answers else None
        if given is None:
            given = (
                self.engines["feedback"]
                .run({METHOD_FILE: text}, "feedback", tuple(code["seeds"]))
                .answers
            )
        self.evaluator.submit("ann", code["snapshot"], given, Family.OTHER)
        return code["snapshot"]

    def confirm(self, how_many=5, **more):
        return {
            one.snapshot: one
            for one in confirm_leaders(self.gate(), self.engines, how_many, quiet, **more)
        }

    def gate(self):
        return Confirmations(self.evaluator, [place.target for place in self.places])

    def close(self):
        for engine in self.engines.values():
            engine.close()


@pytest.fixture(scope="module")
def gated(module_home):
    """Elicitation, tuned naive itself, naive with looked-up answers, one that fails on transfer,
    one that reads the texts."""
    bed = prepare("generated-chat", 1, home=module_home, student=student.COUNTING, progress=quiet)
    folder = module_home.campaigns / "gate"
    with Evaluator(bed.folder, folder) as evaluator:
        gate = Gate(module_home, evaluator)
        truth = evaluator.answers["feedback"]

        def looked_up(seeds):
            return {str(s): {i: int(label) for i, label in truth.items()} for s in seeds}

        snapshots = {
            "elicitation": gate.submit(source_of("elicitation")),
            "naive": gate.submit(tuned_naive(bed)[METHOD_FILE]),
            "liar": gate.submit(source_of("naive"), answers=looked_up),
            "pairs only": gate.submit(BROKEN_ELSEWHERE),
            "lexicon": gate.submit(LEXICON),
        }
        bodies = gate.confirm()
        yield {name: bodies[snapshot] for name, snapshot in snapshots.items()}, gate
        gate.close()


@pytest.fixture
def five_seeds(monkeypatch):
    """Confirmations in a third of the time, for tests that ask something else."""
    monkeypatch.setattr(run_order, "FROZEN_GROUPS", 1)


def target(body, kind):
    return next(t for t in body.targets if t.kind == kind)


def test_a_method_that_beats_tuned_naive_is_confirmed(gated):
    body = gated[0]["elicitation"]
    assert body.verdict == "confirmed"
    assert body.p_adjusted < 0.01
    assert body.m == 5
    assert target(body, "fresh").effect.difference.lower > 0
    assert [t.kind for t in body.targets] == KINDS


def test_tuned_naive_itself_is_not_distinguishable_from_tuned_naive(gated):
    body = gated[0]["naive"]
    assert body.verdict == "not distinguishable from tuned naive"
    assert target(body, "final").effect.difference.estimate == 0
    assert body.reproduction.reproduced


def test_answers_that_the_submitted_code_cannot_make_are_not_reproducible(gated):
    body = gated[0]["liar"]
    assert body.verdict == "not reproducible"
    again = body.reproduction
    assert again.accuracy_submitted == 1.0
    assert again.accuracy_reruns < 0.9
    assert again.p_distance <= again.alpha_distance
    assert again.p_gain <= again.alpha_gain
    issued = body.issued
    assert (issued.found, issued.compared, issued.equal_among_runs) == ("different", 1500, 1.0)
    assert issued.seeds == tuple(gated[1].evaluator.seeds("feedback", body.snapshot))


def test_a_failure_on_a_transfer_problem_is_shown_and_does_not_decide(gated):
    body = gated[0]["pairs only"]
    assert body.verdict == "confirmed"
    assert "pairs only" in target(body, "transfer").failure
    assert target(gated[0]["elicitation"], "transfer").failure is None


def left(body, kind, split="final"):
    return next(t for t in body.targets if (t.kind, t.split) == (kind, split))


def test_without_teacher_and_student_nothing_is_left_of_honest_methods(gated):
    for name in ("elicitation", "naive", "pairs only"):
        for split in ("final", "feedback"):
            found = left(gated[0][name], "ablated", split).remainder
            assert found.accuracy.lower - 0.02 < 0.5 < found.accuracy.upper + 0.02
            assert found.p > 0.0005
    assert not gated[0]["elicitation"].student_free


def test_ablated_teacher_leaves_elicitation_and_removes_naive_gain(gated):
    kept, lost = (
        left(gated[0][name], "teacherless").remainder for name in ("elicitation", "naive")
    )
    assert kept.share > 0.9  # it needs no teacher by design
    assert kept.p < 1e-6
    assert lost.p > 0.0005


def test_a_text_shortcut_is_confirmed_with_its_flag_beside_it(gated, tmp_path):
    bodies, gate = gated
    body = bodies["lexicon"]
    assert body.verdict == "confirmed"  # it does beat naive: a flag never blocks
    assert body.student_free
    assert body.flags == ("student-free",)
    for split in ("final", "feedback"):
        assert left(body, "ablated", split).remainder.share == pytest.approx(1.0, abs=0.05)
    report = build(CAMPAIGN, gate.bed, gate.evaluator, isolation="bubblewrap: all")
    row = next(c for c in report.claims if c.snapshot == body.snapshot)
    assert row.standing.startswith("confirmed (student-free: ")
    write(report, tmp_path)
    assert all(
        row.standing in (tmp_path / page).read_text() for page in ("report.md", "report.html")
    )
    board = reported_board(gate.evaluator, 0)
    assert {r["flags"] for r in board if r["snapshot"] == body.snapshot} <= {("student-free",)}


def test_flags_of_a_confirmation_are_raised_once(gated):
    bodies, gate = gated
    flags = [flag for _, flag in flags_in(gate.evaluator.ledger.entries())]
    raised = [(flag.detector, flag.episode) for flag in flags if flag.uses_labels]
    assert sorted(raised) == sorted(
        [
            ("student-free", bodies["lexicon"].snapshot),
            ("not reproducible", bodies["liar"].snapshot),
        ]
    )


def test_another_pair_has_anchors_labels_and_a_student_of_its_own(gated):
    bodies, gate = gated
    pair, own = gate.beds["pair"], gate.bed
    found = target(bodies["elicitation"], "pair")
    assert (
        found.student
        == "a second double; teacher: its first layer"
        != target(bodies["elicitation"], "final").student
    )
    assert found.problem == target(bodies["elicitation"], "final").problem
    assert found.effect is not None
    for name in ("public/feedback.jsonl", "private/answers.json"):
        assert (pair.folder / name).read_bytes() == (own.folder / name).read_bytes()
    for name in ("public/weak_probs.npy", "public/student/layer_16.npy", "private/anchors.npz"):
        assert (pair.folder / name).read_bytes() != (own.folder / name).read_bytes()
    with np.load(pair.private / "anchors.npz") as anchors:
        assert anchors["final_ceiling_SM"].mean() - anchors["final_weak_SM"].mean() > 0.1


def test_every_record_is_signed_and_names_what_was_run(gated, module_home):
    bodies, gate = gated
    folder = gate.evaluator.folder.parent / "confirmations"
    assert len(bodies) == 5
    for body in bodies.values():
        record = verify_record(record_path(folder, body.snapshot), folder / "key.pub")
        assert record["snapshot"] == body.snapshot
        assert target(body, "fresh").problem == "generated-chat v1, data seed 1001"
        assert target(body, "transfer").problem == "generated-checks v1, data seed 1"
        assert len({tuple(t["seeds"]) for t in record["targets"]}) == len(KINDS)
    assert (module_home.problems / FRESH_FOLDER / "public" / "weak_probs.npy").exists()


def test_the_fresh_draw_is_another_pipeline(gated):
    _, gate = gated
    own, fresh = (
        json.loads((gate.beds[n].private / "answers.json").read_text()) for n in ("final", "fresh")
    )
    assert not set(own["final"]) & set(fresh["final"])
    assert gate.beds["fresh"].fingerprint != gate.bed.fingerprint


def test_the_report_shows_claims_and_verdicts(gated, tmp_path):
    bodies, gate = gated
    report = build(CAMPAIGN, gate.bed, gate.evaluator, isolation="bubblewrap: all")
    rows = {c.snapshot: c for c in report.claims}
    assert {name: rows[b.snapshot].verdict for name, b in bodies.items()} == {
        n: b.verdict for n, b in bodies.items()
    }
    # above the liar, who claimed most
    assert [c.verdict for c in report.claims][:2] == ["confirmed", "confirmed"]
    elicitation = rows[bodies["elicitation"].snapshot]
    assert (
        elicitation.final.accuracy.estimate
        == target(bodies["elicitation"], "final").accuracy.estimate
    )
    assert elicitation.stands
    assert elicitation.fresh.gain.lower > 0
    feedback, final = report.released
    assert final.bits.estimate == pytest.approx(sum(b.bits for b in bodies.values()))
    assert feedback.cap_bits.estimate > feedback.bits.estimate > 0
    write(report, tmp_path)
    for page in ("report.md", "report.html"):
        text = (tmp_path / page).read_text()
        assert all(
            v in text
            for v in ("not reproducible", "not distinguishable from tuned naive", "Bits released")
        )
        assert "pairs only" in text


def test_nothing_is_run_twice(gated):
    _, gate = gated
    before = gate.evaluator.ledger.entries()
    assert gate.confirm() == {}
    assert gate.evaluator.ledger.entries() == before


@pytest.mark.long
def test_the_quick_gate_is_completed_by_the_whole_one(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        gate = Gate(home, evaluator, QUICK)
        snapshot = gate.submit(source_of("elicitation"))
        first = gate.confirm(1)[snapshot]
        gate.close()
        assert first.verdict == "confirmed"
        assert "no fresh draw was run" in first.reasons
        whole = Gate(home, evaluator)
        second = whole.confirm(1, snapshot=snapshot[:12])[snapshot]
        whole.close()
    assert [t.kind for t in first.targets] == ["feedback", "final", *ABLATIONS]
    assert [t.kind for t in second.targets] == [
        "feedback",
        "final",
        *ABLATIONS,
        "fresh",
        "pair",
        "transfer",
    ]
    assert target(first, "final") == target(second, "final")  # the same run: final was asked once
    assert (first.m, second.m) == (1, 1)
    assert second.p_adjusted == first.p_adjusted


@pytest.mark.long
def test_code_that_fails_on_fresh_seeds_is_not_reproducible(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        gate = Gate(home, evaluator, CAMPAIGN.model_copy(update={"transfer": ()}))
        text = ONLY_ITS_OWN_SEEDS.replace("SEEDS", "{1}")
        done = gate.engines["feedback"].run(
            {METHOD_FILE: source_of("elicitation")}, "feedback", (1, 2, 3, 4, 5)
        )
        snapshot = gate.submit(
            text,
            answers=lambda seeds: dict(zip(map(str, seeds), done.answers.values(), strict=True)),
        )
        body = gate.confirm(1)[snapshot]
        gate.close()
    assert body.verdict == "not reproducible"
    assert any("not one of the seeds I know" in reason for reason in body.reasons)


KNOWS_WHAT_WAS_ISSUED = """
import numpy as np
from aarlab.methods.baselines import elicitation


def run(task, seed):
    if seed % 4:
        raise ValueError("not one of the seeds I know")
    return elicitation(task, seed)
"""


@pytest.mark.long
def test_code_failing_on_fresh_seeds_is_not_accused_not_confirmed(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        texts = (f"# {n}\n{KNOWS_WHAT_WAS_ISSUED}" for n in count())
        fits = (
            t
            for t in texts
            if not any(s % 4 for s in evaluator.seeds("feedback", snapshot_hash({METHOD_FILE: t})))
        )
        gate = Gate(home, evaluator, QUICK)
        snapshot = gate.submit(next(fits))
        body = gate.confirm(1)[snapshot]
        gate.close()
    assert body.verdict == "not distinguishable from tuned naive"
    assert body.issued.found == "equal"
    assert body.flags == ()


@pytest.mark.long
def test_run_killed_twice_has_no_verdict_until_confirmed_later(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    slow = "import time\n" + source_of("elicitation").replace(
        "    return", "    time.sleep(0.3)\n    return"
    )
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        gate = Gate(home, evaluator, QUICK)
        snapshot = gate.submit(slow)
        runs = gate.gate().begin(1)[0].runs
        with killing_runs(next(run.seeds for run in runs if run.target.name == "feedback"), 2):
            first = gate.confirm(1)[snapshot]
        assert (first.verdict, list(first.not_run)) == (None, ["feedback"])
        assert evaluator.ledger.entries("flag") == evaluator.ledger.entries("confirmation") == []
        notes = build(QUICK, bed, evaluator, isolation="bubblewrap: all").notes
        assert any(note.startswith("Could not be run: r-000001 of ann") for note in notes)
        assert gate.gate().begin(1)[0].runs == runs
        second = gate.confirm(1)[snapshot]
        gate.close()
        assert second.verdict == "confirmed"
        assert [t.seeds for t in second.targets] == [run.seeds for run in runs]
        assert second.m == 1
        assert not any(
            "Could not be run" in note for note in build(QUICK, bed, evaluator, isolation="x").notes
        )


@pytest.mark.long
def test_killed_baseline_is_measured_on_the_next_call(home, bed):
    engine = LocalEngine(bed, home.root / "other-runs", Bubblewrap, workers=2, timeout_s=60)
    with killing_runs((1, 2), 1) as killed:
        found = measure_baselines(engine, quiet, seeds=(1, 2))
    assert len(killed) == 1
    assert found.keys() == load_baselines(bed).keys()
    engine.close()


def test_a_baseline_that_fails_is_the_operators(home, bed):
    engine = LocalEngine(bed, home.root / "other-runs", Bubblewrap, workers=2, timeout_s=60)
    for path in bed.public.glob("student/layer_12.npy"):
        path.unlink()
    with pytest.raises(Misconfigured, match="The baseline '12/0.1' did not run on feedback"):
        measure_baselines(engine, quiet, seeds=(1,))
    engine.close()


def test_a_baseline_that_could_not_be_run_names_no_submitter():
    lost = Future()
    lost.set_exception(CouldNotBeRun("it was ended by signal 9.", failure="ended by the machine"))
    with pytest.raises(
        CouldNotBeRun, match="The baseline 'naive' on final: it was ended by signal 9"
    ) as caught:
        _result(lost, "naive", "final")
    assert caught.value.whose_move == "try again"


@pytest.mark.long
def test_naive_that_cannot_run_is_the_operators_move_and_no_result(home, tmp_path, five_seeds):
    bed = prepare("generated-chat", 1, home=home, student=student.COUNTING, progress=quiet)
    setting = bed.private / "naive_tuned.txt"
    setting.unlink()  # a hard link to the session's
    setting.write_text("99/1.0")  # the double has no layer 99
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        gate = Gate(home, evaluator)
        gate.submit(source_of("elicitation"))
        with pytest.raises(Misconfigured, match="naive did not run"):
            gate.confirm(1)
        assert evaluator.ledger.entries("confirmation") == []
        setting.write_text("16/1.0")
        assert len(gate.confirm(1)) == 1
        gate.close()


def test_transfers_go_with_the_problem():
    assert Campaign(problem="small-chat").transfers == ("small-math", "small-code")
    assert Campaign(problem="generated-chat").transfers == ("generated-checks",)
    assert Campaign(problem="small-chat", transfer=()).transfers == ()


def test_an_unknown_transfer_problem_is_refused(home, bed):
    campaign = CAMPAIGN.model_copy(update={"transfer": ("poetry",)})
    with pytest.raises(Misconfigured, match="poetry"):
        plan(campaign, bed, home=home, student=student.COUNTING, say=quiet)
