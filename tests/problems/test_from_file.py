import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, Pair
from aarlab.core.settings import Home
from aarlab.problems.from_file import from_file
from aarlab.problems.problem import check_problem, require_items
from aarlab.problems.publish import publish, read_private_items
from aarlab.problems.registered import PROBLEMS
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare

SPLITS = ("teacher", "student", "feedback", "final")


def pair(number, split, label, **more):
    return {
        "prompt": "Which?",
        "first": f"one {number}",
        "second": f"two {number}",
        "label": label,
        "split": split,
    } | more


def choice(number, split, label, **more):
    return {
        "question": f"Is {number} even?",
        "choice": f"It is, {label}",
        "label": label,
        "split": split,
    } | more


def rows_of(kind):
    return [kind(f"{split}{i}", split, i % 2) for split in SPLITS for i in range(4)]


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("kind", "record"), [(pair, Pair), (choice, Choice)])
def test_a_file_is_a_problem_named_after_it(tmp_path, kind, record):
    name = write(tmp_path / "my-items.jsonl", rows_of(kind))
    problem = PROBLEMS[name]
    items = problem.build(tmp_path, 1)
    assert problem.name == "my-items"
    assert all(type(i) is record for i in items)
    truth = {tuple(r[name] for name in record.PUBLISHED[1:]): r["label"] for r in rows_of(kind)}
    assert {
        tuple(getattr(i, name) for name in record.PUBLISHED[1:]): i.label for i in items
    } == truth
    assert {(i.part, i.level) for i in items} == {("id", 1)}
    check_problem(items)
    assert not problem.transfer_only


def test_it_can_be_published_and_read_back(tmp_path):
    problem = PROBLEMS[write(tmp_path / "mine.jsonl", rows_of(pair))]
    items = problem.build(tmp_path, 1)
    publish(problem, items, tmp_path / "out", data_seed=1)
    assert read_private_items(tmp_path / "out") == list(items)
    assert "label" not in (tmp_path / "out" / "public" / "student.jsonl").read_text()


def test_a_changed_file_is_another_version_and_the_same_one_is_not(tmp_path):
    name = write(tmp_path / "mine.jsonl", rows_of(pair))
    first = from_file(name).version
    assert from_file(name).version == first
    write(
        tmp_path / "mine.jsonl",
        [*rows_of(pair), pair("more", "student", 0), pair("most", "student", 1)],
    )
    assert from_file(name).version != first


def test_without_feedback_it_is_for_transfer_only(tmp_path):
    rows = [r for r in rows_of(pair) if r["split"] != "feedback"]
    assert from_file(write(tmp_path / "mine.jsonl", rows)).transfer_only


def test_given_parts_and_levels_are_kept(tmp_path):
    rows = rows_of(pair) + [pair(f"x{i}", "final", i, part="ood", level=3) for i in range(2)]
    found = [
        i
        for i in from_file(write(tmp_path / "mine.jsonl", rows)).build(tmp_path, 1)
        if i.part == "ood"
    ]
    assert [i.level for i in found] == [3, 3]


def test_neither_the_order_of_the_file_nor_its_ids_can_tell_a_label(tmp_path):
    rows = sorted(rows_of(pair), key=lambda row: -row["label"])
    named = [row | {"id": f"label-{row['label']}-{n}"} for n, row in enumerate(rows)]
    found = from_file(write(tmp_path / "mine.jsonl", named)).build(tmp_path, 1)
    turned = from_file(write(tmp_path / "turned.jsonl", rows[::-1])).build(tmp_path, 1)
    assert found == turned
    assert len(found) == 16
    assert not any("label" in i.id for i in found)


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("{", "not JSON"),
        ("[1]", r"\[1\] is not an object"),
        ('{"label": 1, "split": "final"}', "the fields are not those of an item"),
        (json.dumps(pair("x", "final", 2)), "label: Input should be 0 or 1"),
        (json.dumps(pair("x", "test", 1)), "split: Input should be"),
        (json.dumps(pair("x", "final", 1, level=0)), "level: Input should be greater"),
        (json.dumps(pair("x", "final", 1, labels=3)), "labels: unknown field, did you mean label"),
        (json.dumps(pair("x", "final", 1) | {"second": " "}), "second is blank"),
        (
            json.dumps({"prompt": "p", "first": "f", "label": 1, "split": "final"}),
            "second: Field required",
        ),
        (json.dumps(choice("x", "final", 1)), "a choice in a file of pairs"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, line, reported):
    name = write(tmp_path / "mine.jsonl", rows_of(pair)[:2])
    with Path(name).open("a") as file:
        file.write("\n" + line + "\n")
    with pytest.raises(Misconfigured, match=reported) as caught:
        from_file(name)
    assert f"{name}, line 4" in str(caught.value)


