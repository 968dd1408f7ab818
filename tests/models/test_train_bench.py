"""The training benchmark: its arms agree and it can tell when they do not; its counts are those of
published configurations."""

import functools
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from aarlab.models.preset import Recipe
from aarlab.models.tuned import base_model
from experiments.train import agree, lengths, plan, shapes
from experiments.train import run as order
from experiments.train.__main__ import main
from experiments.train.clock import Deadline, Steps
from experiments.train.measure import alone, leak, time_once
from experiments.train.original import Trained
from experiments.train.plan import PLANS
from experiments.train.random_items import RandomItems, config_of, draw
from experiments.train.report import Row, Work, ratio, table


@pytest.fixture
def run(monkeypatch, capsys):
    """The command in this process: its exit status and what it printed."""

    def command(*asked: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["experiments.train", *asked])
        return main(), capsys.readouterr().out

    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # the command sets them; restored after the test
    threads = torch.get_num_threads()
    yield command
    torch.set_num_threads(threads)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_arms_agree(run, tmp_path):
    status, printed = run("--preset", "ci", "--out", str(tmp_path / "found.json"))
    assert status == 0, printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["agrees"]
    assert {
        (d["arm"], d["what"].partition(",")[0].partition(" of ")[0]) for d in found["differences"]
    } >= {
        (arm, what)
        for arm in ("b", "b2")
        for what in ("losses", "label logits", "gradients", "leak between neighbours")
    }
    assert all(d["found"] == 0 for d in found["differences"] if d["what"].startswith("leak"))
    assert {row["rung"] for row in found["rows"] if row["tok_s"]} == {"a", "b", "b2"}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_packs_without_boundaries_are_found_out(run, monkeypatch):
    """One item attends to the next when the boundaries are gone: nothing fails, and every number is
    wrong."""
    whole_run = base_model.BaseTransformer.run

    def without_boundaries(self, states, pack, first, last):
        whole = torch.tensor([0, pack.ids_1T.shape[1]], dtype=torch.int32)
        return whole_run(
            self, states, replace(pack, starts=whole, longest=int(whole[1])), first, last
        )

    monkeypatch.setattr(base_model.BaseTransformer, "run", without_boundaries)
    status, printed = run("--preset", "ci")
    assert status == 1, printed
    disagree = [line for line in printed.splitlines() if "DISAGREES" in line]
    assert any("leak between neighbours" in line for line in disagree)
    assert any("label logits" in line for line in disagree)
    assert printed.rstrip().splitlines()[-1].startswith("ARMS DISAGREE")


