"""Ratios of the evaluator's steps in one run: grading, storing, and answering a bundle of five
seeds x 2,004 items; and how many submissions a second batches of 16 sustain in one thread, on 1,263
items, as the history grows.

Run: `make benchmarks`. No test asserts a time.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.receipts import Pending
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.packed import Packed

ITEMS, REPEATS = 2_004, 30
HISTORIES, BATCH, BATCHES, SUSTAINED_ITEMS = (0, 2_000, 5_000), 16, 50, 1_263


def problem(folder: Path, items: int = ITEMS) -> dict[str, int]:
    """A problem folder with random labels; what is timed does not look at their meaning."""
    rng = np.random.default_rng(0)
    answers = {f"chat-{i:06d}": int(y) for i, y in enumerate(rng.integers(0, 2, items))}
    (folder / "private").mkdir(parents=True)
    (folder / "private" / "answers.json").write_text(json.dumps({"feedback": answers, "final": {}}))
    weak, ceiling = (rng.random((10, items)) < p for p in (0.66, 0.84))
    np.savez(folder / "private" / "anchors.npz", feedback_weak_SM=weak, feedback_ceiling_SM=ceiling)
    np.savez(
        folder / "private" / "baselines.npz", **{"feedback/naive": rng.random((5, items)) < 0.7}
    )
    return answers


def median_ms(act: Callable[[int], object]) -> float:
    """Median of REPEATS timings in milliseconds."""
    took = []
    for number in range(REPEATS):
        started = time.perf_counter()
        act(number)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def sustained(place: Path) -> Iterator[tuple[int, float, float]]:
    """(history, submissions a second, their CPU in milliseconds) for batches that wait together, as
    concurrent clients' do."""
    problem(place / "problem", SUSTAINED_ITEMS)
    with Evaluator(place / "problem", place / "campaign") as evaluator:
        codes = [
            evaluator.commit_code("a", {"method.py": f"x = {n}"}, Family.OTHER)
            for n in range(BATCH)
        ]
        rng, seen = np.random.default_rng(2), 0
        # one method, whose seeds differ
        sure_M = np.where(rng.random(SUSTAINED_ITEMS) < 0.5, 0.1, 0.9)
        while seen < HISTORIES[-1] + BATCH * BATCHES:
            batches = [
                [_pending(evaluator, code, rng, sure_M) for code in codes] for _ in range(BATCHES)
            ]
            wall, used = time.perf_counter(), time.process_time()
            for batch in batches:
                evaluator._answer_all(batch)
            wall, used = time.perf_counter() - wall, time.process_time() - used
            if any(seen <= history < seen + BATCH * BATCHES for history in HISTORIES):
                yield seen, BATCH * BATCHES / wall, 1e3 * used / (BATCH * BATCHES)
            seen += BATCH * BATCHES


def _pending(
    evaluator: Evaluator,
    code: Mapping[str, Any],
    rng: np.random.Generator,
    sure_M: NDArray[np.float64],
) -> Pending:
    """A bundle that was read: what `submit` hands to the group."""
    answers_SM = rng.random((len(code["seeds"]), SUSTAINED_ITEMS)) < sure_M
    packed = Packed("feedback", tuple(code["seeds"]), answers_SM)
    return Pending("a", code["snapshot"], Family.OTHER, packed)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        answers = problem(Path(place, "problem"))
        with Evaluator(Path(place, "problem"), Path(place, "campaign")) as evaluator:
            code = evaluator.commit_code("a", {"method.py": ""}, Family.OTHER)
            rng = np.random.default_rng(1)
            bundles = [
                {
                    str(s): dict(zip(answers, rng.integers(0, 2, ITEMS).tolist(), strict=True))
                    for s in code["seeds"]
                }
                for _ in range(REPEATS)
            ]
            by_seed = [{int(s): a for s, a in b.items()} for b in bundles]
            rows = {
                "grade": median_ms(lambda n: grade(by_seed[n], answers, code["seeds"])),
                "one ledger entry": median_ms(
                    lambda n: evaluator.ledger.append("spend", "a", {"n": n})
                ),
                "submit, whole": median_ms(
                    lambda n: evaluator.submit("a", code["snapshot"], bundles[n], Family.OTHER)
                ),
                "submit, repeated": median_ms(
                    lambda n: evaluator.submit("a", code["snapshot"], bundles[n], Family.OTHER)
                ),
            }
    for name, ms in rows.items():
        print(f"{name:18s} {ms:8.2f} ms  {ms / rows['grade']:6.2f} x grade")
    with tempfile.TemporaryDirectory() as place:
        for history, per_s, ms in sustained(Path(place)):
            print(
                f"after {history:5,d} submissions: {per_s:6,.0f} a second, {ms:.2f} ms of CPU, "
                f"{ms / rows['grade']:.2f} x grade"
            )


if __name__ == "__main__":
    main()
