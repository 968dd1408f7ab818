"""Runs the rungs: do they agree, how fast are they, what do they hold.

Legend: N items, S steps of a repetition, of which the first is not timed.
"""

import gc
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.train import agree
from experiments.train.agree import Difference
from experiments.train.clock import Deadline, forget, settle, timed
from experiments.train.original import Original, Trained
from experiments.train.ours import Ours
from experiments.train.plan import Plan
from experiments.train.random_items import RandomItems, draw
from experiments.train.report import Row


class Arm(Protocol):
    """One way of training and predicting. Every call of `train` begins from the same adapters."""

    what: str

    def train(self, items: RandomItems) -> Trained: ...

    def logits(self, items: RandomItems) -> NDArray[np.float64]: ...


def compare(
    first: Original, arms: Mapping[str, Ours], items: RandomItems, plan: Plan
) -> list[Difference]:
    """Every arm with arm a: the losses of consecutive steps from one start; then, arm a holding the
    adapters that the arm has saved, label logits and gradients; and how far an item's logit moves
    when only its neighbours change."""
    found, limits = [], plan.limits
    with tempfile.TemporaryDirectory() as folder:
        start = next(iter(arms.values())).start(Path(folder, "start"))
        first.adopt(start)
        losses_S = first.train(items).losses_S
        for name, arm in arms.items():
            ours_S = arm.train(items).losses_S
            found.append(
                Difference(
                    name,
                    f"losses of {plan.steps} steps",
                    agree.of_losses(ours_S, losses_S),
                    limits.losses,
                )
            )
            first.adopt(arm.save(Path(folder, name)))
            apart = agree.of_logits(arm.logits(items), first.logits(items))
            found.append(Difference(name, "label logits, same adapters", apart, limits.logits))
            ours, theirs = arm.gradients(items[: plan.batch]), first.gradients(items[: plan.batch])
            found.append(
                Difference(
                    name,
                    "gradients, same adapters",
                    agree.of_gradients(ours, theirs),
                    limits.gradients,
                )
            )
            found.append(
                Difference(name, "leak between neighbours", leak(arm, items, plan), limits.leak)
            )
        first.adopt(start)
    return found


def leak(arm: Arm, items: RandomItems, plan: Plan, first: int = 4) -> float:
    """Largest change of the first item's logit when the others of its pack, equally long, say
    something else."""
    kept = items[:first]
    other = draw(kept.lengths_N, plan.shape.vocabulary, seed=7)
    moved = RandomItems([kept.ids[0], *other.ids[1:]], kept.labels_N)
    before, after = arm.logits(kept), arm.logits(moved)
    if np.array_equal(before[1:], after[1:]):
        raise AssertionError(
            "the neighbours' own logits did not move: this comparison can find nothing"
        )
    return float(abs(before[0] - after[0]))


def take_turns(
    arms: Mapping[str, Arm],
    rows: Mapping[str, Row],
    items: RandomItems,
    test: RandomItems,
    plan: Plan,
) -> None:
    """Repetitions in which each arm has its turn, so that a slow minute of the machine is a slow
    minute for all."""
    for _ in range(plan.repetitions):
        for name, arm in arms.items():
            time_once(arm, rows[name], items, test, plan, "cpu")


def time_once(
    arm: Arm, row: Row, items: RandomItems, test: RandomItems, plan: Plan, device: str
) -> None:
    """One repetition: the steps after the first, and one prediction."""
    trained = arm.train(items)
    row.losses_S = trained.losses_S
    if plan.gpu:  # each step counts, and there is one repetition
        row.tok_s += [t / s for t, s in zip(_tokens(items, plan)[1:], trained.seconds, strict=True)]
    else:
        row.tok_s.append(sum(_tokens(items, plan)[1:]) / sum(trained.seconds))
    if trained.micro_batch < plan.batch:
        row.note = f"micro-batch {trained.micro_batch}"
    row.predict_tok_s.append(test.tokens / timed(lambda: arm.logits(test), device))


def _tokens(items: RandomItems, plan: Plan) -> list[int]:
    """Useful tokens of each step."""
    return np.add.reduceat(items.lengths_N, np.arange(0, len(items.ids), plan.batch)).tolist()


def alone(
    row: Row,
    make: Callable[[], Arm],
    measure: Callable[[Arm], None],
    device: str,
    deadline: Deadline,
    need_s: float,
) -> None:
    """One rung on a GPU: not begun without time left; what breaks it is written down, and the next
    rung runs."""
    if deadline.left_s < need_s:
        row.note = f"not run: {deadline.left_s:.0f} s left, {need_s:.0f} needed"
        return
    forget(device)
    try:
        measure(make())
    except Exception as error:  # noqa: BLE001 - a rung that breaks is a finding
        traceback.print_exc()
        row.note = f"failed: {type(error).__name__}: {str(error)[:160]}"
    gc.collect()
    forget(device)
    settle(device)
