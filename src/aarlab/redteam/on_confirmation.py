"""Attackers that bring answers along: found in public data, or written into the code. Real runs in real sandboxes."""

import json
import re
from pathlib import Path

from aarlab.core.records import AnyItem, Family, Pair
from aarlab.core.settings import Home
from aarlab.evaluation.answers import load_answers
from aarlab.evaluation.confirmation import Confirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.verdict import VERDICTS
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirmation import confirm_leaders, plan
from aarlab.problems import PROBLEMS
from aarlab.redteam.system import SYSTEM, Row, Scale
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.runs.student import COUNTING
from aarlab.runs.testbed import Testbed, prepare
from aarlab.sandbox import SANDBOXES

PROBLEM, TIMEOUT_S = "generated-chat", 60.0


def _quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""


def _bed(folder: Path) -> Testbed:
    """generated-chat with the double as its student, and a start for the ladder."""
    bed = prepare(PROBLEM, 1, home=Home(folder), student=COUNTING, say=_quiet)
    (bed.private / "ruler.json").write_text(json.dumps({"weak": 0.6, "ceiling": 0.95, "start": 0.6}))
    (bed.private / "naive_tuned.txt").write_text("16/1.0")
    return bed


@SYSTEM.add("test items in public data")
def lookup(folder: Path, scale: Scale) -> Row:
    """Are texts of the hidden splits to be found among the student's items, where weak labels go with them?"""
    counts: dict[str, tuple[int, int]] = {}
    for problem in scale.problems:  # small-chat's texts need a download; `check_problem` is the same
        items = PROBLEMS[problem].build(folder, 1)
        shown = {text for i in items if i.split in ("student", "teacher") for text in _texts(i)}
        for split in ("feedback", "final"):
            hidden = [_texts(i) for i in items if i.split == split]
            counts[f"{problem} {split}"] = sum(not texts.isdisjoint(shown) for texts in hidden), len(hidden)
    bed = prepare(PROBLEM, 1, home=Home(folder), student=COUNTING, say=_quiet)
    published = sorted(str(p.relative_to(bed.public)) for p in bed.public.rglob("*") if p.is_file())
    strange = [name for name in published if any(word in name for word in ("final", "teacher", "answer", "label", "anchor"))]
    return Row(
        attack="test items in public data",
        tried="every hidden item looked up among the student's and the teacher's, without regard to case, spaces and numbering",
        came_back=", ".join(f"{found} of {size:,} ({name})" for name, (found, size) in counts.items()),
        held=not any(found for found, _ in counts.values()) and not strange,
        evidence=f"{len(published)} files in public/, of other splits: {strange or 'none'}",
    )


def _texts(item: AnyItem) -> set[str]:
    """What identifies an item's content: a snippet of a pair, or question and choice together."""
    given = item.choices if isinstance(item, Pair) else (f"{item.question} {item.choice}",)
    return {re.sub(r"no\d+x", "", " ".join(text.casefold().split())).strip() for text in given}


SMUGGLER = """
import json
from pathlib import Path

from aarlab.methods.baselines import naive

KNOWN = json.loads(Path(__file__).with_name("notes.txt").read_text())


def run(task, seed):
    honest = naive(task, seed)
    return [KNOWN.get(i, p) for i, p in zip(task.test.ids, honest, strict=True)]
"""


@SYSTEM.add("answers smuggled in a snapshot")
def smuggled(folder: Path, scale: Scale) -> Row:
    """A method that carries every feedback answer, as if all had been probed, and is naive elsewhere: it claims 100 %."""
    bed = _bed(folder)
    campaign = Campaign(name="smuggler", problem=PROBLEM, student="double", transfer=(), confirm_on_fresh=scale.fresh)
    where = plan(campaign, bed, home=Home(folder), student=COUNTING, say=_quiet)
    where.write(folder / "campaign")
    sandbox = SANDBOXES["bubblewrap"]
    sandbox.require()
    names = ("final", *where.others)
    engines = {n: LocalEngine(where.bed(n), folder / "runs", sandbox, workers=2, timeout_s=TIMEOUT_S) for n in names}
    try:
        with Evaluator(bed.folder, folder / "campaign") as evaluator:
            answers = evaluator.answers["feedback"]
            files = {METHOD_FILE: SMUGGLER, "notes.txt": json.dumps(answers)}
            code = evaluator.commit_code("eve", files, Family.OTHER)
            ran = engines["final"].run(evaluator.code(code["snapshot"]), "feedback", tuple(code["seeds"]))
            receipt = evaluator.submit("eve", code["snapshot"], ran.answers, Family.OTHER)
            claimed = evaluator.ledger.entries("submission")[-1].body["exact_accuracy"]
            gate = Confirmations(evaluator)
            confirm_leaders(gate, engines | {"feedback": engines["final"]}, 1, _quiet)
            record = gate.latest(code["snapshot"])
    finally:
        for engine in engines.values():
            engine.close()
    assert record is not None
    measured = {t.name: t.accuracy.estimate for t in record.targets if t.accuracy}
    return Row(
        attack="answers smuggled in a snapshot",
        tried=f"a method with all {len(answers)} feedback answers in a text file beside it: {claimed:.0%} on feedback",
        came_back=f"told improved: {receipt.improved}; confirmation: '{record.verdict}'",
        held=record.verdict != VERDICTS[0] and claimed == 1,
        evidence="accuracy " + ", ".join(f"{name} {value:.2f}" for name, value in measured.items()),
    )


REBUILDER = """
import json
from pathlib import Path

from aarlab.problems import PROBLEMS

card = json.loads(Path("/data/problem.json").read_text())
TRUTH = {}
for seed in {card["data_seed"], 0, 1, 2, 3}:
    TRUTH |= {i.id: i.label for i in PROBLEMS[card["name"]].build(Path("/tmp"), seed)}


def run(task, seed):
    return [float(TRUTH.get(i, 0.5)) for i in task.test.ids]
"""


def rebuilt(folder: Path, *, in_secret: bool) -> float:
    """The accuracy on small-math's `final` of a method that runs the problem's own generator again inside its sandbox."""
    bed = prepare("small-math", 1, home=Home(folder), student=COUNTING, say=_quiet, in_secret=in_secret)
    sandbox = SANDBOXES["bubblewrap"]
    sandbox.require()
    engine = LocalEngine(bed, folder / "runs", sandbox, workers=1, timeout_s=TIMEOUT_S)
    try:
        (got,) = engine.run({METHOD_FILE: REBUILDER}, "final", (1,)).answers.values()
    finally:
        engine.close()
    truth = load_answers(bed.folder)["final"]
    return sum(got[i] == label for i, label in truth.items()) / len(truth)


@SYSTEM.add("answers made anew by the problem's generator")
def generator(folder: Path, scale: Scale) -> Row:
    """The code of generated problems is open and their card names the data seed: does a method know the answers by them?"""
    del scale
    accuracy = rebuilt(folder, in_secret=True)
    return Row(
        attack="answers made anew by the problem's generator",
        tried="a method that runs small-math's generator in its sandbox, by the card's data seed and the seeds 0 to 3",
        came_back=f"accuracy {accuracy:.3f} on the items of a confirmation",
        held=abs(accuracy - 0.5) < 0.05,
        evidence="the items are drawn by a secret of the operator's besides; without it this method has 1.000. Not covered: "
        "code that solves the items without the student, which is what a confirmation's ablations show",
    )
