"""Ratios of the evaluator's steps in one run: grading, storing, and answering a bundle of five seeds x 2,004 items.

Run: `make benchmarks`. No test asserts a time.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.grade import grade

ITEMS, REPEATS = 2_004, 30


def problem(folder: Path) -> dict[str, int]:
    """A problem folder with random labels; what is timed does not look at their meaning."""
    rng = np.random.default_rng(0)
    answers = {f"chat-{i:06d}": int(y) for i, y in enumerate(rng.integers(0, 2, ITEMS))}
    (folder / "private").mkdir(parents=True)
    (folder / "private" / "answers.json").write_text(json.dumps({"feedback": answers, "final": {}}))
    weak, ceiling = (rng.random((10, ITEMS)) < p for p in (0.66, 0.84))
    np.savez(folder / "private" / "anchors.npz", feedback_weak_SM=weak, feedback_ceiling_SM=ceiling)
    np.savez(folder / "private" / "baselines.npz", **{"feedback/naive": rng.random((5, ITEMS)) < 0.7})
    return answers


def median_ms(act: Callable[[int], object]) -> float:
    """Median of REPEATS timings in milliseconds."""
    took = []
    for number in range(REPEATS):
        started = time.perf_counter()
        act(number)
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        answers = problem(Path(place, "problem"))
        with Evaluator(Path(place, "problem"), Path(place, "campaign")) as evaluator:
            code = evaluator.commit_code("a", {"method.py": ""}, Family.OTHER)
            rng = np.random.default_rng(1)
            bundles = [
                {str(s): dict(zip(answers, rng.integers(0, 2, ITEMS).tolist(), strict=True)) for s in code["seeds"]}
                for _ in range(REPEATS)
            ]
            by_seed = [{int(s): a for s, a in b.items()} for b in bundles]
            rows = {
                "grade": median_ms(lambda n: grade(by_seed[n], answers, code["seeds"])),
                "one ledger entry": median_ms(lambda n: evaluator.ledger.append("spend", "a", {"n": n})),
                "submit, whole": median_ms(lambda n: evaluator.submit("a", code["snapshot"], bundles[n], Family.OTHER)),
                "submit, repeated": median_ms(lambda n: evaluator.submit("a", code["snapshot"], bundles[n], Family.OTHER)),
            }
    for name, ms in rows.items():
        print(f"{name:18s} {ms:8.2f} ms  {ms / rows['grade']:6.2f} x grade")


if __name__ == "__main__":
    main()
