"""Imported Harbor tasks are graded in real sandboxes by their own scripts, however these end."""

import subprocess
from pathlib import Path

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.harbor.import_harbor import import_harbor
from aarlab.runs.grading import Fault, Grader, Refused, Scores
from aarlab.runs.prepared import prepare, submission
from aarlab.sandbox import Bubblewrap, Directory, bubblewrap
from aarlab.sandbox.sandbox import Mount
from tests.problems.folders_made import CONTRACT, write_problem
from tests.problems.harbor_packages import CASES, GUESSING, OBEYING, write_package

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
ACT = "workspace/submission/act.sh"


def grader_of(place, files) -> Grader:
    import_harbor(write_package(place / "package", files), place / "made")
    problem = read_problem(place / "made")
    return Grader(problem, prepare(problem, 1, place / "data", Bubblewrap), Bubblewrap)


@pytest.fixture(scope="module")
def guessing(tmp_path_factory):
    return grader_of(tmp_path_factory.mktemp("guessing"), GUESSING)


@pytest.fixture(scope="module")
def obeying(tmp_path_factory):
    return grader_of(tmp_path_factory.mktemp("obeying"), OBEYING)


def graded(grader, tmp_path, split="final", **files):
    folder = tmp_path / "submitted"
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    folder.mkdir(exist_ok=True)
    return grader.grade(folder, split)


def acted(grader, tmp_path, script):
    """The reward of a submission of which test.sh does what its script says."""
    path = tmp_path / "submitted" / ACT
    path.parent.mkdir(parents=True)
    path.write_text(script)
    found = grader.grade(tmp_path / "submitted", "final")
    return found.values_M["reward"].tolist() if isinstance(found, Scores) else found


def test_feedback_is_graded_by_validation_and_final_by_the_tests(guessing, tmp_path):
    for split, value in (("feedback", 0.5), ("final", 1.0)):  # 1 / (1 + |7 - 6|), 1 / (1 + 0)
        path = tmp_path / split / "workspace" / "submission" / "guess.txt"
        path.parent.mkdir(parents=True)
        path.write_text("7")
        found = guessing.grade(tmp_path / split, split)
        assert isinstance(found, Scores), found
        assert found.values_M["reward"].tolist() == [value]


def test_the_baseline_is_that_of_the_package(guessing):
    code = {"method.py": guessing.problem.folder.baseline("start").read_text()}
    for split, value in (("feedback", 0.25), ("final", 0.2)):  # as its task.toml states
        with submission(guessing.problem, guessing.prepared, code, split, 1, Bubblewrap) as made:
            found = guessing.grade(made, split)
        assert found.values_M["reward"].tolist() == pytest.approx([value])


def test_nothing_of_the_tests_is_public_and_what_an_image_would_have_is(guessing):
    public = guessing.prepared.public
    assert (public / "files" / "workspace" / "hint.txt").read_text() == "7\n"
    texts = [p.read_text() for p in public.rglob("*") if p.is_file()]
    assert any("- 6.0" in text for text in texts)
    assert not any("- 7.0" in text or "chmod 700 /tests" in text for text in texts)


