"""A task in Harbor's format becomes a problem's folder, or all that it lacks is said in one
sentence. Values are by hand, from the packages of `harbor_packages`."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.problems import PROBLEMS
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.harbor import images
from aarlab.problems.harbor import import_harbor as import_harbor_
from aarlab.problems.harbor.dockerfile import read_dockerfile, script_needs
from aarlab.problems.harbor.import_harbor import import_harbor
from aarlab.problems.harbor.task_file import line_of, read_task_file
from tests.problems.harbor_packages import CASES, GUESSING, SETTINGS, write_package


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch):
    monkeypatch.setattr(images, "answers", lambda: False)


def changed(old, new, files=GUESSING):
    assert old in files["task.toml"]
    return files | {"task.toml": files["task.toml"].replace(old, new)}


def test_reward_limits_and_places_are_the_packages(tmp_path):
    package = write_package(tmp_path / "p", GUESSING)
    made = import_harbor(package, tmp_path / "made")
    contract = read_problem(tmp_path / "made").contract
    (reward,) = contract.objectives
    assert contract.name == "guess-the-number"
    assert (reward.direction, reward.range, reward.role) == ("higher", (0.0, 1.0), "climb")
    assert reward.floor.baseline == "start"
    assert reward.ceiling.value == 1.0
    assert "task.toml" in reward.ceiling.source
    assert (contract.grading.wall_s, contract.grading.memory_gib) == (180.0, 1.5)
    assert (contract.run.wall_s, contract.run.cpus) == (45.5, 1.0)
    assert contract.grading.folders == ("/logs", "/tests", "/workspace")
    assert contract.fixed
    assert "guess.txt" in contract.card
    assert "no claim can be confirmed" in contract.card
    assert "one reward" in made.units
    plan = json.loads((tmp_path / "made" / "harbor.json").read_text())
    assert plan["artifacts"] == ["/workspace/submission"]
    assert plan["validation"] == "/workspace/validation/val.sh"
    assert plan["start"] == "/workspace/baseline/baseline.sh"


def test_the_solution_is_nowhere_in_the_folder(tmp_path):
    import_harbor(write_package(tmp_path / "p", GUESSING), tmp_path / "made")
    texts = [p.read_text() for p in (tmp_path / "made").rglob("*") if p.is_file()]
    assert len(texts) > 10
    assert not any("the solution" in text for text in texts)


def test_lower_is_better_has_the_best_below_and_the_worst_above(tmp_path):
    files = changed("higher_better", "lower_better")
    files = changed("theoretical_best = 1.0", "theoretical_best = 0.1", files)
    import_harbor(write_package(tmp_path / "p", files), tmp_path / "made")
    (reward,) = read_problem(tmp_path / "made").contract.objectives
    assert reward.direction == "lower"
    assert reward.range == pytest.approx((0.1, 0.3))  # the floor, 0.2, is in the middle


def test_test_cases_are_units_where_no_reward_is_described(tmp_path):
    made = import_harbor(write_package(tmp_path / "p", CASES), tmp_path / "made")
    passed, reward = read_problem(tmp_path / "made").contract.objectives
    assert (passed.name, passed.role, reward.role) == ("passed", "climb", "shown")
    assert not read_problem(tmp_path / "made").contract.fixed
    assert any("all of /app" in note for note in made.notes)
    assert not any("network" in note for note in made.notes)


def test_line_ends_of_windows_are_changed_in_scripts_and_said(tmp_path):
    package = write_package(tmp_path / "p", GUESSING)
    for name in ("tests/test.sh", "task.toml", "environment/Dockerfile", "instruction.md"):
        path = package / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    made = import_harbor(package, tmp_path / "made")
    assert b"\r" not in (tmp_path / "made" / "tests" / "test.sh").read_bytes()
    assert b"\r" not in (tmp_path / "made" / "problem.yaml").read_bytes()
    assert any("tests/test.sh had line ends" in note for note in made.notes)
    (named,) = [
        s for s in read_dockerfile(package / "environment/Dockerfile").steps if s[0] == "run"
    ]
    assert named[1] == "mkdir -p /workspace/submission && echo 7 > /workspace/hint.txt"


def test_a_file_of_the_tests_that_is_also_public_is_said(tmp_path):
    files = GUESSING | {"environment/validation/same.py": GUESSING["tests/score.py"]}
    made = import_harbor(write_package(tmp_path / "p", files), tmp_path / "made")
    assert any("validation/same.py is the same as tests/score.py" in note for note in made.notes)


HOSTILE = {  # what is changed -> words of the refusal
    "syntax": (changed("[agent]", "[agent"), ["task.toml is not valid TOML", "line"]),
    "a text": (
        changed("timeout_sec = 60", 'timeout_sec = "soon"'),
        ["verifier.timeout_sec", "(line 15)"],
    ),
    "no direction": (changed("higher_better", "up"), ["metadata.reward.direction", "'up'"]),
    "nan": (changed("mean = 0.2,", "mean = nan,"), ["baseline_test.mean", "finite"]),
    "best below": (
        changed("theoretical_best = 1.0", "theoretical_best = 0.1"),
        ["baseline_validation (line 11)", "0.25", "Correct one"],
    ),
    "dots": (changed("/workspace/submission", "/workspace/../../etc"), ["plain path", "'..'"]),
    "directions": (
        changed("/workspace/submission", "/workspace/\\u202e\\u009b31m"),
        [r"'/workspace/\u202e\x9b31m'", "plain path"],
    ),
    "a list of numbers": (
        changed('["/workspace/submission"]', f"[{'1,' * 100_000}]"),
        ["artifacts.19", "; and 99,980 more faults."],
    ),
    "no artifacts": (
        changed('artifacts = ["/workspace/submission"]', ""),
        ["no `artifacts`", "would score 0"],
    ),
    "artifact of the grader": (
        changed("/workspace/submission", "/logs/verifier"),
        ["'/logs/verifier'", "of the grader"],
    ),
    "artifact of the system": (changed("/workspace/submission", "/usr/bin/x"), ["'/usr/bin/x'"]),
    "root": (changed("/workspace/submission", "/"), ["'/'"]),
    "gpu": (changed("cpus = 1", "cpus = 1\ngpus = 2"), ["environment.gpus = 2"]),
    "windows": (changed("cpus = 1", 'cpus = 1\nos = "Windows"'), ["environment.os = 'Windows'"]),
    "hosts": (
        changed('network_mode = "no-network"\n\n[agent]', 'network_mode = "allowlist"\n[agent]'),
        ["allowed_hosts"],
    ),
    "steps": (changed("[agent]", '[[steps]]\nname = "a"\n[agent]'), ["[[steps]]"]),
    "a secret of the host": (
        changed("[agent]", '[verifier.env]\nKEY = "${OPENAI_API_KEY}"\n[agent]'),
        ["the variable KEY"],
    ),
    "no validation": (
        {k: v for k, v in GUESSING.items() if "validation/" not in k},
        ["one reward", "val.sh", "feedback would be what final confirms"],
    ),
    "outside": (
        GUESSING | {"environment/Dockerfile": "FROM python:3\nCOPY ../tests /workspace/tests\n"},
        ["Dockerfile, line 2", "'../tests'", "outside"],
    ),
    "apt": (
        GUESSING | {"environment/Dockerfile": "FROM debian\nRUN apt-get install -y r-base\n"},
        ["environment/Dockerfile, line 2: RUN apt-get", "docker info"],
    ),
    "a package": (
        GUESSING | {"environment/Dockerfile": "FROM python:3\nRUN pip install no-such-thing==1\n"},
        ["line 2: RUN pip install no-such-thing==1"],
    ),
    "an image": (
        GUESSING | {"tests/Dockerfile": "FROM nvidia/cuda:12\nCOPY . /tests\n"},
        ["tests/Dockerfile, line 1: FROM nvidia/cuda:12"],
    ),
    "stages": (
        GUESSING | {"tests/Dockerfile": "FROM python:3 AS a\nFROM python:3\nCOPY --from=a / /x\n"},
        ["2 stages", "COPY --from"],
    ),
    "copies over the system": (
        GUESSING | {"environment/Dockerfile": "FROM python:3\nCOPY validation /usr/lib/python3\n"},
        ["COPY validation /usr/lib"],
    ),
    "a command": (
        GUESSING | {"tests/test.sh": "set -e\ncurl -LsSf https://x/install.sh | sh\nuvx pytest\n"},
        ["tests/test.sh, line 2: curl", "tests/test.sh, line 3: uvx"],
    ),
    "what an image leaves out": (
        GUESSING | {"environment/.dockerignore": "secret\n"},
        ["environment/.dockerignore"],
    ),
    "no instruction": (
        {k: v for k, v in GUESSING.items() if k != "instruction.md"},
        ["has no instruction.md"],
    ),
    "not UTF-8": (GUESSING | {"instruction.md": "x\ud800"}, ["no UTF-8"]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_cannot_be_is_one_sentence_with_the_remedy_and_leaves_nothing(tmp_path, what):
    files, words = HOSTILE[what]
    package = write_package(tmp_path / "p", {k: v for k, v in files.items() if "\ud800" not in v})
    if what == "not UTF-8":
        (package / "instruction.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured) as raised:
        import_harbor(package, tmp_path / "made")
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("place", ["tests/link", "solution/link", "environment/validation/link"])
def test_a_link_is_refused_wherever_it_is(tmp_path, place):
    package = write_package(tmp_path / "p", GUESSING)
    (package / place).symlink_to("/etc/passwd")
    with pytest.raises(Misconfigured, match=rf"'{place}' is a link"):
        import_harbor(package, tmp_path / "made")


def test_what_is_no_file_is_refused(tmp_path):
    package = write_package(tmp_path / "p", GUESSING)
    os.mkfifo(package / "tests" / "fifo")
    with pytest.raises(Misconfigured, match="'tests/fifo' is no plain file"):
        import_harbor(package, tmp_path / "made")
    (package / "tests" / "fifo").unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(package)
        bound.bind("tests/s")
        with pytest.raises(Misconfigured, match="'tests/s' is no plain file"):
            import_harbor(package, tmp_path / "made")


@pytest.mark.long
def test_sizes_are_looked_at_before_anything_is_read(tmp_path):
    package = write_package(tmp_path / "p", GUESSING)
    with (package / "tests" / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Misconfigured, match=r"536,870,912 bytes, see 'tests/huge'"):
        import_harbor(package, tmp_path / "made")
    (package / "tests" / "huge").unlink()
    for n in range(10_001):
        (package / "solution" / str(n)).touch()
    with pytest.raises(Misconfigured, match="more than 10,000 files"):
        import_harbor(package, tmp_path / "made")


def test_an_import_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    package = write_package(tmp_path / "p", GUESSING)
    monkeypatch.setattr(import_harbor_, "read_problem", lambda _: [][0])
    with pytest.raises(IndexError):
        import_harbor(package, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_name_that_a_terminal_would_obey_is_not_printed_as_it_is(tmp_path):
    files = GUESSING | {"tests/\x1b]0;title\x07\x1b[31mred\u202e.sh": "echo\r\n"}
    package = write_package(tmp_path / "p", files)
    done = CliRunner().invoke(app, ["import", "harbor", str(package), str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    assert "tests/red.sh had line ends" in done.output
    assert done.output.replace("\n", "").isprintable()


def test_a_name_that_is_no_text_is_refused(tmp_path):
    package = write_package(tmp_path / "p", GUESSING)
    (package / "tests" / os.fsdecode(b"\xff.sh")).write_text("x")
    with pytest.raises(Misconfigured, match=r"'tests/\\udcff.sh' is no UTF-8 text"):
        import_harbor(package, tmp_path / "made")


def test_a_folder_over_this_python_is_refused(tmp_path):
    here = f"/{Path(sys.prefix).resolve().parts[1]}"
    files = GUESSING | {k: v.replace("/workspace", here) for k, v in GUESSING.items()}
    with pytest.raises(Misconfigured, match=r"Python|of its own"):
        import_harbor(write_package(tmp_path / "p", files), tmp_path / "made")


def test_an_archive_and_a_folder_that_is_there_are_refused(tmp_path):
    (tmp_path / "p.zip").write_bytes(b"PK")
    with pytest.raises(Misconfigured, match="Unpack it"):
        import_harbor(tmp_path / "p.zip", tmp_path / "made")
    with pytest.raises(Misconfigured, match="is there already"):
        import_harbor(write_package(tmp_path / "p", GUESSING), tmp_path)


@pytest.mark.parametrize("name", ["../../etc", "x/" + "9" * 99, "x/---", "x/Ünï ©"])
def test_a_name_becomes_one_that_a_folder_can_have(tmp_path, name):
    files = changed("someone/Guess the Number", name)
    import_harbor(write_package(tmp_path / "p", files), tmp_path / "made")
    assert read_problem(tmp_path / "made").contract.name.isascii()


def test_lines_of_keys():
    assert line_of(SETTINGS, ("verifier", "environment", "network_mode")) == 20
    assert line_of(SETTINGS, ("metadata", "reward", "baseline_test", "mean")) == 13
    assert line_of(SETTINGS, ("nothing",)) is None


def test_older_versions_fields_are_read(tmp_path):
    path = write_package(tmp_path, CASES) / "task.toml"
    found = read_task_file(path)
    assert (found.environment.memory_mb, found.environment.network) == (1024, "no-network")


def test_what_a_script_passes_to_a_command_is_no_command(tmp_path):
    script = tmp_path / "test.sh"
    script.write_text(
        "python - <<'EOF'\ngo = 1\ncurl = 2\nEOF\necho git | cat # make\nX=1 make all\n"
    )
    assert script_needs(script) == [f"{tmp_path.name}/test.sh, line 6: make"]


def test_a_task_that_is_not_imported_yet_is_said_to_be_one(tmp_path):
    """Whoever gives it as a problem: to a campaign, or to `aar problem check`."""
    (tmp_path / "task.toml").write_text('version = "1.0"\n')
    for given in (lambda: PROBLEMS[str(tmp_path)], lambda: read_problem(tmp_path)):
        with pytest.raises(Misconfigured, match=f"aar import harbor {tmp_path} NEW_FOLDER"):
            given()


@pytest.mark.parametrize(
    ("here", "named"),
    [
        ({"pytest", "ctrf"}, None),
        ({"pytest"}, "pip install pytest-json-ctrf"),
        (set(), "pip install pytest pytest-json-ctrf"),
    ],
)
def test_packages_that_the_scripts_use_and_this_python_lacks_are_named(
    tmp_path, monkeypatch, here, named
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in here else None)
    script = "pytest --ctrf /logs/verifier/ctrf.json /tests/test_outputs.py -rA\n"
    package = write_package(tmp_path / "p", CASES | {"tests/test.sh": script})
    notes = [note for note in import_harbor(package, tmp_path / "made").notes if "pip" in note]
    assert [note.split(": ")[-1] for note in notes] == ([named] if named else [])