def test_gpu_preset_without_a_gpu_says_so(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("--preset", "h200") == (2, "No GPU is seen here. The CPU preset: make bench-train\n")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_gpu_preset_measures_every_rung_but_the_one_that_breaks(run, monkeypatch, tmp_path):
    """Order, bf16 and autocast are the GPU's; the CPU computes, shapes are tiny, and nothing is
    compiled."""
    small = {
        "shape": shapes.SMALLEST,
        "rank": 4,
        "mean_tokens": 24,
        "batch": 8,
        "steps": 2,
        "test_items": 8,
    }
    monkeypatch.setitem(
        plan.PLANS, "h200", replace(plan.PLANS["h200"], pack_tokens=(96, 192), **small)
    )
    for name in ("TINY", "QWEN15_05B"):
        monkeypatch.setattr(order, name, shapes.SMALLEST)
    for name in ("AGREEMENT_MEAN", "MEAN_TOKENS"):
        monkeypatch.setattr(order, name, 24)
    whole_rung = order.rung

    def rung(weights, plan, name, device):
        if name == "b1" and weights.name == "4b":
            raise RuntimeError("no kernel image")
        return whole_rung(weights, plan, name, device)

    monkeypatch.setattr(order, "rung", rung)
    monkeypatch.setattr(
        "experiments.train.run.on_gpu", functools.partial(order.on_gpu, device="cpu")
    )
    status, printed = run("--preset", "h200", "--out", str(tmp_path / "found.json"))
    assert status == 0, printed
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert sorted(row["rung"] for row in rows if row["tok_s"]) == [
        "a",
        "b",
        "b2",
        "b3",
        "b3",
        "teacher",
    ]
    (broken,) = (row for row in rows if not row["tok_s"])
    assert (broken["rung"], broken["note"]) == ("b1", "failed: RuntimeError: no kernel image")
    assert "0.5B teacher: " in printed


@pytest.mark.parametrize(
    ("shape", "total_billions"),
    [(shapes.QWEN3_4B, 4.02), (shapes.QWEN15_05B, 0.464), (shapes.TINY, 0.0055)],
)
def test_weights_are_those_of_the_configuration(shape, total_billions):
    """transformers counts the same maps; the published sizes are 4.0 and 0.46 billion."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(shape, 64))
    maps = [m.weight.numel() for name, m in model.named_modules() if name.endswith("_proj")]
    assert (sum(maps), len(maps)) == (shape.linear, 7 * shape.layers)
    assert model.lm_head.weight.shape == (shape.vocabulary, shape.width)
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(
        total_billions, rel=0.01
    )


def test_operations_of_one_layer_by_hand():
    """Width 2, one head of 2, inner 3, vocabulary 5, rank 1: maps of 4 x 4 + 3 x 6, adapters of 4 x
    4 + 3 x 5 weights."""
    shape, recipe, three = (
        shapes.Shape(1, 2, 3, 1, 1, 2, 5, tied=True),
        Recipe(rank=1),
        np.array([3]),
    )
    attention = 2 * 2 * 2 * 9 / 2  # two products, half the square
    forward = 2 * (34 + 31) * 3 + attention
    backward = 2 * 34 * 3 + 4 * 31 * 3 + 2 * attention
    head = 2 * 2 * 2 * 5  # of one position, forward and back
    assert shapes.context(three) == 3
    assert shapes.needed(shape, recipe, three) == forward + backward + 2 * head
    assert shapes.needed(shape, recipe, np.array([3, 3])) == 2 * shapes.needed(shape, recipe, three)
    assert shapes.the_studys_way(shape, recipe, three, batch=2) == 2 * forward + backward + 3 * head
    assert shapes.the_studys_way(shape, recipe, np.array([1, 3]), batch=2) == 2 * (
        2 * forward + backward + 3 * head
    )


def test_the_4b_floor():
    """16.1 GFLOP a token and 695 s a run; the study's way 2.6 x (23.9 + 1.6) of it: computed apart
    from this code."""
    drawn, recipe = lengths.STUDY.draw(6826), Recipe()
    flop = shapes.needed(shapes.QWEN3_4B, recipe, drawn)
    assert flop / drawn.sum() / 1e9 == pytest.approx(16.1, abs=0.05)
    assert 5 * flop / shapes.H200_FLOPS == pytest.approx(695, abs=2)
    theirs = shapes.the_studys_way(shapes.QWEN3_4B, recipe, drawn, 32)
    assert 23.9 + 1.6 < theirs / lengths.padded(drawn) / 1e9 < 23.9 + 1.6 + 2.5, (
        "attention over padding is more than the mean's"
    )


@pytest.mark.parametrize("spread", lengths.SPREADS.values(), ids=lengths.SPREADS)
def test_drawn_lengths_have_the_stated_mean_and_end(spread):
    drawn = spread.draw(4000, seed=3)
    assert drawn.mean() == pytest.approx(spread.mean, rel=0.002)
    assert drawn.max() <= 1.01 * spread.longest
    assert spread.draw(4000, mean=100).mean() == pytest.approx(100, rel=0.005)


def test_real_pairs_have_the_stated_median():
    assert np.median(lengths.RM_BENCH.draw(4000)) == pytest.approx(547, rel=0.02)


def test_padding_by_hand():
    assert lengths.padded(np.array([1, 4, 2, 2, 5]), batch=2) == 8 + 4 + 5
    assert lengths.padded(np.array([3, 3, 3]), batch=2) == 9


def test_published_times_fix_the_spread():
    """4,603 / 6,282 s = 0.73 is the ratio of padded tokens at micro-batch 8 and 32, which is how
    sigma was found."""
    drawn = lengths.STUDY.draw(32 * 400)
    assert lengths.padded(drawn, 8) / lengths.padded(drawn, 32) == pytest.approx(
        4603 / 6282, abs=0.015
    )


def test_a_typical_draw_is_padded_like_the_mean_of_many():
    many = [
        lengths.padded(d) / d.sum()
        for d in (lengths.STUDY.draw(96, mean=100, seed=s) for s in range(64))
    ]
    typical = lengths.STUDY.typical(96, mean=100)
    assert lengths.padded(typical) / typical.sum() == pytest.approx(np.mean(many), rel=0.02)


def test_differences_by_hand():
    assert agree.of_logits(np.array([1.0, 2.0, 3.5]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        0.5 / np.sqrt(2 / 3)
    )
    assert agree.of_losses([2.0, 1.0], [2.0, 1.25]) == pytest.approx(0.2)
    ours, theirs = (
        {"a": np.array([3.0]), "b": np.array([0.0])},
        {"a": np.array([3.0]), "b": np.array([4.0])},
    )
    assert agree.of_gradients(ours, theirs) == pytest.approx(0.8)
    assert np.isnan(agree.of_gradients({"a": np.zeros(2)}, {"a": np.zeros(2)})), (
        "nothing was compared"
    )


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 steps, the other 1"):
        agree.of_losses([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="different adapters"):
        agree.of_gradients({"a": np.ones(1)}, {"b": np.ones(1)})


@pytest.mark.parametrize(
    ("found", "limit", "agrees"),
    [(0.0, 0.0, True), (1e-12, 0.0, False), (float("nan"), 1.0, False)],
)
def test_nan_and_any_leak_disagree(found, limit, agrees):
    assert agree.Difference("b", "leak", found, limit).agrees is agrees


class Stub:
    """An arm whose logit is a function of the pack it is in."""

    what = "stub"

    def __init__(self, neighbours: float, own: float = 1.0) -> None:
        self.neighbours, self.own = neighbours, own

    def logits(self, items: RandomItems) -> np.ndarray:
        said = np.array([float(row.sum()) for row in items.ids])
        return self.own * said + self.neighbours * said.sum()

    def train(self, items: RandomItems) -> Trained:
        return Trained([3.0, 2.0, 1.0], [2.0, 4.0], 8)


def test_a_leak_is_seen_and_blindness_too():
    items = draw(np.full(4, 9), 50)
    assert leak(Stub(neighbours=0.0), items, PLANS["ci"]) == 0
    assert leak(Stub(neighbours=1e-9), items, PLANS["ci"]) > 0
    with pytest.raises(AssertionError, match="can find nothing"):
        leak(Stub(neighbours=0.0, own=0.0), items, PLANS["ci"])


def test_speed_counts_useful_tokens_of_the_steps_after_the_first():
    items = draw(np.array([100] * 8 + [10] * 8 + [20] * 8), 50)
    row = Row("b", "")
    time_once(Stub(0.0), row, items, items, PLANS["ci"], "cpu")
    assert row.tok_s == [(80 + 160) / (2.0 + 4.0)]
    assert row.losses_S == [3.0, 2.0, 1.0]


def test_steps_leave_out_the_first():
    steps = Steps("cpu", [1.0, 3.0, 7.0])
    assert steps.seconds == [2.0, 4.0]


def test_a_rung_without_time_is_not_begun():
    row, begun = Row("b3", ""), []
    alone(row, lambda: begun.append(1), lambda arm: None, "cpu", Deadline.within(5), need_s=60)
    assert not begun
    assert row.note.endswith("s left, 60 needed")


def test_a_rung_that_breaks_says_so_and_nothing_else_stops(capsys):
    row = Row("b3", "")

    def breaks(arm: object) -> None:
        raise RuntimeError("no kernel image")

    alone(row, object, breaks, "cpu", Deadline.within(60), need_s=1)
    assert row.note == "failed: RuntimeError: no kernel image"
    assert "no kernel image" in capsys.readouterr().err, (
        "the whole traceback is for whoever mends it"
    )


def test_the_table_by_hand():
    work = Work(
        flop_a_token=2e9, study_flop_a_token=8e9, padding=2.5, mean_tokens=1000, product_flops=8e13
    )
    rows = [
        Row("a", "theirs", tok_s=[5_000.0, 5_500, 4_000], losses_S=[2.0, 1.0]),
        Row("b3", "ours", tok_s=[20_000.0], losses_S=[2.0, 1.1]),
        Row("b1", "", note="failed: x"),
    ]
    a, b3, b1 = table(rows, work, full_run=True).splitlines()[2:]
    assert "| 5,000 (4,000 to 5,500) | 1 | 0.12 |" in a
    assert "| 20,000 (20,000 to 20,000) | 4.00 | 0.50 |" in b3
    assert "| 1.0e-01 |" in b3
    assert "| 1,706 | 3.7 | 2.7 | 1,283 |" in b3, (
        "34.13 M tokens at 20,000 a second, beside 6,282 and 4,603 s and the roofline"
    )
    assert "failed: x" in b1


def test_ratios_are_taken_repetition_by_repetition():
    """10, 2 and 3 times: the median is 3, and that of the speeds' medians 30 / 4 = 7.5."""
    rows = [Row("a", "", tok_s=[1.0, 15.0, 4.0]), Row("b", "", tok_s=[10.0, 30.0, 12.0])]
    assert ratio(rows[1], rows[0]) == "3.00 (2.00 to 10.00)"
    assert ratio(rows[0], rows[0]) == "1"
    assert ratio(Row("b", "", tok_s=[8.0]), rows[0]) == "2.00"
