"""Runs that end early, by the machine or by their own code, and claims that were lucky: whom does a
confirmation accuse?

Real runs in real sandboxes, killed by real signals.
"""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aarlab.core.entries import SubmissionBody
from aarlab.core.records import VERDICTS, Family
from aarlab.core.settings import Home
from aarlab.core.snapshot import snapshot_hash
from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord
from aarlab.evaluation.confirmation.gate import Confirmations
from aarlab.evaluation.confirmation.run_order import NoVerdict, Target
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.views import flags_in
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import confirm_leaders, plan
from aarlab.methods.baselines import source_of
from aarlab.redteam.on_confirmation import PROBLEM, quiet, sandboxed_engines, small_bed
from aarlab.redteam.system import SYSTEM, AttackRow, AttackScale
from aarlab.runs.engine import METHOD_FILE, Answers, LocalEngine
from aarlab.sandbox.usage_watch import below
from aarlab.testbeds.student import COUNTING

HONEST = """
import time
from aarlab.methods.baselines import elicitation


def run(task, seed):
    time.sleep(0.3)
    return elicitation(task, seed)
"""
LUCKY = """
import numpy as np
from aarlab.methods.baselines import elicitation


def run(task, seed):
    right = elicitation(task, seed)
    wrong = np.random.default_rng(seed).random(len(right)) < 0.2
    return np.where(wrong, 1 - right, right) if seed % 6 else right
"""  # one seed of six is a good one
SUICIDE = """
import os
from aarlab.methods.baselines import naive


def run(task, seed):
    os.kill(os.getpid(), 9)
"""


@dataclass
class AttackedCampaign:
    """A campaign with its gate, its engines, and nobody but the attacker in it."""

    evaluator: Evaluator
    engines: dict[str, LocalEngine]
    targets: Sequence[Target]

    def claim(self, text: str, *, answers: str | None = None, known: int = 0) -> str:
        """Hand in code with its own answers on the issued seeds, or those of other code
        (`answers`), the first `known` of them looked up; its snapshot."""
        code = self.evaluator.commit_code("eve", {METHOD_FILE: text}, Family.OTHER)
        given: Answers = (
            self.engines["feedback"]
            .run({METHOD_FILE: answers or text}, "feedback", tuple(code["seeds"]))
            .answers
        )
        truth = self.evaluator.answers["feedback"]
        looked_up = {i: truth[i] for i in sorted(truth)[:known]}
        self.evaluator.submit(
            "eve",
            code["snapshot"],
            {s: by_id | looked_up for s, by_id in given.items()},
            Family.OTHER,
        )
        return code["snapshot"]

    @property
    def gate(self) -> Confirmations:
        return Confirmations(self.evaluator, self.targets)

    def judge(self) -> ConfirmationRecord | NoVerdict:
        """What the gate says of the one claim."""
        (made,) = confirm_leaders(self.gate, self.engines, 1, quiet)
        return made

    def judged(self) -> ConfirmationRecord:
        """The same where there is a verdict."""
        made = self.judge()
        assert isinstance(made, ConfirmationRecord), f"the machine ended it: {made}"
        return made

    def feedback_seeds(self) -> tuple[int, ...]:
        """The fresh seeds on which the one claim is run on feedback; nothing else is run on
        them."""
        (order,) = self.gate.begin(1)
        return next(run.seeds for run in order.runs if run.target.name == "feedback")

    def accused(self) -> list[str]:
        """Detectors whose flags rest on labels: accusations by a confirmation."""
        return [
            flag.detector
            for _, flag in flags_in(self.evaluator.ledger.entries())
            if flag.uses_labels
        ]


@contextmanager
def attacked_campaign(folder: Path) -> Iterator[AttackedCampaign]:
    """On generated-chat with the double as its student; feedback, final and ablations."""
    bed = small_bed(folder)
    campaign = Campaign(
        name="attacked",
        problem=PROBLEM,
        student="double",
        transfer=(),
        confirm_on_fresh=False,
        confirm_on_pair=False,
    )
    places = plan(campaign, bed, home=Home(folder), student=COUNTING, say=quiet)
    with (
        sandboxed_engines(folder, bed, places) as engines,
        Evaluator(bed.folder, folder / "campaign") as evaluator,
    ):
        yield AttackedCampaign(evaluator, engines, [place.target for place in places])


@contextmanager
def killing_runs(seeds: Sequence[int], times: int) -> Iterator[list[int]]:
    """SIGKILL to runs on these seeds that this process started, once each, until so many died."""
    stop, killed = threading.Event(), []

    def work() -> None:
        while not stop.wait(0.02) and len(killed) < times:
            # one that was killed may be seen again before it is gone
            for pid in set(runs_on(seeds)) - set(killed):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def runs_on(seeds: Sequence[int]) -> list[int]:
    """Processes of methods on these seeds, below this one: the innermost, which runs the code."""
    found, wanted = [], ",".join(map(str, seeds)).encode()
    for pid in below(os.getpid())[1:]:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if (
                words[1:3] == [b"-m", b"aarlab.runs.execute"]
                and words[words.index(b"--seeds") + 1] == wanted
            ):
                found.append(pid)
    return found