def test_a_researcher_runs_the_validation_in_a_folder_of_its_own(guessing, tmp_path):
    (tmp_path / "workspace" / "submission").mkdir(parents=True)
    (tmp_path / "workspace" / "submission" / "guess.txt").write_text("6")
    words = ["python", str(guessing.prepared.public / "harbor_task.py"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "reward 1", done.stdout + done.stderr


def test_what_is_no_place_of_the_task_is_refused(guessing, tmp_path):
    for number, name in enumerate(("logs/verifier/reward.json", "tests/test.sh", "workspace/x")):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_text('{"reward": 1}')
        found = guessing.grade(tmp_path / str(number), "final")
        assert isinstance(found, Refused)
        assert f"/{name} is no place" in found.words


def test_an_empty_submission_is_invalid_and_has_the_worst_reward(guessing, tmp_path):
    found = graded(guessing, tmp_path)
    assert found.values_M["reward"].tolist() == [0.0]


REWARDS = [
    ("echo 0.5 > /logs/verifier/reward.txt", 0.5),
    ("echo 0.1 > /logs/verifier/reward.txt; echo '{\"reward\": 0.75}' > $R", 0.75),
    ('echo \'{"reward": 0.9, "invalid": 1}\' > $R', 0.0),
    ("echo '{\"reward\": NaN}' > $R", 0.0),
    ("ln -s /tests/test.sh $R; ln -s /proc/self/environ /logs/verifier/reward.txt", 0.0),
    ("mkfifo $R /logs/verifier/reward.txt", 0.0),
    (
        "(sleep 1; echo 1 > /logs/verifier/reward.txt) & echo 0.5 > /logs/verifier/reward.txt",
        0.5,
    ),
]  # (what a verifier does, the reward that is read)
MORE_REWARDS = [
    ("printf '\\n 0.5 \\n' > /logs/verifier/reward.txt", 0.5),
    ("echo '{\"reward\": 1e999}' > $R", 0.0),
    ('echo \'{"reward": 0.5, "metric": "1"}\' > $R', 0.0),
    ("echo '[1.0]' > $R", 0.0),
    ("echo '{}' > $R", 0.0),
    ("echo nan > /logs/verifier/reward.txt", 0.0),
    ("python -c \"print('['*10**5)\" > $R", 0.0),
    ("head -c 20000000 /dev/zero > $R", 0.0),
    ("mkdir $R", 0.0),
    ("exit 3", 0.0),
    ("kill -9 $PPID", 0.0),
    ("head -c 50000000 /dev/urandom; echo 0.5 > /logs/verifier/reward.txt", 0.5),
    ("echo 0.5 > /logs/verifier/reward.txt; (sleep 99999 &) ", 0.5),
]


@pytest.mark.parametrize(
    ("script", "reward"),
    [*REWARDS, *(pytest.param(*more, marks=pytest.mark.long) for more in MORE_REWARDS)],
)
def test_a_reward_is_read_with_care(obeying, tmp_path, script, reward):
    """`reward.json` counts before `reward.txt`, as in Harbor; what Harbor could not read is the
    worst reward, since prepare.py has seen that the script works."""
    given = script.replace("$R", "/logs/verifier/reward.json")
    assert acted(obeying, tmp_path, given) == [reward]


def test_a_reward_that_is_better_than_the_best_is_a_fault_and_no_score(obeying, tmp_path):
    found = acted(obeying, tmp_path, "echo 2.0 > /logs/verifier/reward.txt")
    assert isinstance(found, Fault)
    assert "a reward of 2 is better than the best one, 1" in found.words


@pytest.mark.long
def test_a_script_that_hangs_ends_with_the_limit(tmp_path):
    files = OBEYING | {
        "task.toml": OBEYING["task.toml"].replace("timeout_sec = 60", "timeout_sec = 4")
    }
    found = acted(grader_of(tmp_path, files), tmp_path, "sleep 9999")
    assert not isinstance(found, list)
    assert "did not finish within 12 s" in found.words


def test_scripts_that_leave_no_reward_are_found_before_anything_is_graded(tmp_path):
    files = GUESSING | {"tests/test.sh": "echo the data are missing\nno-such-command\n"}
    import_harbor(write_package(tmp_path / "package", files), tmp_path / "made")
    with pytest.raises(Misconfigured, match="no-such-command: command not found"):
        prepare(read_problem(tmp_path / "made"), 1, tmp_path / "data", Bubblewrap)


def test_a_failed_command_of_the_dockerfile_names_its_line(tmp_path):
    recipe = GUESSING["environment/Dockerfile"].replace("echo 7", "false")
    files = GUESSING | {"environment/Dockerfile": recipe}
    import_harbor(write_package(tmp_path / "package", files), tmp_path / "made")
    with pytest.raises(Misconfigured, match=r"environment/Dockerfile, line 2: RUN ended with 1"):
        prepare(read_problem(tmp_path / "made"), 1, tmp_path / "data", Bubblewrap)


@pytest.mark.long
def test_each_case_of_pytest_is_a_unit_of_one_split(tmp_path):
    grader = grader_of(tmp_path, CASES)
    folder = tmp_path / "submitted" / "app"
    folder.mkdir(parents=True)
    (folder / "double.py").write_text("def double(x):\n    return 2 * x if x < 6 else None\n")
    found = {split: grader.grade(folder.parent, split) for split in ("feedback", "final")}
    assert [len(f.units) for f in found.values()] == [4, 4]
    assert not set(found["feedback"].units) & set(found["final"].units)
    assert sum(f.values_M["passed"].sum() for f in found.values()) == 6
    assert found["final"].values_M["reward"].tolist() == [0.0] * 4
    other = prepare(grader.problem, 2, tmp_path / "data", Bubblewrap)
    texts = {p.units("final").read_text() for p in (grader.prepared, other)}
    assert len(texts) == 2


@pytest.mark.long
def test_tests_without_a_dockerfile_run_in_a_fresh_copy_of_the_environment(tmp_path):
    files = {k: v for k, v in OBEYING.items() if k != "tests/Dockerfile"}
    script = "test $(cat hint.txt) = 7 -a $PWD = /workspace && echo 0.5 > /logs/verifier/reward.txt"
    assert acted(grader_of(tmp_path, files), tmp_path, script) == [0.5]


def test_variables_of_the_verifier_are_its_own(tmp_path):
    settings = OBEYING["task.toml"].replace("[agent]", '[verifier.env]\nKEY = "0.5"\n[agent]')
    files = OBEYING | {"task.toml": settings + '[environment.env]\nOPEN = "0.25"\n'}
    files["tests/Dockerfile"] = OBEYING["tests/Dockerfile"] + "ENV OF_IMAGE=0.75\n"
    grader = grader_of(tmp_path, files)
    public = "".join(p.read_text() for p in grader.prepared.public.rglob("*") if p.is_file())
    assert "KEY" not in public
    assert "OF_IMAGE" not in public
    assert '"OPEN": "0.25"' in public
    script = 'test $OF_IMAGE = 0.75 -a -z "$OPEN" && echo $KEY > /logs/verifier/reward.txt'
    assert acted(grader, tmp_path, script) == [0.5]


def test_a_link_that_a_dockerfile_makes_is_never_public(tmp_path):
    recipe = GUESSING["environment/Dockerfile"].replace(
        "echo 7", "ln -s /code/tests /workspace/t; echo 7"
    )
    files = GUESSING | {"environment/Dockerfile": recipe}
    import_harbor(write_package(tmp_path / "package", files), tmp_path / "made")
    with pytest.raises(Misconfigured, match=r"'public/files/workspace/t' is no plain file"):
        prepare(read_problem(tmp_path / "made"), 1, tmp_path / "data", Bubblewrap)


CTRF = """
python - <<'EOF'
import json, sys
sys.path.insert(0, "/app")
try:
    from double import double
except Exception:
    double = {}.get
ended = {True: "passed", False: "failed"}
tests = [{"name": f"t{x}", "status": ended[double(x) == 2 * x]} for x in range(4)]
tests += [{"name": "t3", "status": "passed"}]
json.dump({"results": {"tests": tests}}, open("/logs/verifier/ctrf.json", "w"))
open("/logs/verifier/reward.txt", "w").write("0")
EOF
"""


@pytest.mark.long
def test_a_report_in_the_format_ctrf_has_units_and_a_validation_keeps_them_apart(tmp_path):
    recipe = CASES["environment/Dockerfile"] + "COPY validation/ /app/validation/\n"
    files = CASES | {"tests/test.sh": CTRF, "environment/validation/val.sh": CTRF}
    grader = grader_of(tmp_path, files | {"environment/Dockerfile": recipe})
    folder = tmp_path / "submitted" / "app"
    folder.mkdir(parents=True)
    (folder / "double.py").write_text("def double(x):\n    return 2 * x if x < 3 else None\n")
    for split, names in (("feedback", "validation: t"), ("final", "t")):
        found = grader.grade(folder.parent, split)
        assert found.units == tuple(f"{names}{n}" for n in range(4))
        assert found.values_M["passed"].tolist() == [1, 1, 1, 0]  # of two named t3, the worse


def test_a_sandbox_without_folders_of_its_own_is_refused(tmp_path):
    import_harbor(write_package(tmp_path / "package", GUESSING), tmp_path / "made")
    with pytest.raises(Misconfigured, match="needs the folder /logs.*bubblewrap or docker"):
        prepare(read_problem(tmp_path / "made"), 1, tmp_path / "data", Directory)


def test_a_folder_that_would_hide_the_running_python_is_refused(tmp_path, monkeypatch):
    python = Mount(Path("/made/python"), "/made/python")
    monkeypatch.setattr(bubblewrap, "python_mounts", lambda: [python])
    contract = CONTRACT.replace("{wall_s: 20,", "{folders: [/other, /made],")
    problem = read_problem(write_problem(tmp_path / "tiny", contract=contract))
    with pytest.raises(Misconfigured, match=r"folder /made, and the Python.*`folders` of"):
        prepare(problem, 1, tmp_path / "data", Bubblewrap)
