"""problem.yaml and the folder around it: what is read, and one sentence for each mistake."""

import os
import sys

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.problems.folder.folder_problem import SubmissionForm, read_problem
from aarlab.problems.folder.predictions import read_ids, read_predictions
from tests.problems.folders_made import CONTRACT, GRADE, write_problem


def test_a_problem_is_read_and_named_by_all_that_decides_a_grading(tmp_path):
    folder = write_problem(tmp_path / "p")
    found = read_problem(folder)
    assert found.contract.climbed[0].name == "right"
    assert found.contract.gates == ()
    assert not found.checks
    assert found.key.startswith("tiny-v1-")
    (folder / "grade.py").write_text(GRADE + "\n")
    assert read_problem(folder).digest != found.digest
    (folder / "card.json").write_text("{}")
    (folder / "grade.py").write_text(GRADE)
    assert read_problem(folder).digest == found.digest


def test_what_tools_leave_in_a_folder_is_no_part_of_the_problem(tmp_path):
    folder = write_problem(tmp_path / "p")
    digest = read_problem(folder).digest
    for name in (".git/HEAD", "baselines/.ipynb_checkpoints/guess.py", ".aar/campaigns/a/lock"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
        (folder / name).chmod(0o600)
    for name in ("grade.py~", "#grade.py#", ".grade.py.swp", ".DS_Store", "baselines/guess.py~"):
        (folder / name).write_text("x")
    (folder / ".#grade.py").symlink_to("somebody@a-host.1:2")  # a lock of Emacs
    assert read_problem(folder).digest == digest
    for name in (".data", "data/rows.jsonl", ".gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
        assert read_problem(folder).digest != digest
        (folder / name).unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root runs sandboxes as himself")
def test_a_folder_that_others_cannot_read_is_refused_with_a_command_to_copy(tmp_path):
    folder = write_problem(tmp_path / "my problem")
    (folder / "grade.py").chmod(0o600)
    with pytest.raises(Misconfigured, match=f"`chmod -R a.rX '{folder}'`"):
        read_problem(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: predictions, ", "", r"submission.kind: Field required"),
        (", values: probability", "", r"predictions, and nothing else, have `values`"),
        ("values: probability", "values: class", r"`classes` are named where"),
        ("name: right", "name: Right!", r"objectives.0.name.*\(line 5\)"),
        ("baseline: guess", "baseline: gess", r"no baseline 'gess'.*guess"),
        ("baselines: [guess]", "baselines: [guess, oracle]", r"oracle.py is missing"),
        ("unit: share", "unti: share", r"did you mean unit"),
        (", source: all are right", "", r"needs its `source`"),
        ("    unit: share", "    unit: share\n    role: shown", r"no objective has the role climb"),
        ("wall_s: 20", "wall_s: -1", r"grading.wall_s.*greater than 0.*\(line 10\)"),
        ("wall_s: 20", "wall_s: 20, folders: [/usr]", r"grading.folders.*'/usr' is no top folder"),
        ("wall_s: 20", "wall_s: 20, folders: [/a/../etc]", r"'/a/../etc' is no top folder"),
        ("wall_s: 20", "wall_s: 20, folders: [/a, /a]", r"a folder is named twice"),
        ("wall_s: 20", "wall_s: 20, image: '--privileged'", r"grading.image"),
        ("name: tiny", "name: tiny\nname: tinier", r"name.*twice|twice.*name"),
    ],
)
def test_a_mistake_in_the_contract_is_one_sentence_with_its_place(tmp_path, old, new, words):
    assert old in CONTRACT
    folder = write_problem(tmp_path / "p", contract=CONTRACT.replace(old, new, 1))
    with pytest.raises(Misconfigured, match=words) as caught:
        read_problem(folder)
    assert "problem.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        ("def grade(submission:\n", r"grade.py, line 1: it is no Python"),
        ("x = 1\n", r"defines no function grade\(submission, secret, trial\)"),
        ("\ndef grade(a, b): ...\n", r"line 2: write this function as grade"),
        (GRADE + "\ndef check(): ...\n", r"write this function as check\(submission\)"),
    ],
)
def test_a_grader_that_cannot_be_called_is_found_before_it_is(tmp_path, grade, words):
    with pytest.raises(Misconfigured, match=words):
        read_problem(write_problem(tmp_path / "p", grade=grade))


