"""Seeds of answers have one reader, wherever the answers come from: "07" beside "7" is refused
everywhere."""

import json

import pytest

from aarlab.core.answers import by_seed
from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.evaluation.confirmation.run_order import RunAnswers
from aarlab.evaluation.confirmation.target_grade import run_answers
from aarlab.evaluation.evaluator import Evaluator
from aarlab.researchers.answer_files import read_answers as read_file
from aarlab.runs.engine import read_answers as read_run

TWICE = {"7": {"a": 1}, "07": {"a": 0}}


def test_plain_seeds_are_numbers():
    assert by_seed({"7": "01", "11": "10"}) == {7: "01", 11: "10"}


@pytest.mark.parametrize(
    "seeds", [("7", "07"), ("07",), ("+7",), ("7 ",), ("1_0",), ("seven",), ("",)]
)
def test_a_seed_that_is_not_written_plainly_is_refused(seeds):
    with pytest.raises(InvalidSubmission, match="Seeds must be"):
        by_seed(dict.fromkeys(seeds, "0"))


def test_of_a_file_of_answers_and_of_a_run(tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(TWICE))
    for read in (read_file, read_run):
        with pytest.raises(InvalidSubmission, match="Seeds must be|does not hold {seed"):
            read(path)


def test_of_a_submission(bed, tmp_path):
    with Evaluator(bed.folder, tmp_path / "campaign") as evaluator:
        code = evaluator.commit_code("ann", {"method.py": "#"}, Family.OTHER)
        answers = {str(seed): "0" * len(evaluator.ids) for seed in code["seeds"]}
        with pytest.raises(InvalidSubmission, match="written plainly"):
            evaluator.submit(
                "ann", code["snapshot"], answers | {f"0{code['seeds'][0]}": "1"}, Family.OTHER
            )


def test_of_a_confirmation_where_the_code_has_then_failed():
    found = run_answers(RunAnswers(TWICE), ["a"], (7,))
    assert isinstance(found, tuple)
    assert found[0] == "answers of the wrong shape"
    assert "written plainly" in found[1]
