"""Small problems of each kind of submission, and codes that submit to them, in many ways."""

from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs.grading import Grader
from aarlab.runs.prepared import prepare
from aarlab.runs.trial_scores import GradedSubmissions, measure_files
from aarlab.sandbox import Bubblewrap
from tests.problems.folders_made import CONTRACT, write_problem

ARTIFACT = CONTRACT.replace(
    "{kind: predictions, values: probability}", "{kind: artifact, max_bytes: 2000}"
).replace("baselines: [guess]\n", "baselines: [guess]\nrun: {wall_s: 20, folders: [/workspace]}\n")
ARTIFACT_GRADE = """\
import json


def grade(submission, secret, trial):
    names = sorted(str(p.relative_to(submission)) for p in submission.rglob("*"))
    share = len((submission / "a" / "x.txt").read_text()) / 10 if "a/x.txt" in names else 0.0
    return {"right": dict.fromkeys(json.loads((secret / "even.json").read_text()), share)}
"""
ANSWER = """\
import json


def submit(public, inputs, out, seed):
    items = [json.loads(line) for line in inputs.read_text().splitlines()]
    return {{item["id"]: {value} for item in items}}
"""
WRITES = """\
import os


def submit(public, inputs, out, seed):
    (out / "a").mkdir()
    (out / "empty").mkdir()
    (out / "a" / "x.txt").write_text("x" * (seed + 3))
    {more}
"""
PREDICTED = {
    "by number": ANSWER.format(value='float(item["number"] % 2)'),
    "by seed": ANSWER.format(value="seed / 10"),
    "out of range": ANSWER.format(value="7.0"),
    "missing": ANSWER.format(value="0.5").replace("items}", "items[1:]}"),
    "raises": "def submit(public, inputs, out, seed):\n    raise ValueError('mine')\n",
    "nothing": "def submit(public, inputs, out, seed):\n    return None\n",
    "a link": (
        "import os\n\n\ndef submit(public, inputs, out, seed):\n"
        "    os.symlink('/etc/passwd', out / 'predictions.json')\n"
    ),
    "looks round": (
        "import os\n\n\ndef submit(public, inputs, out, seed):\n"
        "    found = [r for r, _, f in os.walk('/') if 'even.json' in f]\n"
        "    raise ValueError(f'secrets: {found}')\n"
    ),
}
WRITTEN = {
    "files": WRITES.format(more="return None"),
    "in its own folder": WRITES.format(more="open('/workspace/t', 'w').close()"),
    "a link": WRITES.format(more="os.symlink('/etc/passwd', out / 'b')"),
    "too large": WRITES.format(more="(out / 'b').write_bytes(bytes(3000))"),
    "raises": "def submit(public, inputs, out, seed):\n    raise ValueError('mine')\n",
}


def graders_at(place):
    """By kind, a grader on data that are prepared, and the codes that submit to it."""
    predictions = read_problem(write_problem(place / "p"))
    artifact = read_problem(
        write_problem(
            place / "a",
            contract=ARTIFACT,
            grade=ARTIFACT_GRADE,
            guess=WRITES.format(more="return None"),
        )
    )
    found = {}
    for name, problem, codes in (
        ("predictions", predictions, PREDICTED),
        ("artifact", artifact, WRITTEN),
    ):
        found[name] = problem, prepare(problem, 1, place / "data", Bubblewrap), codes
    return found


def measured_by(engine, problem, prepared, code, seeds=(1, 2)):
    """What a code comes to, as plain values: its scores and its question, or why it has none."""
    grader = Grader(problem, prepared, Bubblewrap, engine)
    found = measure_files(grader, {"method.py": code}, "final", seeds, Bubblewrap)
    if isinstance(found, GradedSubmissions):
        scores = {name: rows.tolist() for name, rows in found.measured.scores.items()}
        return found.submitted, scores, found.measured.beyond
    return type(found).__name__, found.words, getattr(found, "failure", None)
