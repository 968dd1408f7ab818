"""The order of a run on a CPU and on a GPU, and what it prints.

Legend: N items.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.train import report
from experiments.train.agree import Difference
from experiments.train.clock import Deadline, forget, peak_gib, process_gib
from experiments.train.lengths import SPREADS, padded
from experiments.train.measure import alone, compare, take_turns, time_once
from experiments.train.original import Original
from experiments.train.ours import RUNGS, Ours
from experiments.train.plan import PLANS, Plan
from experiments.train.published import EPOCHS, MEAN_TOKENS, TEACHER_ITEMS, TEST_MEAN_TOKENS
from experiments.train.random_items import RandomItems, draw, write_weights
from experiments.train.rates import product_flops
from experiments.train.report import Row, Work
from experiments.train.shapes import QWEN15_05B, TINY, needed, the_studys_way

# of one rung on a GPU, weights read
NEED_S = {"a": 110, "b": 50, "b1": 45, "b2": 40, "b3": 120, "teacher": 60}
AGREEMENT_MEAN = 100


def lengths(asked: argparse.Namespace, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the timed items, and of those to predict."""
    spread = SPREADS[asked.spread]
    train = spread.typical(plan.batch * plan.steps, mean=plan.mean_tokens, batch=plan.batch)
    test_mean = plan.mean_tokens * TEST_MEAN_TOKENS / MEAN_TOKENS
    return train, spread.typical(plan.test_items, mean=test_mean, batch=plan.batch)


def on_cpu(asked: argparse.Namespace, folder: Path) -> int:
    """Agreement of all arms, then repetitions in turns; 0 if they agree, else 1."""
    began, plan = time.perf_counter(), PLANS[asked.preset]
    train_N, test_N = lengths(asked, plan)
    items, test = (draw(n, plan.shape.vocabulary, seed) for seed, n in enumerate((train_N, test_N)))
    weights = write_weights(plan.shape, folder / "weights", dtype=torch.float32, device="cpu")
    first = Original(weights, plan.recipe, device="cpu", dtype=torch.float32)
    arms = {name: rung(weights, plan, name, "cpu") for name in plan.rungs if name != "a"}
    rows = {name: Row(name, arm.what) for name, arm in {"a": first, **arms}.items()}
    work = _work(items, plan, product_flops("cpu", torch.float32))
    _head(asked, plan, work, "cpu")
    found = compare(first, arms, items, plan)
    print(report.agreement(found), "\n", flush=True)
    take_turns({"a": first, **arms}, rows, items, test, plan)
    print(report.table(list(rows.values()), work, full_run=False), "\n")
    print(
        f"{plan.repetitions} repetition(s) in turns, {time.perf_counter() - began:.0f} s, "
        f"{process_gib():.1f} GiB at most."
    )
    return _verdict(asked, found, rows=list(rows.values()), work=work)


def rung(weights: Path, plan: Plan, name: str, device: str) -> Ours:
    dtype = "bfloat16" if plan.gpu else "float32"
    return Ours(
        weights,
        plan.recipe,
        RUNGS[name],
        device=device,
        dtype=dtype,
        pack_tokens=plan.pack_tokens[0],
    )


def on_gpu(asked: argparse.Namespace, folder: Path, device: str = "cuda") -> int:
    """Agreement on a tiny shape, then every rung of the true one, each caught on its own, none
    begun without time left."""
    if device == "cuda" and not torch.cuda.is_available():
        print("No GPU is seen here. The CPU preset: make bench-train")
        return 2
    plan = PLANS[asked.preset]
    deadline = Deadline.within(plan.limit_s)
    found = _agreement_on_gpu(asked, plan, folder, device, deadline)
    print(report.agreement(found), "\n", flush=True)
    train_N, test_N = lengths(asked, plan)
    items, test = (draw(n, plan.shape.vocabulary, seed) for seed, n in enumerate((train_N, test_N)))
    work = _work(items, plan, product_flops(device, torch.bfloat16))
    _head(asked, plan, work, device)
    weights = write_weights(plan.shape, folder / "4b", dtype=torch.bfloat16, device=device)
    rows = []
    for name in plan.rungs:
        rows += _one_rung(name, weights, plan, items, test, device, deadline)
        print(
            report.table(rows, work, full_run=True),
            f"\n\n{deadline.left_s:.0f} s left\n",
            flush=True,
        )
    teacher = _teacher(plan, folder, device, deadline)
    print(report.teacher(teacher, TEACHER_ITEMS * EPOCHS * MEAN_TOKENS))
    return _verdict(asked, found, rows=[*rows, teacher], work=work)


