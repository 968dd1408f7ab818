import json

import pytest

from aarlab.runs.grading import Grader, Refused, Scores
from aarlab.sandbox import Bubblewrap
from tests.problems.shipped_problems.shipped_runs import Shipped, digests, means

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def curation(tmp_path_factory):
    return Shipped("curation", tmp_path_factory.mktemp("curation"))


def pool(curation):
    lines = (curation.made.public / "pool.jsonl").read_text().splitlines()
    return {row["id"]: row["text"] for row in map(json.loads, lines)}


def hidden(curation, split):
    return json.loads((curation.made.secrets(split) / "documents.json").read_text())


@pytest.mark.long
def test_its_data_are_decided_by_the_seed(curation, tmp_path):
    again = curation.prepared(1, tmp_path)
    assert digests(again) == digests(curation.made)
    assert digests(curation.prepared(2, tmp_path)) != digests(again)


def test_no_document_and_no_file_is_in_two_places(curation):
    feedback, final = hidden(curation, "feedback"), hidden(curation, "final")
    assert len(feedback) == len(final) == 60
    sample = (curation.made.public / "sample.jsonl").read_text().splitlines()
    seen = set(pool(curation).values()) | {json.loads(line)["text"] for line in sample}
    assert not seen & {*feedback.values(), *final.values()}
    assert not {*feedback.values()} & {*final.values()}
    assert not {*curation.units("feedback").values()} & {*curation.units("final").values()}


@pytest.mark.parametrize("split", ["feedback", "final"])
def test_similar_documents_are_better_than_random_ones(curation, split):
    random, similar = (curation.baseline(n, split)["bits"] for n in ("random-choice", "similar"))
    assert 2.5 < similar < random - 0.05 < 4.0


def selection(chosen):
    return {"selection.json": json.dumps(chosen)}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (selection(["d000", "d001", "d000"]), "an id occurs twice"),
        (selection(["d000", "feedback-01"]), "1 ids are not in the pool, e.g. 'feedback-01'"),
        (selection(["\ud800"]), "not in the pool"),
        (selection([f"d{n:03d}" for n in range(60)]), "at most 60,000 may be used"),
        (selection({"d000": 1}), "no list of ids"),
        (selection(["d000", 1]), "no list of ids"),
        ({"selection.json": "d000"}, "no JSON"),
        ({"selection.json": "[" * 50_000}, "no JSON"),
        ({"selection.json": "1" * 5_000}, "no JSON"),
        ({"selection.json": " " * 100_001}, "100,000 may be sent"),
        ({"choice.json": "[]"}, "there is no selection.json"),
    ],
)
def test_a_selection_that_breaks_a_rule_is_refused(curation, tmp_path, files, words):
    found = curation.grade(files, tmp_path / "submitted")
    assert isinstance(found, Refused)
    assert words in found.words


def test_a_link_is_refused_and_not_followed(curation, tmp_path):
    folder = tmp_path / "submitted"
    folder.mkdir()
    (folder / "selection.json").symlink_to(curation.made.units("final"))
    found = Grader(curation.problem, curation.made, Bubblewrap).grade(folder, "feedback")
    assert isinstance(found, Refused)
    assert "no regular file" in found.words


def test_no_document_at_all_says_nothing_and_the_order_changes_nothing(curation, tmp_path):
    nothing = curation.grade(selection([]), tmp_path / "nothing")
    assert isinstance(nothing, Scores)
    assert means(nothing)["bits"] == 8.0  # every byte is as likely as any other
    some = sorted(pool(curation))[:20]
    forward = curation.grade(selection(some), tmp_path / "forward")
    backward = curation.grade(selection(some[::-1]), tmp_path / "backward")
    assert means(forward) == means(backward)
    assert means(forward)["bits"] < 5


def test_its_model_of_bytes_is_a_distribution(curation, monkeypatch):
    monkeypatch.syspath_prepend(str(curation.made.public))
    from bytes_model import bits_per_byte, train

    model = train(["abcabcabd", "bcda"])
    for before in ("", "ab", "abc", "zz"):
        length = len(before)
        begun = bits_per_byte(model, before) * length if before else 0.0
        after = [bits_per_byte(model, before + chr(c)) * (length + 1) - begun for c in range(128)]
        ascii_share = sum(2.0**-bits for bits in after)
        assert 0.5 <= ascii_share <= 1.0 + 1e-9  # the other 128 bytes have the rest
