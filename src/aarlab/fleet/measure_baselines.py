"""The baselines of a testbed: run like any method, graded like any submission, kept in
private/baselines.npz, and in private/baselines.code.json the code that ran them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission, Misconfigured
from aarlab.core.files import open_whole, write_whole
from aarlab.core.layout import TestbedFolder
from aarlab.core.own_code import Build, CodeRecord, recorded, this_build
from aarlab.core.records import SplitName
from aarlab.evaluation.scoring.grade import grade
from aarlab.evaluation.scoring.hidden_labels import load_answers
from aarlab.methods.baselines import BASELINES, FIRST_SEED, TUNED_L2, TUNED_LAYERS, source_of
from aarlab.runs.engine import METHOD_FILE, LocalEngine, RunResult, code_of_run
from aarlab.testbeds.testbed import Testbed

TUNED = "naive-tuned"
WHOLE = "fine-tuned"
SEEDS = tuple(range(FIRST_SEED, FIRST_SEED + 5))
SPLITS: tuple[SplitName, ...] = ("feedback", "final")
Correct = NDArray[np.bool_]
Progress = Callable[[str, int, int], None]


def measure_baselines(
    engine: LocalEngine, say: Progress, seeds: tuple[int, ...] = SEEDS
) -> dict[str, Correct]:
    """Correctness of every baseline, keyed `<split>/<name>`, each (S, M) with items in the order of
    sorted ids; on `feedback` alone where the testbed lacks its `final` items.

    Naive is tuned as hard as its rivals are: of all its settings, the one with the best exact
    `feedback` accuracy. Where the student can be fine-tuned, that is one setting beside those of
    the heads on its frozen states.

    Raises:
        CouldNotBeRun, Misconfigured: see `_result`; run it again to resume here.
    """
    bed = engine.testbed
    answers, code = load_answers(bed.folder), code_of_baselines(bed)
    sources = {name: source_of(name) for name in BASELINES}
    settings = {
        f"{layer}/{l2}": source_of("naive", layer=layer, l2=l2)
        for layer in TUNED_LAYERS
        for l2 in TUNED_L2
    }
    if engine.testbed.preset is not None:
        settings[WHOLE] = sources["naive"]
    tuned = _graded(engine, settings, "feedback", answers, seeds, say)
    best = max(tuned, key=lambda name: tuned[name].mean())
    sources[TUNED] = settings[best]
    found: dict[str, Correct] = {}
    for split in SPLITS if bed.whole else ("feedback",):
        for name, correct in _graded(engine, sources, split, answers, seeds, say).items():
            found[f"{split}/{name}"] = correct
    # what is written now goes together or is written again
    if recorded(bed.baselines_code) != code:
        for kept in (bed.baselines, bed.baselines_code):
            kept.unlink(missing_ok=True)
    write_whole(bed.baselines_build, this_build().model_dump_json())
    write_whole(bed.naive_tuned, best)
    write_whole(bed.baselines_code, code.model_dump_json())
    with open_whole(bed.baselines) as file:
        np.savez(file, **found)
    return found


def code_of_baselines(testbed: Testbed) -> CodeRecord:
    """The code of aarlab that decides them all."""
    return code_of_run(testbed, {name: source_of(name) for name in BASELINES})


def why_again(testbed: Testbed) -> str | None:
    """Why baselines are to be run: None where this code ran them already, "" where nobody did or
    `final` was set up since, else what changed since."""
    if not testbed.baselines.exists():
        return ""
    if testbed.whole and not any(name.startswith("final/") for name in load_baselines(testbed)):
        return ""
    return code_of_baselines(testbed).since(recorded(testbed.baselines_code)) or None


def made_by(bed: TestbedFolder) -> tuple[CodeRecord | None, Build | None]:
    """The code, and which aarlab, that ran the baselines; None where an older version did."""
    build = bed.baselines_build
    code = recorded(bed.baselines_code)
    return code, Build.model_validate_json(build.read_text()) if build.exists() else None


def _graded(
    engine: LocalEngine,
    sources: Mapping[str, str],
    split: SplitName,
    answers: Mapping[str, Mapping[str, int]],
    seeds: tuple[int, ...],
    say: Progress,
) -> dict[str, Correct]:
    runs = {
        name: engine.pool.submit(engine.run, {METHOD_FILE: text}, split, seeds)
        for name, text in sources.items()
    }
    graded: dict[str, Correct] = {}
    for done, (name, run) in enumerate(runs.items(), start=1):
        predictions = {
            int(seed): by_id for seed, by_id in _result(run, name, split).answers.items()
        }
        graded[name] = grade(predictions, answers[split], seeds)
        say(f"baselines on {split}", done, len(runs))
    return graded


def _result(run: Future[RunResult], name: str, split: SplitName) -> RunResult:
    """A baseline's run. Its code is the library's, so that nobody who submits anything has to act
    where it fails.

    Raises:
        CouldNotBeRun: the machine ended it twice.
        Misconfigured: it failed.
    """
    try:
        return run.result()
    except CouldNotBeRun as error:
        raise CouldNotBeRun(
            f"The baseline '{name}' on {split}: {error} What was run is kept.", **error.facts
        ) from error
    except InvalidSubmission as error:
        words = (
            f"The baseline '{name}' did not run on {split} ({error}). Raise run_timeout_s, or fix "
            "the installation."
        )
        raise Misconfigured(words) from error


def tuned_naive(bed: TestbedFolder) -> dict[str, str]:
    """The snapshot of naive with the setting that `measure_baselines` chose on `feedback`: what a
    confirmation must beat."""
    setting = bed.naive_tuned.read_text().strip()
    if setting == WHOLE:
        return {METHOD_FILE: source_of("naive")}
    layer, l2 = setting.split("/")
    return {METHOD_FILE: source_of("naive", layer=int(layer), l2=float(l2))}


def load_baselines(bed: TestbedFolder) -> dict[str, Correct]:
    """What `measure_baselines` kept."""
    with np.load(bed.baselines) as stored:
        return {name: stored[name] for name in stored.files}