def _agreement_on_gpu(
    asked: argparse.Namespace, plan: Plan, folder: Path, device: str, deadline: Deadline
) -> list[Difference]:
    """Of the arms on a tiny shape, in the GPU's number type. Where one breaks, nothing agrees;
    speeds are measured still."""
    tiny = replace(plan, shape=TINY, rank=8, mean_tokens=AGREEMENT_MEAN, pack_tokens=(1024,))
    train_N, _ = lengths(asked, tiny)
    items = draw(train_N, tiny.shape.vocabulary)
    weights = write_weights(tiny.shape, folder / "tiny", dtype=torch.bfloat16, device=device)
    row, found = Row("agreement", ""), []

    def measure(first: Original) -> None:
        arms = {name: rung(weights, tiny, name, device) for name in ("b", "b2", "b3")}
        found.extend(compare(first, arms, items, tiny))

    alone(
        row,
        lambda: Original(weights, tiny.recipe, device=device, dtype=torch.bfloat16),
        measure,
        device,
        deadline,
        0,
    )
    return found or [Difference("all", row.note, float("nan"), 0.0)]


def _one_rung(
    name: str,
    weights: Path,
    plan: Plan,
    items: RandomItems,
    test: RandomItems,
    device: str,
    deadline: Deadline,
) -> list[Row]:
    """The rung's row; of the compiled one, a row for each pack budget."""
    row = Row(name, Original.what if name == "a" else RUNGS[name].what)
    rows = [row]

    def make() -> Original | Ours:
        return (
            Original(weights, plan.recipe, device=device, dtype=torch.bfloat16)
            if name == "a"
            else rung(weights, plan, name, device)
        )

    def measure(arm: Original | Ours) -> None:
        began = time.perf_counter()
        if name == "b3":
            arm.train(items)
            row.warm_up_s = time.perf_counter() - began
        time_once(arm, row, items, test, plan, device)
        if isinstance(arm, Ours) and arm.said:
            row.note = arm.said[-1]
        row.peak_gib = peak_gib(device)
        for budget in plan.pack_tokens[1:] if name == "b3" else ():
            forget(device)
            arm.model.engine.pack_tokens = budget
            rows.append(Row(name, f"the same, packs of {budget:,} tokens"))
            time_once(arm, rows[-1], items, test, plan, device)
            rows[-1].peak_gib = peak_gib(device)

    alone(row, make, measure, device, deadline, NEED_S[name])
    return rows


def _teacher(plan: Plan, folder: Path, device: str, deadline: Deadline) -> Row:
    small = replace(plan, shape=QWEN15_05B)
    row, items = (
        Row("teacher", "compiled"),
        draw(SPREADS["study"].typical(128, mean=MEAN_TOKENS), QWEN15_05B.vocabulary),
    )

    def make() -> Ours:
        return rung(
            write_weights(QWEN15_05B, folder / "05b", dtype=torch.bfloat16, device=device),
            small,
            "b3",
            device,
        )

    def measure(arm: Ours) -> None:
        arm.train(items)
        time_once(arm, row, items, items[:32], small, device)

    alone(row, make, measure, device, deadline, NEED_S["teacher"])
    return row


def _work(items: RandomItems, plan: Plan, flops: float) -> Work:
    lengths_N = items.lengths_N
    least = needed(plan.shape, plan.recipe, lengths_N)
    return Work(
        flop_a_token=least / items.tokens,
        study_flop_a_token=the_studys_way(plan.shape, plan.recipe, lengths_N, plan.batch)
        / items.tokens,
        padding=padded(lengths_N, plan.batch) / items.tokens,
        mean_tokens=float(lengths_N.mean()),
        product_flops=flops,
    )


def _head(asked: argparse.Namespace, plan: Plan, work: Work, device: str) -> None:
    print(f"\n{report.machine(device)}\n")
    print(
        f"Matrix products: {work.product_flops / 1e12:.3g} TFLOP/s. Needed: "
        f"{work.flop_a_token / 1e9:.3g} GFLOP a token, so the floor is {work.floor_tok_s:,.0f} "
        f"tok/s; the study's way needs {work.study_share:.1f} times as much."
    )
    print(
        f"Lengths: {SPREADS[asked.spread].source}; here mean {work.mean_tokens:.0f}, batches of "
        f"{plan.batch} padded to {work.padding:.2f} times their tokens; packs of "
        f"{plan.pack_tokens[0]:,}.\n",
        flush=True,
    )


def _verdict(asked: argparse.Namespace, found: list[Difference], **rest: object) -> int:
    agrees = all(d.agrees for d in found)
    if asked.out:
        report.write(
            asked.out,
            preset=asked.preset,
            spread=asked.spread,
            agrees=agrees,
            differences=found,
            **rest,
        )
    print(
        "All arms agree."
        if agrees
        else "ARMS DISAGREE: the speeds above compare different computations."
    )
    return 0 if agrees else 1
