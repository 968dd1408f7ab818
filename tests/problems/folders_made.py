"""Problems in folders, as small as they can be, for tests."""

from pathlib import Path

CONTRACT = """\
name: tiny
card: Say of each number whether it is even, with a probability. That is all there is to it.
submission: {kind: predictions, values: probability}
objectives:
  - name: right
    unit: share
    floor: {baseline: guess}
    ceiling: {value: 1.0, source: all are right}
baselines: [guess]
grading: {wall_s: 20, memory_gib: 1}
"""
PREPARE = """\
import json


def prepare(seed, public, sealed, secret):
    for split, folder in (("feedback", public), ("final", sealed)):
        even = {f"{split}-{n}": (n + seed) % 2 for n in range(8)}
        rows = [{"id": i, "number": int(i.split("-")[-1]) + seed + 1} for i in even]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in rows))
        (secret / split / "even.json").write_text(json.dumps(even))
        (secret / split / "units.json").write_text(json.dumps(list(even)))
"""
GRADE = """\
import json


def grade(submission, secret, trial):
    even = json.loads((secret / "even.json").read_text())
    return {"right": {i: 1 - abs(submission[i] - y) for i, y in even.items()}}
"""
GUESS = """\
import json


def submit(public, inputs, out, seed):
    return {json.loads(line)["id"]: 0.5 for line in inputs.read_text().splitlines()}
"""


def write_problem(folder: Path, **texts: str) -> Path:
    """A folder with a problem; `texts`: other contents of its files, by their names."""
    files = {
        "problem.yaml": texts.get("contract", CONTRACT),
        "prepare.py": texts.get("prepare", PREPARE),
        "grade.py": texts.get("grade", GRADE),
        "baselines/guess.py": texts.get("guess", GUESS),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
