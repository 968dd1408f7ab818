"""A problem in a folder that takes a second to grade, and its variants."""

from pathlib import Path

CONTRACT = """\
name: small
card: Say with which probability the event of each item happens; x and the words are what is known.
submission: {kind: predictions, values: probability}
objectives:
  - name: brier
    unit: squared error
    direction: lower
    floor: {baseline: half}
    ceiling: {value: 0.09, source: the true probabilities are 0.1 and 0.9}
baselines: [half, side]
grading: {wall_s: 20, memory_gib: 1}
"""
PREPARE = """\
import json, random

def prepare(seed, public, sealed, secret):
    rng = random.Random(seed)
    for split, folder in (("feedback", public), ("final", sealed)):
        rows, events = [], {}
        for n in range(200):
            x = rng.random()
            words = " ".join(str(rng.randrange(1000)) for _ in range(8))
            event = int(rng.random() < (0.9 if x > 0.5 else 0.1))
            rows.append({"id": f"{split}-{n:03d}", "x": x, "words": words})
            events[rows[-1]["id"]] = event
        #CHANGE
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\\n" for r in rows))
        (secret / split / "events.json").write_text(json.dumps(events))
        (secret / split / "units.json").write_text(json.dumps(list(events)))
"""
GRADE = """\
import json

def check(submission):
    pass

def grade(submission, secret, trial):
    events = json.loads((secret / "events.json").read_text())
    return {"brier": {i: (submission[i] - y) ** 2 for i, y in events.items()}}
"""
SUBMIT = """\
import json

def submit(public, inputs, out, seed):
    items = [json.loads(line) for line in inputs.read_text().splitlines()]
    return {{i["id"]: {value} for i in items}}
"""
FILES = {
    "problem.yaml": CONTRACT,
    "prepare.py": PREPARE,
    "grade.py": GRADE,
    "baselines/half.py": SUBMIT.format(value="0.5"),
    "baselines/side.py": SUBMIT.format(value='(0.9 if i["x"] > 0.5 else 0.1)'),
}


def write_small(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The problem in a folder; a change is a file, a text in it, and what replaces it."""
    files = dict(FILES)
    for name, before, after in changes:
        assert before in files[name], (name, before)
        files[name] = files[name].replace(before, after)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
