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
from experiments.train.deck import Deck, draw
from experiments.train.original import Original, Trained
from experiments.train.ours import Ours
from experiments.train.plan import Plan
from experiments.train.report import Row


class Arm(Protocol):
    """One way of training and predicting. Every call of `train` begins from the same adapters."""

    what: str

    def train(self, deck: Deck) -> Trained: ...

    def logits(self, deck: Deck) -> NDArray[np.float64]: ...


def compare(first: Original, arms: Mapping[str, Ours], deck: Deck, plan: Plan) -> list[Difference]:
    """Every arm with arm a: the losses of consecutive steps from one start; then, arm a holding the
    adapters that the arm has saved, label logits and gradients; and how far an item's logit moves
    when only its neighbours change."""
    found, limits = [], plan.limits
    with tempfile.TemporaryDirectory() as folder:
        start = next(iter(arms.values())).start(Path(folder, "start"))
        first.adopt(start)
        losses_S = first.train(deck).losses_S
        for name, arm in arms.items():
            ours_S = arm.train(deck).losses_S
            found.append(
                Difference(
                    name,
                    f"losses of {plan.steps} steps",
                    agree.of_losses(ours_S, losses_S),
                    limits.losses,
                )
            )
            first.adopt(arm.save(Path(folder, name)))
            apart = agree.of_logits(arm.logits(deck), first.logits(deck))
            found.append(Difference(name, "label logits, same adapters", apart, limits.logits))
            ours, theirs = arm.gradients(deck[: plan.batch]), first.gradients(deck[: plan.batch])
            found.append(
                Difference(
                    name,
                    "gradients, same adapters",
                    agree.of_gradients(ours, theirs),
                    limits.gradients,
                )
            )
            found.append(
                Difference(name, "leak between neighbours", leak(arm, deck, plan), limits.leak)
            )
        first.adopt(start)
    return found


def leak(arm: Arm, deck: Deck, plan: Plan, items: int = 4) -> float:
    """Largest change of the first item's logit when the others of its pack, equally long, say
    something else."""
    kept = deck[:items]
    other = draw(kept.lengths_N, plan.shape.vocabulary, seed=7)
    moved = Deck([kept.ids[0], *other.ids[1:]], kept.labels_N)
    before, after = arm.logits(kept), arm.logits(moved)
    if np.array_equal(before[1:], after[1:]):
        raise AssertionError(
            "the neighbours' own logits did not move: this comparison can find nothing"
        )
    return float(abs(before[0] - after[0]))


def take_turns(
    arms: Mapping[str, Arm], rows: Mapping[str, Row], deck: Deck, test: Deck, plan: Plan
) -> None:
    """Repetitions in which each arm has its turn, so that a slow minute of the machine is a slow
    minute for all."""
    for _ in range(plan.repetitions):
        for name, arm in arms.items():
            time_once(arm, rows[name], deck, test, plan, "cpu")


def time_once(arm: Arm, row: Row, deck: Deck, test: Deck, plan: Plan, device: str) -> None:
    """One repetition: the steps after the first, and one prediction."""
    trained = arm.train(deck)
    row.losses_S = trained.losses_S
    if plan.gpu:  # each step counts, and there is one repetition
        row.tok_s += [t / s for t, s in zip(_tokens(deck, plan)[1:], trained.seconds, strict=True)]
    else:
        row.tok_s.append(sum(_tokens(deck, plan)[1:]) / sum(trained.seconds))
    if trained.micro_batch < plan.batch:
        row.note = f"micro-batch {trained.micro_batch}"
    row.predict_tok_s.append(test.tokens / timed(lambda: arm.logits(test), device))


def _tokens(deck: Deck, plan: Plan) -> list[int]:
    """Useful tokens of each step."""
    return np.add.reduceat(deck.lengths_N, np.arange(0, len(deck.ids), plan.batch)).tolist()


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