def test_what_is_no_problem_is_reported(tmp_path):
    with pytest.raises(Misconfigured, match="no file"):
        PROBLEMS[str(tmp_path / "none.jsonl")]
    with pytest.raises(Misconfigured, match="no items"):
        PROBLEMS[write(tmp_path / "empty.jsonl", [])]
    with pytest.raises(Misconfigured, match="no items in the split teacher"):
        PROBLEMS[write(tmp_path / "mine.jsonl", rows_of(pair)[4:])]
    with pytest.raises(Misconfigured, match="one half of the labels"):
        require_items(
            PROBLEMS[write(tmp_path / "mine.jsonl", [*rows_of(pair), pair("x", "final", 1)])]
        )
    with pytest.raises(Misconfigured, match="small-chat"):
        PROBLEMS[write(tmp_path / "small-chat.jsonl", rows_of(pair))]
    with pytest.raises(Misconfigured, match="Rename the file"):
        PROBLEMS[write(tmp_path / "my items!.jsonl", rows_of(pair))]


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=8, max_size=8, unique=True))
def test_any_text_survives(tmp_path_factory, texts):
    splits = [s for s in ("teacher", "student", "final") for _ in range(2)]
    rows = [
        {"question": f"{i}{t}", "choice": t, "label": i % 2, "split": s}
        for i, (t, s) in enumerate(zip(texts, splits, strict=False))
    ]
    name = write(tmp_path_factory.mktemp("any") / "mine.jsonl", rows)
    found = from_file(name).build(tmp_path_factory.getbasetemp(), 1)
    assert {(i.question, i.choice) for i in found} == {(r["question"], r["choice"]) for r in rows}


@pytest.mark.slow
def test_a_testbed_is_made_of_a_file_and_another_one_of_the_changed_file(tmp_path):
    rng = random.Random(0)

    def words():
        return " ".join(f"w{rng.randrange(300)}" for _ in range(8))

    def bed(rows):
        name = write(tmp_path / "mine.jsonl", rows)
        return prepare(
            name,
            1,
            home=Home(tmp_path / "home"),
            student=student.COUNTING,
            progress=lambda *_: None,
        )

    rows = [
        pair(0, split, i % 2, first=words(), second=words()) for split in SPLITS for i in range(60)
    ]
    first = bed(rows)
    assert first.folder.parent == tmp_path / "home" / "problems"
    assert first.folder.name.startswith("mine-v")
    assert bed(rows).from_cache
    rows[0]["first"] += " changed"
    assert bed(rows).folder != first.folder


def test_a_byte_order_mark_and_foreign_line_ends_are_read(tmp_path):
    rows = rows_of(pair)
    rows[0]["first"] += " \u2028 next"
    path = tmp_path / "mine.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + "".join(json.dumps(r, ensure_ascii=False) + "\r\n" for r in rows).encode()
    )
    assert len(from_file(str(path)).build(tmp_path, 1)) == len(rows)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\x1f\x8b", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "Parquet"),
        (b"\xff\xfe{", "UTF-16"),
        (b"[\n", "one JSON array"),
    ],
)
def test_a_file_of_another_kind_is_named_by_its_kind(tmp_path, start, words):
    (tmp_path / "mine.jsonl").write_bytes(start)
    with pytest.raises(Misconfigured, match=f"{words}.*Write one JSON object on each line"):
        from_file(str(tmp_path / "mine.jsonl"))


@pytest.mark.parametrize("name", ["mine.csv", "folder/mine.parquet", "mine.jsonl.gz", "mine.JSONL"])
def test_another_name_than_jsonl_is_reported(name):
    with pytest.raises(Misconfigured, match=r"name ends in \.jsonl"):
        PROBLEMS[name]


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        (
            '{"prompt": "p", "first": "a \\ud83d", "second": "b", "label": 1, "split": "final"}',
            "'first' holds half of a surrogate",
        ),
        (
            '{"prompt": "p", "first": "a", "second": "b", "label": 1, "label": 0, "split": '
            '"final"}',
            "'label' occurs twice",
        ),
        ('{"label": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(pair("x", "final", "1")), "label: Input should be 0 or 1, got '1'"),
        (
            '{"prompt": "p", "first": "a", "second": "b", "label": 1, "split": "final"},',
            "Extra data",
        ),
    ],
)
def test_what_no_item_can_be_is_named_by_its_line(tmp_path, line, reported):
    name = write(tmp_path / "mine.jsonl", rows_of(pair)[:2])
    with Path(name).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(Misconfigured, match=reported) as caught:
        from_file(name)
    assert f"{name}, line 3" in str(caught.value)


@pytest.mark.parametrize("kind", [pair, choice])
def test_lines_that_repeat_are_named_by_their_numbers_and_labels(tmp_path, kind):
    rows = rows_of(kind)
    with pytest.raises(Misconfigured, match=r"line 2 \(label 1\), line 17 \(label 1\)"):
        from_file(write(tmp_path / "mine.jsonl", [*rows, rows[1]]))
    with pytest.raises(Misconfigured, match=r"line 2 \(label 1\), line 17 \(label 0\)"):
        from_file(write(tmp_path / "mine.jsonl", [*rows, rows[1] | {"label": 0}]))


def test_one_question_of_all_items_is_an_instruction(tmp_path):
    rows = [
        choice(f"{s}{i}", s, i % 2, question="Is this review favourable?", choice=f"{s} {i}")
        for s in SPLITS
        for i in range(4)
    ]
    assert len(from_file(write(tmp_path / "mine.jsonl", rows)).build(tmp_path, 1)) == 16


def test_unbalanced_splits_are_named_with_the_surplus(tmp_path):
    rows = [*rows_of(pair), pair("x", "final", 1), pair("y", "student", 0), pair("z", "student", 0)]
    with pytest.raises(
        Misconfigured,
        match=r"split final.*1 of label 1 too many; split student.*2 of label 0 too many",
    ):
        require_items(from_file(write(tmp_path / "mine.jsonl", rows)))


@pytest.mark.parametrize("kind", [pair, choice])
def test_the_teacher_is_fitted_on_texts_of_no_test_split(tmp_path, kind):
    corpus = from_file(write(tmp_path / "mine.jsonl", rows_of(kind))).corpus(tmp_path, 1)
    assert len(corpus) == (16 if kind is pair else 8)
    assert not any("feedback" in text or "final" in text for text in corpus)
