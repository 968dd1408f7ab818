"""Files of set-up or of another harness, as the evaluator reads them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.records import Family
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.scoring.hidden_labels import published_ids

IDS = [f"chat-{n:02d}" for n in range(40)]


def problem(
    folder: Path,
    hidden: Sequence[str],
    published: Sequence[str] | None = None,
    *,
    mark: str = "",
    odd: str = "",
) -> Path:
    """A problem whose odd ids' labels are 1."""
    for name in ("private", "public"):
        (folder / name).mkdir(parents=True)
    answers = {"feedback": {i: int(i[-1]) % 2 for i in hidden}, "final": {}}
    rows = [{"id": i, "question": f"Is {i}{odd} odd?", "choice": "yes"} for i in published or []]
    files = {
        "private/answers.json": json.dumps(answers),
        "private/ruler.json": json.dumps({"weak": 0.5, "ceiling": 0.9, "start": 0.55}),
    }
    if published is not None:
        files["public/feedback.jsonl"] = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows
        )
    for name, text in files.items():
        (folder / name).write_text(mark + text, encoding="utf-8")
    return folder


def graded(folder: Path, place: Path, order: Sequence[str], *, as_map: bool = False) -> float:
    """The accuracy of right answers, in that order or by id."""
    with Evaluator(folder, place) as evaluator:
        code = evaluator.commit_code("ann", {"method.py": "x = 1\n"}, Family.OTHER)
        right = {i: int(i[-1]) % 2 for i in order}
        row = right if as_map else "".join(str(right[i]) for i in order)
        evaluator.submit(
            "ann", code["snapshot"], {str(s): row for s in code["seeds"]}, Family.OTHER
        )
        return evaluator.ledger.entries("submission")[0].body["exact_accuracy"]


def test_right_answers_as_a_string_are_graded_as_right_or_refused(tmp_path):
    """In the order in which a shipped testbed publishes its items, which is not that of the sorted
    ids."""
    shuffled = [*IDS[1::2], *IDS[::2]]
    assert graded(problem(tmp_path / "in order", IDS, IDS), tmp_path / "a", IDS) == 1
    for name, folder in {
        "shipped": problem(tmp_path / "shipped", shuffled, shuffled),
        "published in another order": problem(tmp_path / "published", IDS, shuffled),
        "numbers": problem(tmp_path / "numbers", [str(n) for n in range(40)]),
    }.items():
        sent = published_ids(folder, "feedback") or [str(n) for n in range(40)]
        for order in (sent, sorted(sent)):
            with pytest.raises(InvalidSubmission, match="answers without ids have no order here"):
                graded(folder, tmp_path / name / "string", order)
        assert graded(folder, tmp_path / name / "map", sent, as_map=True) == 1


@pytest.mark.parametrize(
    ("mark", "odd"), [("\ufeff", ""), ("", "\u2028"), ("", "\x85"), ("\ufeff", "\u2029")]
)
def test_marks_of_an_editor_and_ends_of_lines_within_a_text_are_read(tmp_path, mark, odd):
    assert graded(problem(tmp_path / "p", IDS, IDS, mark=mark, odd=odd), tmp_path / "c", IDS) == 1


@pytest.mark.parametrize("line", ['["chat-00"]', '{"question": "q"}', '{"id": 1}', "{"])
def test_a_published_line_without_an_id_is_refused_by_its_file(tmp_path, line):
    folder = problem(tmp_path / "p", IDS, IDS)
    (folder / "public" / "feedback.jsonl").write_text(line + "\n")
    with pytest.raises(Misconfigured, match=r"feedback\.jsonl is not what set-up publishes"):
        published_ids(folder, "feedback")