def test_a_folder_without_a_contract_says_how_to_begin(tmp_path):
    with pytest.raises(Misconfigured, match="aar problem new"):
        read_problem(tmp_path)


@pytest.mark.parametrize(
    ("values", "good", "bad"),
    [
        ("probability", [0, 1, 0.5], [True, "0.5", -0.1, 1.1, None, float("nan")]),
        ("number", [-7, 1e300], [True, "1", None, [1]]),
        ("class", ["a", "b"], ["c", 1, None]),
        ("text", ["", "abc"], [1, None, ["a"]]),
        ("ranking", [[], ["x", "y"]], [["x", "x"], "xy", [1]]),
    ],
)
def test_values_of_each_kind(values, good, bad):
    import json

    what = SubmissionForm(
        kind="predictions", values=values, classes=("a", "b") if values == "class" else ()
    )

    def read(value):
        return read_predictions(json.dumps({"i": value}).encode(), what, ["i"])["i"]

    for value in good:
        assert read(value) == value
    for value in bad:
        with pytest.raises(InvalidSubmission):
            read(value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1}', "1 of 2 ids have no value, e.g. 'b'"),
        (b'{"a": 1, "b": 0, "c": 0}', "not in this split, e.g. 'c'"),
        (b'{"a": 1, "a": 0, "b": 0}', "twice"),
        (b"[1, 2]", "no object"),
        (b'{"a": 1e400, "b": 0}', "'a'"),
        (b"\xff\xfe{", "predictions"),
        (b"[" * 100_000, "nested|deep"),
        (b'{"a": "' + b"x" * 2_000_000 + b'"}', "bytes"),
    ],
)
def test_predictions_that_do_not_fit_say_why(data, words):
    what = SubmissionForm(kind="predictions", values="probability")
    with pytest.raises(InvalidSubmission, match=words):
        read_predictions(data, what, ["a", "b"])


@pytest.mark.parametrize("text", ['{"id": "a"}\n{"id": "a"}\n', '{"no": 1}\n', '{"id": 3}\n'])
def test_items_have_one_id_each(tmp_path, text):
    (tmp_path / "feedback.jsonl").write_text(text)
    with pytest.raises(Misconfigured, match="id"):
        read_ids(tmp_path / "feedback.jsonl")


def test_a_class_that_looks_like_a_number_is_named_as_the_text_that_it_is():
    what = SubmissionForm(kind="predictions", values="class", classes=("0", "1"))
    assert read_predictions(b'{"a": "1"}', what, ["a"]) == {"a": "1"}
    with pytest.raises(InvalidSubmission, match='is 1; it must be one of the texts "0", "1"'):
        read_predictions(b'{"a": 1}', what, ["a"])


@pytest.mark.parametrize("at", ["baselines/guess.py", "data/more.csv", "data"])
def test_a_link_that_leads_outside_is_refused(tmp_path, at):
    """A baseline's file is published: it could be any file of the machine."""
    folder = write_problem(tmp_path / "p")
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "secret.py"
    secret.write_text("def submit(public, inputs, out, seed):\n    return {}\n")
    link = folder / at
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(secret.parent if at == "data" else secret)
    with pytest.raises(Misconfigured, match=f"{at} is a link that leads outside"):
        read_problem(folder)
    link.unlink()
    (folder / "inside.py").write_text(secret.read_text())
    link.symlink_to(folder / "inside.py")
    assert read_problem(folder).folder.root == folder, "one that stays inside is taken"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    assert read_problem(folder).folder.root == folder, "those of tools are no part of it"
