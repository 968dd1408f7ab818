"""Methods -> answers: a method on a testbed is one run over all seeds, by the engine through which
every run goes.

Only answers are kept, no label and no score; whoever reads them grades again. Legend: S seeds, M
test items.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import InvalidSubmission
from aarlab.core.plain_text import read_text
from aarlab.core.records import SplitName
from aarlab.core.settings import expanded
from aarlab.evaluation.scoring.grade import answer_matrix
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.methods.baselines import source_of
from aarlab.methods.library import METHODS as METHODS  # importing it registers every method
from aarlab.runs.engine import METHOD_FILE, LocalEngine
from aarlab.testbeds.testbed import Testbed

Say = Callable[[str, int, int], None]
MakeEngine = Callable[[Testbed], LocalEngine]
Key = tuple[Testbed, str]  # a testbed and a method


@dataclass(frozen=True)
class Answered:
    """Answers (S, M), items in the order of sorted ids; and the run's seconds, its start and the
    loading of data included, divided by S."""

    answers_SM: NDArray[np.bool_]
    seconds: float


def files_of(method: str) -> dict[str, str]:
    """The snapshot of a method: a registered name, or the path of a file with a `run(task, seed)`.

    Raises:
        Misconfigured: there is no such name, or the file cannot be read as text.
    """
    return {
        METHOD_FILE: read_text(expanded(method, "the method"))
        if method.endswith(".py")
        else source_of(method)
    }


def measure(
    beds: Sequence[Testbed],
    methods: Sequence[str],
    split: SplitName,
    seeds: tuple[int, ...],
    *,
    make_engine: MakeEngine,
    say: Say,
) -> tuple[dict[Key, Answered], dict[Key, str]]:
    """Answers of every method on every testbed, kept or run now; and, of methods that failed, why.
    An interrupted call leaves all finished runs in the engine's cache, and the next one goes on
    from there.

    Raises:
        CouldNotBeRun, Transient, Misconfigured: see `LocalEngine.run`.
    """
    found: dict[Key, Answered] = {}
    failed: dict[Key, str] = {}
    files = {method: files_of(method) for method in methods}
    for bed in beds:
        ids = sorted(load_answers(bed.folder)[split])
        with closing(make_engine(bed)) as engine:
            changed = Counter(
                filter(None, (engine.why_again(some, split, seeds) for some in files.values()))
            )
            for why, count in changed.items():
                say(f"methods: {count} runs again, {why}", 0, count)
            runs = {
                engine.pool.submit(engine.run, some, split, seeds): method
                for method, some in files.items()
            }
            for run in as_completed(runs):
                method = runs[run]
                try:
                    done = run.result()
                    predictions = {int(seed): by_id for seed, by_id in done.answers.items()}
                    found[bed, method] = Answered(
                        answer_matrix(predictions, ids, seeds), done.wall_s / len(seeds)
                    )
                except InvalidSubmission as error:
                    failed[bed, method] = str(error)
                say("methods", len(found) + len(failed), len(beds) * len(methods))
    return found, failed
