"""A problem in a folder is admitted, or refused with all reasons; in real sandboxes."""

from pathlib import Path

import pytest

from aarlab.bench.leak_checks import leaks
from aarlab.bench.problem_admission import admit
from aarlab.bench.problem_card import read_card
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.folder.new_folder import TEMPLATES, write_new
from aarlab.problems.folder.shipped_folders import SHIPPED
from aarlab.runs import folder_run
from aarlab.runs.prepared import prepare
from aarlab.sandbox import Bubblewrap
from tests.bench.small_problem import write_small
from tests.idle_machine import Idle

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def idle(monkeypatch):
    """Otherwise what is too slow may be the fault of the tests beside this one."""
    monkeypatch.setattr(folder_run, "Processors", Idle)


def quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody watches."""


def card_of(folder: Path, seeds=(1,)):
    return admit(read_problem(folder), Bubblewrap, quiet, seeds=seeds)


@pytest.mark.long
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_new_folder_is_admitted(tmp_path, kind):
    write_new("mine", kind, tmp_path / "mine")
    card = card_of(tmp_path / "mine", seeds=(1, 2, 3))
    assert card.refusals == ()
    assert card.objectives
    assert card.tried
    assert all(row.headroom > 10 for row in card.objectives)
    assert all(
        t.outcome in {"refused", "scored"} or "others left it" in t.words for t in card.tried
    )
    assert card.correlation == pytest.approx(1)


def test_the_folder_for_predictions_is_short(tmp_path):
    files = write_new("mine", "predictions", tmp_path / "mine")
    assert sum(len(path.read_text().splitlines()) for path in files) < 60


@pytest.mark.long
def test_calibration_is_admitted():
    card = card_of(SHIPPED / "calibration", seeds=(1, 2, 3))
    assert card.refusals == ()
    brier, _, accuracy, _ = card.objectives
    assert (brier.name, accuracy.role) == ("brier", "gate")
    base, logistic = brier.levels
    assert base.normalised.estimate == pytest.approx(0)
    assert 0.3 < logistic.normalised.estimate < 0.8
    assert base.seed_sd == 0 < logistic.seed_sd, "it has no choice of its own"
    refused = {t.name for t in card.tried if t.outcome == "refused"}
    assert {"a FIFO", "a link to a secret", "every value NaN", "every value 1e400"} <= refused
    assert {t.name for t in card.tried if t.kind == "constant"} == {"all 0", "all 0.5", "all 1"}


PREPARED = "#CHANGE"
LEAKS = {
    "a field is the secret": (
        "for r in rows: r['y'] = events[r['id']]",
        "'y' of feedback equals events.json of feedback",
    ),
    "a field decides it": (
        "for r in rows: r['y'] = 'ab'[events[r['id']]]",
        "'y' of final decides events.json of final",
    ),
    "the secrets are public": (
        "(public / f'{split}.json').write_text(json.dumps(events))",
        "public/final.json is the same as secret/final/events.json",
    ),
    "a public map has them": (
        "more = {i: e + 5 for i, e in events.items()}; "
        "(public / f'more-{split}.json').write_text(json.dumps(more))",
        "public/more-final.json decides events.json of final",
    ),
    "items are sorted": (
        "rows.sort(key=lambda r: events[r['id']])",
        "feedback: events.json is sorted in the order of the items in the file",
    ),
    "the ids are sorted": (
        "rows.sort(key=lambda r: events[r['id']]); events = {f'i{n:03d}-{split}': events[r['id']] "
        "for n, r in enumerate(rows)}; [r.update(id=i) for r, i in zip(rows, events)]; "
        "rng.shuffle(rows)",
        "in the order of the items by their ids",
    ),
    "they come in long runs": (
        "rows.sort(key=lambda r: (int(r['id'][-3:]) // 50, events[r['id']]))",
        "events.json has runs that are no chance",
    ),
    "ids have them": (
        "events = {i + '-ab'[e]: e for i, e in events.items()}; "
        "[r.update(id=i) for r, i in zip(rows, events)]",
        "the id without its digits",
    ),
    "lines have their length": (
        "[r.update(words=r['words'] + ' x' * 40 * events[r['id']]) for r in rows]",
        "the length of the line decides events.json",
    ),
    "final is nearly feedback": (
        "rng = random.Random(seed); [r.update(x=r['x'] + 1e-9) for r in rows]",
        "200 of 200 inputs of final",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found(tmp_path, name):
    change, words = LEAKS[name]
    folder = write_small(tmp_path / "small", ("prepare.py", PREPARED, change))
    prepared = prepare(read_problem(folder), 1, tmp_path, Bubblewrap)
    found = [leak.found for leak in leaks(prepared)]
    assert any(words in f for f in found), found


def test_data_without_a_leak_have_none(tmp_path):
    prepared = prepare(read_problem(write_small(tmp_path / "small")), 1, tmp_path, Bubblewrap)
    assert {leak.found for leak in leaks(prepared)} == {""}


@pytest.mark.long
def test_all_reasons_are_given_at_once(tmp_path):
    """A leak, a baseline that fails, and one draw for all seeds."""
    leak = ("prepare.py", PREPARED, LEAKS["a field is the secret"][0])
    draw = ("prepare.py", "random.Random(seed)", "random.Random(7)")
    fails = ("baselines/half.py", "import json", "raise SystemExit(1)")
    card = card_of(write_small(tmp_path / "small", leak, draw, fails))
    assert not card.admitted
    for words in ("give the same secrets", "equals events.json", "baselines/half.py, seed 1"):
        assert any(words in r for r in card.refusals), card.refusals


DATA = {
    "one draw": ("random.Random(seed)", "random.Random(7)", "give the same secrets"),
    "no seed": ("random.Random(seed)", "random.Random()", "two runs with data seed 1 differ in"),
    "no units": ('"units.json"', '"unit.json"', "units.json"),
    "a line that fails": ("rng = random.Random(seed)", "rng = None", "has no attribute"),
    "no end": (PREPARED, "while True: pass", "did not finish within 3 s"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_used_are_refused(tmp_path, name):
    before, after, words = DATA[name]
    short = ("problem.yaml", "wall_s: 20", "wall_s: 3")
    broken = ("baselines/half.py", "import json", "raise SystemExit(1)")
    folder = write_small(tmp_path / "small", ("prepare.py", before, after), short, broken)
    card = card_of(folder)
    assert any("prepare.py" in r and words in r for r in card.refusals), card.refusals


GRADED = "    return {"
GRADERS = {
    "raises": (GRADED, "    1 / 0\n    return {", "grade.py, line 8: ZeroDivisionError"),
    "a check that raises": ("    pass", "    1 / 0", "grade.py, line 4: ZeroDivisionError"),
    "a check that never ends": ("    pass", "    while True: pass", "did not finish within 3 s"),
    "never ends": (GRADED, "    while True: pass\n    return {", "did not finish within 3 s"),
    "forks without end": (
        GRADED,
        "    import os\n    while True: os.fork()\n    return {",
        "grade.py",
    ),
    "fills the disk": (
        GRADED,
        "    for n in range(99): open(str(n), 'wb').write(bytes(1 << 28))\n    return {",
        "grade.py",
    ),
    "fills the memory": (
        GRADED,
        "    x = [bytes(1 << 30) * 9]\n    return {",
        "grade.py, line 8: MemoryError",
    ),
    "NaN": ("(submission[i] - y) ** 2", "float('nan')", "NaN"),
    "other units": ("{i: (sub", "{i + '?': (sub", "for each of the 200 units and no other"),
    "beyond the range": ("(submission[i] - y) ** 2", "2.0", "100.00% of the values of 'brier'"),
    "nothing": (GRADED, "    return None\n    return {", "exactly the objectives ['brier']"),
    "noise of its own": (
        "(submission[i] - y) ** 2",
        "(submission[i] - y) ** 2 * __import__('random').random()",
        "two different values of 'brier'",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", GRADERS)
def test_a_grader_that_fails_is_the_authors_fault(tmp_path, name):
    before, after, words = GRADERS[name]
    short = ("problem.yaml", "wall_s: 20", "wall_s: 3")
    card = card_of(write_small(tmp_path / "small", ("grade.py", before, after), short))
    found = [r for r in card.refusals if words in r]
    assert found, card.refusals
    assert all(r.startswith("grade.py") for r in found)
    assert any(verb in found[0] for verb in ("Correct", "Make", "Draw"))


@pytest.mark.long
def test_a_grader_that_prints_is_admitted_and_its_card_is_kept(tmp_path):
    printing = ("grade.py", GRADED, "    print('x' * 99999)\n    return {")
    folder = write_small(tmp_path / "small", printing)
    card = card_of(folder)
    assert card.refusals == ()
    problem = read_problem(folder)
    problem.folder.card.write_text(card.model_dump_json())
    assert read_card(problem) == card
    (folder / "grade.py").write_text((folder / "grade.py").read_text() + "\n")
    assert read_card(read_problem(folder)) is None, "it was found of other files"


CONTRACTS = {
    "few units": (
        (("prepare.py", "range(200)", "range(30)"),),
        "standard deviations of one submission; 5 are needed",
    ),
    "a ceiling below the floor": (
        (("problem.yaml", "value: 0.09", "value: 0.3"),),
        "the ceiling, 0.3, is not better than the floor, 0.25",
    ),
    "a constant that gains": (
        (("problem.yaml", "{baseline: half}", "{value: 0.5, source: a guess}"),),
        "the constant submission 'all 0.5' scores 0.61 on feedback",
    ),
    "splits that disagree": (
        (
            (
                "prepare.py",
                PREPARED,
                "if split == 'final': events = {i: 1 - e for i, e in events.items()}",
            ),
        ),
        "feedback correlates with final with -1.00",
    ),
    "a baseline that fails": (
        (("baselines/side.py", 'i["x"]', 'i["z"]'),),
        "baselines/side.py, seed 1: The method ended with status 1",
    ),
    "a baseline that is invalid": (
        (("baselines/side.py", "0.9 if", "1.9 if"),),
        "baselines/side.py, seed 1: what it submits is refused",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CONTRACTS)
def test_a_problem_that_measures_nothing_is_refused(tmp_path, name):
    changes, words = CONTRACTS[name]
    card = card_of(write_small(tmp_path / "small", *changes))
    assert any(words in r for r in card.refusals), card.refusals


@pytest.mark.long
def test_a_grader_of_artifacts_that_hostile_files_break_is_refused(tmp_path):
    write_new("mine", "artifact", tmp_path / "mine")
    grade = tmp_path / "mine" / "grade.py"
    text = grade.read_text()
    grade.write_text(text[: text.index("def check")] + text[text.index("def grade") :])
    card = card_of(tmp_path / "mine")
    faults = {t.name for t in card.tried if t.outcome == "fault of the author"}
    assert {"a pickle as centres.json", "NaN as centres.json"} <= faults
    assert any("With the hostile submission" in r for r in card.refusals)
