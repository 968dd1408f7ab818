"""`python -m aarlab.runs.execute`: run one method file on given seeds, inside a sandbox, and write
its predictions.

Exit status: 0 if OUT was written, OUT_OF_MEMORY if memory was exceeded. Otherwise the last line of
the output says what the method's author must change.
"""

import argparse
import json
import sys
import traceback
from pathlib import Path

from aarlab.core.errors import OUT_OF_MEMORY, InvalidSubmission
from aarlab.core.files import write_whole
from aarlab.core.python_file import load_file
from aarlab.core.records import SplitName
from aarlab.methods.method import RunMethod, check_output
from aarlab.testbeds.task_data import load_task


def load_method(path: Path) -> RunMethod:
    """The `run(task, seed)` of a method file.

    Raises:
        InvalidSubmission: the file has no such function.
    """
    run = getattr(load_file(path, "submitted_method"), "run", None)
    if not callable(run):
        raise InvalidSubmission(f"{path.name} must define a function run(task, seed).")
    return run


def execute(
    method: Path,
    *,
    public: Path,
    test: Path,
    split: SplitName,
    seeds: list[int],
    strong_socket: Path | None = None,
) -> dict[str, dict[str, int]]:
    """Run the method on each seed; return its answers (0 or 1) by seed and item id."""
    run = load_method(method)
    answers: dict[str, dict[str, int]] = {}
    for seed in seeds:
        task = load_task(public, test, split, seed, strong_socket)
        probs_M = check_output(run(task, seed), len(task.test))
        answers[str(seed)] = {i: int(p > 0.5) for i, p in zip(task.test.ids, probs_M, strict=True)}
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--method", type=Path, required=True, help="a file that defines run(task, seed)"
    )
    parser.add_argument("--public", type=Path, required=True, help="the problem's public folder")
    parser.add_argument(
        "--test", type=Path, required=True, help="the folder that holds the test split's inputs"
    )
    parser.add_argument("--split", default="feedback", help="feedback or final")
    parser.add_argument("--seeds", required=True, help="comma-separated")
    parser.add_argument(
        "--strong-socket",
        "--door",  # its name in 0.1.0
        type=Path,
        help="socket of the strong model, where it can be fine-tuned",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write the answers to (JSON)"
    )
    parser.add_argument(
        "--begun", type=Path, help="an empty file, created before any of the method's code runs"
    )
    a = parser.parse_args()
    if a.begun is not None:
        a.begun.touch()
    seeds = [int(s) for s in a.seeds.split(",")]
    try:
        answers = execute(
            a.method,
            public=a.public,
            test=a.test,
            split=a.split,
            seeds=seeds,
            strong_socket=a.strong_socket,
        )
    except MemoryError:
        traceback.print_exc()
        sys.exit(OUT_OF_MEMORY)
    write_whole(a.out, json.dumps(answers))


if __name__ == "__main__":
    main()
