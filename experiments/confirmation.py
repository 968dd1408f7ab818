"""Eight claims put to the whole gate on the real problem, so that a sceptic can see what it says of
each: docs/confirmation.md.

`python experiments/confirmation.py [PROBLEM STUDENT]` makes a campaign named "sceptic" of one
researcher who hands in honest and dishonest claims, and confirms all of them. Set-up, runs and
confirmations are kept in AAR_HOME; "sceptic" is made once.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console

from aarlab.cli.show import Show
from aarlab.core.records import Family
from aarlab.core.settings import home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import confirmed
from aarlab.fleet.measure_baselines import tuned_naive
from aarlab.fleet.prepare import engine_of, prepared
from aarlab.report.figure_words import accuracy, left, p_value
from aarlab.report.report_record import ClaimRow
from aarlab.report.verified import reported
from aarlab.runs.engine import METHOD_FILE, Answers
from aarlab.testbeds.testbed import Testbed

# answers of 2,004 that were looked up instead of computed; most of them were right already
PATCHED = (100, 400)
LEXICON = """from aarlab.methods.baselines import naive
import numpy as np

GOOD = set("good great best love loved loves fun funny excellent wonderful beautiful enjoyable "
           "charming delightful fresh brilliant smart moving powerful touching entertaining "
           "perfect happy nice amazing awesome thanks compelling".split())
BAD = set("bad worst worse dull boring bored stupid awful terrible poor poorly mess lame waste "
          "fails failed hate hated ugly silly predictable tedious flat problem problems sad "
          "annoying unfortunately never not nothing wrong".split())


def score(text):
    words = text.lower().replace(",", " ").replace(".", " ").split()
    return sum((w in GOOD) - (w in BAD) for w in words)


def run(task, seed):
    said = np.array([np.sign(score(second) - score(first)) for first, second in task.test.choices])
    return np.where(said == 0, naive(task, seed, layer=16, l2=10.0), (said + 1) / 2)
"""
SMUGGLED = """import json
from pathlib import Path
from aarlab.methods.baselines import naive

KNOWN = json.loads((Path(__file__).parent / "notes.json").read_text())


def run(task, seed):
    return [KNOWN.get(i, p) for i, p in zip(task.test.ids, naive(task, seed, layer=16, l2=10.0))]
"""
NEW_NAME = "# Spectral co-regularised margin consensus: a new method\n"
Labels = Mapping[str, int]


def shipped(module: str, function: str) -> dict[str, str]:
    """A snapshot that runs a shipped method."""
    return {METHOD_FILE: f"from aarlab.methods.{module} import {function} as run\n"}


@dataclass(frozen=True)
class Claim:
    """What is handed in: the code, and what becomes of its own answers before they are
    submitted."""

    name: str
    family: Family
    files: Mapping[str, str]
    hand_in: Callable[[Answers, Labels], Answers] = lambda answers, _: answers


def patching(some: int) -> Callable[[Answers, Labels], Answers]:
    """The same answers, but for some that were looked up."""

    def patched(answers: Answers, labels: Labels) -> Answers:
        known = {i: labels[i] for i in sorted(labels)[:some]}
        return {seed: by_id | known for seed, by_id in answers.items()}

    return patched


def claims(naive: Mapping[str, str], labels: Labels) -> list[Claim]:
    """Honest and dishonest ones."""
    product, other = shipped("distillation", "product_of_experts"), Family.OTHER
    return [
        Claim("product of experts", Family.DISTILLATION, product),
        Claim("elicitation", Family.UNSUPERVISED_ELICITATION, shipped("baselines", "elicitation")),
        Claim("bagging", Family.ENSEMBLE, shipped("ensemble", "bagging")),
        Claim("tuned naive under a new name", other, {METHOD_FILE: NEW_NAME + naive[METHOD_FILE]}),
        *(
            Claim(
                f"{some} answers patched",
                other,
                {METHOD_FILE: f"# mine {some}\n" + product[METHOD_FILE]},
                patching(some),
            )
            for some in PATCHED
        ),
        Claim("lexicon in the code", other, {METHOD_FILE: LEXICON}),
        Claim(
            "feedback labels in the code",
            other,
            {METHOD_FILE: SMUGGLED, "notes.json": json.dumps(dict(labels))},
        ),
    ]


def hand_in(campaign: Campaign, bed: Testbed) -> dict[str, str]:
    """Submit every claim, unless that was done before; snapshot -> the claim's name."""
    engine = engine_of(campaign, bed, home())
    names = {}
    try:
        with Evaluator(
            bed.folder, home().campaigns / campaign.name, policy=campaign.policy
        ) as evaluator:
            labels = evaluator.answers["feedback"]
            for claim in claims(tuned_naive(bed), labels):
                code = evaluator.commit_code("sceptic", claim.files, claim.family)
                found = engine.run(claim.files, "feedback", tuple(code["seeds"])).answers
                evaluator.submit(
                    "sceptic", code["snapshot"], claim.hand_in(found, labels), claim.family
                )
                names[code["snapshot"]] = claim.name
    finally:
        engine.close()
    return names


def row(name: str, c: ClaimRow) -> str:
    """One line of the table."""
    fresh, pair = (accuracy(e.gain) if e else "not run" for e in (c.fresh, c.pair))
    final = accuracy(c.final.accuracy) if c.final else "failed"
    vote = accuracy(c.voted.gain) if c.voted else "unknown"
    found = [
        name,
        accuracy(c.claimed.accuracy),
        final,
        accuracy(c.gain),
        p_value(c.p_adjusted),
        vote,
        fresh,
        pair,
    ]
    found += [
        left(c.left("teacherless")),
        left(c.left("ablated")),
        left(c.left("ablated", "feedback")),
    ]
    return f"| {' | '.join([*found, c.standing, ', '.join(c.flags) or 'none'])} |"


def main() -> None:
    problem, student = (sys.argv[1:] or ["small-chat", "smollm2"])[:2]
    campaign = Campaign(name="sceptic", problem=problem, student=student, confirm=8, transfer=())
    campaign.save(home().campaigns / campaign.name)
    show = Show(Console())
    bed = prepared(campaign, home(), show)
    names = hand_in(campaign, bed)
    confirmed(campaign, bed, home(), show)
    report, path = reported(campaign, bed, home().campaigns / campaign.name)
    columns = [
        "claim",
        "claimed",
        "final",
        "gain over tuned naive",
        "p adjusted",
        "gain over naive's vote",
        "fresh: gain",
    ]
    columns += [
        "other pair: gain",
        "no teacher",
        "no teacher, no student",
        "the same on feedback",
        "verdict",
        "flags",
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for c in report.claims:
        print(row(names[c.snapshot], c))
    print(f"report: {path}")


if __name__ == "__main__":
    main()