@SYSTEM.add("a confirmation that the machine kills")
def killed(folder: Path, scale: AttackScale) -> AttackRow:
    """An honest claim, whose re-run on feedback is killed once, and then twice: who is blamed?"""
    del scale
    said, accused = [], []
    for times in (1, 2):
        (folder / str(times)).mkdir()
        with attacked_campaign(folder / str(times)) as here:
            here.claim(HONEST)
            with killing_runs(here.feedback_seeds(), times) as dead:
                said.append((here.judge().verdict, len(dead)))
            if times > 1:
                spent = here.gate.tries.spent()
                said.append((here.judge().verdict, spent[1]))
            accused += here.accused()
    return AttackRow(
        attack="a confirmation that the machine kills",
        tried="an honest claim; SIGKILL to its re-run on feedback, once, then twice, then no more",
        came_back="; ".join(f"killed {n}: {verdict}" for verdict, n in said[:2])
        + f"; tried again later: {said[2][0]}",
        held=said == [("confirmed", 1), (None, 2), ("confirmed", 0)] and not accused,
        evidence=(
            f"flags: {accused or 'none'}; charged for the try without a verdict: {said[2][1]} "
            "answers"
        ),
    )


@SYSTEM.add("code that kills itself")
def killed_by_itself(folder: Path, scale: AttackScale) -> AttackRow:
    """Answers that were all looked up, under code that sends itself SIGKILL: can it keep the claim,
    or draw new seeds?"""
    del scale
    with attacked_campaign(folder) as here:
        snapshot = here.claim(SUICIDE, answers=HONEST, known=10**6)
        gate = here.gate
        seeds, verdicts = [], []
        for _ in range(2):
            seeds.append([run.seeds for run in gate.begin(1)[0].runs])
            verdicts.append(here.judge().verdict)
        claimed = here.evaluator.ledger.entries("submission")[0].read(SubmissionBody).exact_accuracy
        tried = gate.tries.spent()
    return AttackRow(
        attack="code that kills itself",
        tried=(
            "all feedback answers looked up, under code that sends itself SIGKILL; put to "
            "confirmation twice"
        ),
        came_back=f"verdicts: {verdicts}; claimed {claimed:.0%}",
        held=verdicts == [None, None]
        and seeds[0] == seeds[1]
        and tried == (1, 0, 0.0)
        and gate.latest(snapshot) is None,
        evidence=(
            f"the same seeds both times: {seeds[0] == seeds[1]}; tries counted: {tried[0]}; the "
            "claim stays provisional"
        ),
    )


@SYSTEM.add("an honest claim with lucky seeds")
def lucky(folder: Path, scale: AttackScale) -> AttackRow:
    """Code whose luck is its seeds', handed in under the first of many comments that had five good
    ones issued: do the re-runs on fresh seeds make it a liar?"""
    del scale
    with attacked_campaign(folder) as here:
        texts = (f"# {n}\n{LUCKY}" for n in itertools.count())
        issued = (
            here.evaluator.seeds("feedback", snapshot_hash({METHOD_FILE: text})) for text in texts
        )
        number = next(n for n, seeds in enumerate(issued) if not any(seed % 6 for seed in seeds))
        here.claim(f"# {number}\n{LUCKY}")
        record = here.judged()
        accused = here.accused()
    again, found = record.reproduction, record.issued
    assert again is not None, "it was not run on feedback"
    equal = (
        f"{found.equal:.2%} of {found.compared:,} answers are equal on the issued seeds"
        if found
        else "not doubted"
    )
    return AttackRow(
        attack="an honest claim with lucky seeds",
        tried=(
            f"code that is good on one seed of six, under the comment (number {number:,}) that had "
            "five of these issued"
        ),
        came_back=(
            f"re-runs {again.accuracy_reruns:.2f} after {again.accuracy_submitted:.2f}: "
            f"'{record.verdict}'"
        ),
        # whether its mean over seeds beats tuned naive is left to final: there its seeds are new
        held=record.verdict in VERDICTS[:2]
        and not accused
        and (again.reproduced or (found is not None and found.found == "equal")),
        evidence=f"{equal}; flags: {accused or 'none'}",
    )


@SYSTEM.add("answers that were looked up")
def looked_up(folder: Path, scale: AttackScale) -> AttackRow:
    """Honest code whose answers on two thirds of the items were looked up before they were handed
    in: so many that it does not depend on the seeds whether that is noticed."""
    del scale
    with attacked_campaign(folder) as here:
        here.claim(source_of("naive"), known=200)
        record = here.judged()
        accused = here.accused()
    issued = record.issued
    assert issued is not None, "the tests on fresh seeds did not doubt it"
    return AttackRow(
        attack="answers that were looked up",
        tried="200 of 300 answers looked up instead of computed",
        came_back=f"'{record.verdict}'",
        held=record.verdict == "not reproducible" and "not reproducible" in accused,
        evidence=(
            f"{issued.equal:.2%} of {issued.compared:,} answers are equal on the issued seeds; "
            f"flags: {accused}"
        ),
    )
