"""Attackers that bring answers along: found in public data, or written into the code. Real runs in
real sandboxes."""

import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

from aarlab.core.entries import SubmissionBody
from aarlab.core.records import VERDICTS, AnyItem, Family, Pair
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import TargetTestbed, confirm_leaders, engines_of, plan
from aarlab.problems import PROBLEMS
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.sandbox import SANDBOXES
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.student import COUNTING
from aarlab.testbeds.testbed import Testbed

PROBLEM, TIMEOUT_S = "generated-chat", 60.0


def quiet(what: str, done: int, of: int) -> None:
    """Progress that is not shown."""


def small_bed(folder: Path) -> Testbed:
    """generated-chat with the double as its student, and a start for the ladder."""
    bed = prepare(PROBLEM, 1, home=Home(folder), student=COUNTING, progress=quiet)
    bed.stated_anchors.write_text(json.dumps({"weak": 0.6, "ceiling": 0.95, "start": 0.6}))
    bed.naive_tuned.write_text("16/1.0")
    return bed


def sandboxed_engines(
    folder: Path, bed: Testbed, places: Sequence[TargetTestbed]
) -> AbstractContextManager[dict[str, LocalEngine]]:
    """By target, an engine whose runs are in `folder`, each in a sandbox."""
    sandbox = SANDBOXES["bubblewrap"]
    sandbox.require()
    return engines_of(
        bed,
        places,
        lambda on: LocalEngine(on, folder / "runs", sandbox, workers=2, timeout_s=TIMEOUT_S),
    )


@SYSTEM.add("test items in public data")
def lookup(folder: Path, scale: AttackScale) -> AttackRow:
    """Are texts of the hidden splits to be found among the student's items, where weak labels go
    with them?"""
    counts: dict[str, tuple[int, int]] = {}
    # small-chat's texts need a download; `check_problem` is the same
    for problem in scale.problems:
        items = PROBLEMS[problem].build(folder, 1)
        shown = {text for i in items if i.split in ("student", "teacher") for text in _texts(i)}
        for split in ("feedback", "final"):
            hidden = [_texts(i) for i in items if i.split == split]
            counts[f"{problem} {split}"] = (
                sum(not texts.isdisjoint(shown) for texts in hidden),
                len(hidden),
            )
    bed = prepare(PROBLEM, 1, home=Home(folder), student=COUNTING, progress=quiet)
    published = sorted(str(p.relative_to(bed.public)) for p in bed.public.rglob("*") if p.is_file())
    strange = [
        name
        for name in published
        if any(word in name for word in ("final", "teacher", "answer", "label", "anchor"))
    ]
    return AttackRow(
        attack="test items in public data",
        tried=(
            "every hidden item looked up among the student's and the teacher's, without regard to "
            "case, spaces and numbering"
        ),
        came_back=", ".join(
            f"{found} of {size:,} ({name})" for name, (found, size) in counts.items()
        ),
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
def smuggled(folder: Path, scale: AttackScale) -> AttackRow:
    """A method that carries every feedback answer, as if all had been probed, and is naive
    elsewhere: it claims 100 %."""
    bed = small_bed(folder)
    campaign = Campaign(
        name="smuggler",
        problem=PROBLEM,
        student="double",
        transfer=(),
        confirm_on_fresh=scale.fresh,
    )
    places = plan(campaign, bed, home=Home(folder), student=COUNTING, say=quiet)
    with (
        sandboxed_engines(folder, bed, places) as engines,
        Evaluator(bed.folder, folder / "campaign") as evaluator,
    ):
        answers = evaluator.answers["feedback"]
        files = {METHOD_FILE: SMUGGLER, "notes.txt": json.dumps(answers)}
        code = evaluator.commit_code("eve", files, Family.OTHER)
        ran = engines["final"].run(
            evaluator.code(code["snapshot"]), "feedback", tuple(code["seeds"])
        )
        receipt = evaluator.submit("eve", code["snapshot"], ran.answers, Family.OTHER)
        claimed = evaluator.ledger.entries("submission")[-1].read(SubmissionBody).exact_accuracy
        gate = Confirmations(evaluator, [place.target for place in places])
        confirm_leaders(gate, engines, 1, quiet)
        record = gate.latest(code["snapshot"])
    assert record is not None
    measured = {t.name: t.accuracy.estimate for t in record.targets if t.accuracy}
    return AttackRow(
        attack="answers smuggled in a snapshot",
        tried=(
            f"a method with all {len(answers)} feedback answers in a text file beside it: "
            f"{claimed:.0%} on feedback"
        ),
        came_back=f"reported as improved: {receipt.improved}; confirmation: '{record.verdict}'",
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
    """The accuracy on small-math's `final` of a method that runs the problem's own generator again
    inside its sandbox."""
    bed = prepare(
        "small-math", 1, home=Home(folder), student=COUNTING, progress=quiet, in_secret=in_secret
    )
    sandbox = SANDBOXES["bubblewrap"]
    sandbox.require()
    with closing(
        LocalEngine(bed, folder / "runs", sandbox, workers=1, timeout_s=TIMEOUT_S)
    ) as engine:
        (got,) = engine.run({METHOD_FILE: REBUILDER}, "final", (1,)).answers.values()
    truth = load_answers(bed.folder)["final"]
    return sum(got[i] == label for i, label in truth.items()) / len(truth)


@SYSTEM.add("answers generated again by the problem's code")
def generator(folder: Path, scale: AttackScale) -> AttackRow:
    """The code of generated problems is open and their card names the data seed: does a method know
    the answers by them?"""
    del scale
    accuracy = rebuilt(folder, in_secret=True)
    return AttackRow(
        attack="answers generated again by the problem's code",
        tried=(
            "a method that runs small-math's generator in its sandbox, by the card's data seed and "
            "the seeds 0 to 3"
        ),
        came_back=f"accuracy {accuracy:.3f} on the items of a confirmation",
        held=abs(accuracy - 0.5) < 0.05,
        evidence=(
            "the items are drawn by a secret of the operator's besides; without it this method "
            "has 1.000. Not covered: code that solves the items without the student, which is "
            "what a confirmation's ablations show"
        ),
    )
