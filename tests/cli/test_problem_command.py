"""`aar problem` and `aar grade`: what an author of a problem in a folder sees."""

import json

import pytest
from typer.testing import CliRunner

from aarlab.cli import detail, grade_command, problem_command
from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.core.settings import home
from aarlab.problems import PROBLEMS
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs.prepared import prepare_in_secret
from aarlab.sandbox import Bubblewrap
from tests.bench.small_problem import write_small


@pytest.fixture
def aar(monkeypatch, tmp_path):
    """Runs a command in a folder and home of its own: exit status and what it printed."""
    monkeypatch.setenv("AAR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(detail, "_detail", 0)  # what `-q` sets goes with the test
    for command in (problem_command, grade_command):
        monkeypatch.setattr(command.console, "_width", 250)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        done = CliRunner().invoke(app, [*map(str, words)])
        if isinstance(done.exception, Exception):
            raise done.exception
        return done.exit_code, done.output

    return run


def test_new_writes_a_problem_and_overwrites_nothing(aar, tmp_path):
    status, output = aar("problem", "new", "mine", "--kind", "program", "--dir", "some/where")
    assert status == 0
    assert output.endswith("next: aar problem check some/where\n")
    assert read_problem(tmp_path / "some" / "where").contract.name == "mine"
    with pytest.raises(Misconfigured, match="is there already"):
        aar("problem", "new", "mine", "--dir", "some/where")
    with pytest.raises(Misconfigured, match="cannot be a problem's name"):
        aar("problem", "new", "Mine!")


def test_list_has_all_that_ship_with_objectives(aar):
    status, output = aar("problem", "list")
    assert status == 0
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "calibration predictions brier (lower, climb), accuracy (higher, gate)" in lines
    assert {line.split()[0] for line in lines} >= {*PROBLEMS, "calibration"}


def test_card_shows_the_contract_and_says_where_nothing_was_checked(aar, tmp_path):
    status, output = aar("problem", "card", "small-math")
    assert status == 0
    assert "weak-to-strong" in output
    write_small(tmp_path / "small")
    output = aar("problem", "card", tmp_path / "small")[1]
    assert "0.09: the true probabilities are 0.1 and 0.9" in output
    assert "It was not checked here" in output
    (tmp_path / "small" / "card.json").write_text("{}")
    with pytest.raises(Misconfigured, match=r"is no card .* Run `aar problem check"):
        aar("problem", "card", tmp_path / "small")


def test_a_problem_that_is_not_there_is_named_with_those_that_ship(aar):
    with pytest.raises(Misconfigured, match="Shipped are: calibration"):
        aar("problem", "card", "calibratoin")


@pytest.mark.process
@pytest.mark.long
def test_check_exits_with_one_if_it_refuses_and_keeps_the_card(aar, tmp_path):
    leak = ("prepare.py", "#CHANGE", "for r in rows: r['y'] = events[r['id']]")
    folder = write_small(tmp_path / "small", leak)
    status, output = aar("problem", "check", folder, "-q")
    assert status == 1
    assert "small is refused for 1 reason" in output
    assert "prepare.py: public values that equal or decide a secret" in output
    card = json.loads((folder / "card.json").read_text())
    assert str(tmp_path) not in json.dumps(card), "a card may be sent to others"
    status, output = aar("problem", "card", folder)
    assert status == 0
    assert "small is refused for 1 reason" in output


GATED = (
    "problem.yaml",
    "baselines:",
    "  - {name: side, unit: share, role: gate, margin: 0.1, floor: {value: 0.8, source: wanted}, "
    "ceiling: {value: 1, source: all}}\nbaselines:",
)
SIDES = (
    "grade.py",
    "for i, y in events.items()}}",
    "for i, y in events.items()}, 'side': {i: float((submission[i] > 0.5) == y) for i, y in "
    "events.items()}}",
)


@pytest.mark.process
@pytest.mark.long
def test_grade_prints_one_table_and_whose_fault_it_is(aar, tmp_path):
    folder = write_small(tmp_path / "small", GATED, SIDES)
    made = prepare_in_secret(read_problem(folder), 1, home(), Bubblewrap)
    events = json.loads((made.secrets("final") / "events.json").read_text())
    truth = {item: 0.9 if event else 0.1 for item, event in events.items()}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "half.json").write_text(json.dumps(dict.fromkeys(truth, 0.5)))
    (tmp_path / "wrong.json").write_text(json.dumps(truth | {"other": 0}))
    files = ("truth.json", "half.json", "wrong.json", "small/baselines/side.py")
    status, output = aar("grade", folder, *files, "-q")
    assert status == 1, "one has no score"
    rows = {
        line.split()[0].rpartition("/")[2]: " ".join(line.split()) for line in output.splitlines()
    }
    assert "0.01 [0.01, 0.01] 1 [1, 1]" in rows["truth.json"]
    assert "side: holds, worse by -0.2 [-0.2, -0.2], margin 0.1" in rows["truth.json"]
    assert "0.25 [0.25, 0.25]" in rows["half.json"]
    assert "0.00 [0.00, 0.00]" in rows["half.json"]
    assert "side: broken" in rows["half.json"]
    assert "side: holds" in rows["side.py"]
    assert "refused, by its author to be changed" in " ".join(output.split())
    assert "1 ids are not in this split, e.g. 'other'" in output


@pytest.mark.process
def test_grade_says_that_a_grader_is_its_authors_fault(aar, tmp_path):
    folder = write_small(
        tmp_path / "small", ("grade.py", "    return {", "    1 / 0\n    return {")
    )
    floor = ("{baseline: half}", "{value: 0.25, source: a half}")
    contract = (folder / "problem.yaml").read_text().replace(*floor)
    (folder / "problem.yaml").write_text(contract)
    made = prepare_in_secret(read_problem(folder), 1, home(), Bubblewrap)
    ids = json.loads((made.secrets("feedback") / "events.json").read_text())
    (tmp_path / "half.json").write_text(json.dumps(dict.fromkeys(ids, 0.5)))
    status, output = aar("grade", folder, "half.json", "--split", "feedback", "-q")
    assert status == 1
    assert "fault of the problem's author" in output
    assert "grade.py, line 8: ZeroDivisionError: division by zero" in output
