"""Execute the code behind a report's claims and baselines again, in clean sandboxes, and compare
every answer with the one that was recorded. Nothing is taken from a cache, and nothing kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from aarlab.core.entries import ConfirmationBody
from aarlab.core.errors import InvalidSubmission
from aarlab.core.held_folder import HeldFolder
from aarlab.core.records import SplitName
from aarlab.core.settings import Home
from aarlab.evaluation.confirmation.confirmation_record import record_of
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.grade import grade
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.confirm import groups_of
from aarlab.fleet.display import Display
from aarlab.fleet.measure_baselines import SEEDS, SPLITS, TUNED, load_baselines, tuned_naive
from aarlab.fleet.prepare import make_sandbox, reader_of
from aarlab.methods.baselines import source_of
from aarlab.report.report_record import Report
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.testbeds.testbed import Testbed


class RanAgain(NamedTuple):
    """One piece of code on one split."""

    what: str  # as in the names of figures: "claims/1 on final"
    answers: int  # that were compared
    differing: int
    failure: str = ""
    unit: str = "answers"  # of what was compared

    @property
    def agrees(self) -> bool:
        return not self.differing and not self.failure


@contextmanager
def fresh_engine(
    campaign: Campaign, bed: Testbed, home: Home, show: Display
) -> Iterator[LocalEngine]:
    """An engine with the campaign's sandbox and limits, and a cache of its own that is empty."""
    with HeldFolder() as held:
        engine = LocalEngine(
            bed,
            held.path,
            make_sandbox(campaign),
            workers=campaign.workers,
            timeout_s=campaign.run_timeout_s,
            student=reader_of(campaign, home, show),
        )
        try:
            yield engine
        finally:
            engine.close()


def ran_again(
    report: Report, names: Sequence[str], engine: LocalEngine, evaluator: Evaluator
) -> Iterator[RanAgain]:
    """Of each claim and each baseline to which one of the figures belongs. A claim is run on final
    with the seeds of its confirmation."""
    wanted = {tuple(name.split("/")[:2]) for name in names}
    for claim in report.claims:
        if ("claims", str(claim.rank)) in wanted:
            yield from _claim(f"claims/{claim.rank}", claim.snapshot, engine, evaluator)
    for row in report.baselines:
        if ("baselines", row.name) in wanted:
            yield from _baseline(row.name, engine, evaluator)


def _claim(
    what: str, snapshot: str, engine: LocalEngine, evaluator: Evaluator
) -> Iterator[RanAgain]:
    records = [
        record_of(entry)
        for entry in evaluator.ledger.each("confirmation")
        if entry.read(ConfirmationBody).snapshot == snapshot
    ]
    final = records[-1].of("final") if records else None
    if final is None or "method" not in final.predictions:
        return
    stored = evaluator.predictions(final.predictions["method"])
    yield _compared(f"{what} on final", engine, evaluator.code(snapshot), "final", stored)


def _compared(
    what: str,
    engine: LocalEngine,
    files: Mapping[str, str],
    split: SplitName,
    stored: Mapping[int, Mapping[str, int]],
) -> RanAgain:
    count = sum(len(answers) for answers in stored.values())
    try:
        again = _answers(engine, files, split, tuple(sorted(stored)))
    except InvalidSubmission as error:
        return RanAgain(what, count, count, str(error))
    differing = sum(
        again[seed].get(item) != answer
        for seed, answers in stored.items()
        for item, answer in answers.items()
    )
    return RanAgain(what, count, differing)


def _baseline(name: str, engine: LocalEngine, evaluator: Evaluator) -> Iterator[RanAgain]:
    bed = engine.testbed
    files = tuned_naive(bed) if name == TUNED else {METHOD_FILE: source_of(name)}
    kept = load_baselines(bed)
    for split in SPLITS:
        right_SM = kept[f"{split}/{name}"]
        again = _answers(engine, files, split, SEEDS)
        graded_SM = grade(again, evaluator.answers[split], SEEDS)
        differing = int(np.count_nonzero(graded_SM != right_SM))
        yield RanAgain(f"baselines/{name} on {split}", right_SM.size, differing)


def _answers(
    engine: LocalEngine, files: Mapping[str, str], split: SplitName, seeds: tuple[int, ...]
) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for group in groups_of(seeds):
        found |= {int(s): a for s, a in engine.run(files, split, group).answers.items()}
    return found
