"""Data as people have them, made into items."""

import csv
import gzip
import json
from collections import Counter

import pyarrow
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from aarlab.cli.main import app
from aarlab.core.errors import Misconfigured
from aarlab.problems.from_file import from_file
from aarlab.problems.own_items import SHARES, own_items, size_words
from aarlab.problems.problem import check_problem


def preferences(count, **more):
    """Rows as preference data sets have them: no split, no label, fields of their own."""
    return [
        {"prompt": f"Question {n}?", "chosen": f"good {n}", "rejected": f"bad {n}", "source": "x"}
        | {key: make(n) for key, make in more.items()}
        for n in range(count)
    ]


def written(path, rows):
    data = json.dumps(rows) if ".json." in f"{path.name}." else "\n".join(map(json.dumps, rows))
    path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
    return str(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.json.gz"])
def test_four_kinds_of_files_hold_the_same_items(tmp_path, name):
    found = own_items(written(tmp_path / name, preferences(300)))
    assert found.items == own_items(written(tmp_path / "b.jsonl", preferences(300))).items
    assert found.left_out == ("source",)
    assert found.dealt == 300
    shares = Counter(item.split for item in found.items)
    assert 40 < shares["teacher"] < 80
    assert 90 < shares["student"] < 150


def test_pairs_are_turned_round_and_say_the_same(tmp_path):
    found = own_items(written(tmp_path / "a.jsonl", preferences(301)))
    check_problem(found.items)
    for item in found.items:
        better = item.second if item.label else item.first
        assert better.startswith("good")
    assert found.turned == len(found.items) / 2
    assert found.dropped == 301 - len(found.items)
    assert found.dropped <= 4  # one of each split


def test_what_is_written_is_read_again_as_it_is(tmp_path):
    found = own_items(written(tmp_path / "a.json", preferences(200, level=lambda n: 1 + n % 2)))
    (tmp_path / "mine.jsonl").write_text(found.lines())
    again = from_file(str(tmp_path / "mine.jsonl"))
    key = [(i.prompt, i.first, i.second, i.label, i.split, i.level) for i in found.items]
    read = again.build(tmp_path, 1)
    assert sorted(key) == sorted(
        (i.prompt, i.first, i.second, i.label, i.split, i.level) for i in read
    )
    check_problem(read)


def test_a_group_and_a_question_are_in_one_split(tmp_path):
    rows = preferences(200, group=lambda n: f"document {n // 10}")
    found = own_items(written(tmp_path / "a.jsonl", rows)).items
    splits = {item.group: {i.split for i in found if i.group == item.group} for item in found}
    assert all(len(some) == 1 for some in splits.values())
    choices = [
        {"question": f"What is {n // 4}?", "choice": f"{n}", "label": int(n % 4 == 0)}
        for n in range(400)
    ]
    found = own_items(written(tmp_path / "b.jsonl", choices))
    of = {
        i.question: {j.split for j in found.items if j.question == i.question} for i in found.items
    }
    assert all(len(some) == 1 for some in of.values())
    check_problem(found.items)
    assert found.dropped == sum(abs(zeros - ones) for zeros, ones in found.cells.values())
    assert found.turned == 0


def test_few_labels_are_said_to_be_few(tmp_path):
    small = own_items(written(tmp_path / "a.jsonl", preferences(100))).items
    assert "too coarse" in size_words(small)
    large = own_items(written(tmp_path / "b.jsonl", preferences(3_000))).items
    assert "too coarse" not in size_words(large)
    assert "transfer only" in size_words([i for i in large if i.split == "final"])


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl.gz", b"not gzip", "cannot be decompressed"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": 1}', mtime=0)[:-9], "cannot be decompressed"),
        ("a.json", b"3", "row 1: 3 is no object"),
        ("a.json", b'[{"a": 1}]', "row 1: it has neither chosen and rejected, nor"),
        ("a.jsonl", b'\n\n{"a": 1}', "line 3: it has neither"),
        ("a.json", b"[]", "has no rows"),
        ("a.csv", b"question,choice,label\n", "has no rows"),
        ("a.csv", b"question;choice;label\na;b;1\n", "columns are separated by ';'"),
        ("a.csv", b"question\tchoice\tlabel\na, b\tc\t1\n", r"separated by '\\t'"),
        (
            "a.csv",
            b"prompt,chosen,rejected\na,\"[{'role': 'user', 'content': 'b'}]\",c\n",
            "row 1, chosen is a list of messages as Python prints it",
        ),
        ("a.csv", b"question,choice,label\na,b,0.5\n", "row 1: label: .*0.5"),
        (
            "a.jsonl",
            b'{"question": "a", "choice": "b", "label": 1, "group": true}',
            "line 1: group",
        ),
        ("a.jsonl", b'{"question": "a", "choice": "b", "label": 1, "level": 1.5}', "line 1: level"),
        (
            "a.csv",
            b"prompt,chosen,rejected\na,b,c\n",
            "of 1 rows, 1 were left out .* no item is in",
        ),
        ("a.xlsx", b"PK", "unknown kind"),
        ("a.parquet", b"PAR1", "cut off or damaged"),
        ("none.parquet", None, "none.parquet"),
        ("a.jsonl", b'{"prompt": "p", "first": "a", "second": "b"}', "label"),
        ("a.jsonl", b'{"chosen": 3, "rejected": "b"}', "line 1: chosen: 3 is neither a text nor"),
        ("a.jsonl", b'{"chosen": [], "rejected": []}', "the conversation has no message"),
        ("a.jsonl", b'{"chosen": ["a"], "rejected": ["b"]}', "a list must hold messages"),
        (
            "a.jsonl",
            b'{"prompt": "p", "chosen": "a", "rejected": "b", "split": "train"}',
            "line 1: split 'train' is none of teacher, .*; rows without `split` are dealt",
        ),
        ("a.jsonl", b'{"chosen": "a", "rejected": "a"}', "two answers that are the same"),
        ("a.csv", b'question,choice,label\na,"b', "no CSV"),
        ("a.csv", b"question,choice,label\na,b", "row 1: it has 2 cells, and there are 3 columns"),
        ("a.csv", b"question,question\na,b", "two columns have one name"),
    ],
)
def test_a_file_that_is_none_says_so(tmp_path, name, data, words):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(Misconfigured, match=words):
        own_items(str(tmp_path / name))


def test_tables_hold_the_same_items(tmp_path):
    rows = [
        {"question": f"What is {n}, and 'why'?", "choice": f"a, {n}", "label": n % 2, "level": 2}
        for n in range(200)
    ]
    expected = own_items(written(tmp_path / "a.jsonl", rows)).items
    with (tmp_path / "a.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0], "part"])
        table.writeheader()
        table.writerows(rows)
    assert own_items(str(tmp_path / "a.csv")).items == expected
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert own_items(str(tmp_path / "a.csv.gz")).items == expected
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert own_items(str(tmp_path / "a.parquet")).items == expected


def test_rows_that_say_nothing_or_say_it_again_are_left_out_and_counted(tmp_path):
    rows = preferences(100)
    again = [row | {"prompt": f"{row['prompt']} Again?"} for row in rows[:7]]
    ties = [row | {"chosen": f"tie {n}", "rejected": f"tie {n}"} for n, row in enumerate(rows[:5])]
    blank = [rows[0] | {"chosen": " ", "rejected": "something"}]
    found = own_items(written(tmp_path / "a.json", rows + again + ties + blank))
    assert (found.empty, found.repeated) == (6, 7)
    assert len(found.items) + found.dropped == 100
    check_problem(found.items)
    done = CliRunner().invoke(app, ["items", str(tmp_path / "a.json")])
    words = " ".join(done.output.split())
    assert "6 rows with a blank text or two equal answers were left out" in words
    assert "7 rows with a text of another row were left out" in words


def test_the_command_writes_items_and_says_what_it_did(tmp_path):
    out = tmp_path / "mine.jsonl"
    done = CliRunner().invoke(
        app, ["items", written(tmp_path / "a.json", preferences(200)), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "200 rows had no split" in words
    assert "left out: source" in words
    assert "independent labels" in words
    check_problem(from_file(str(out)).build(tmp_path, 1))


def test_an_instruction_of_all_rows_does_not_put_them_into_one_split(tmp_path):
    reviews = [
        {"question": "Is it positive?", "choice": f"It was {n} and good.", "label": n % 2}
        for n in range(400)
    ]
    pairs = preferences(400, prompt=lambda n: f"Which is better, in form {n % 3}?")
    for rows in (reviews, pairs):
        found = own_items(written(tmp_path / "a.jsonl", rows))
        shares = Counter(item.split for item in found.items)
        assert min(shares[split] for split in SHARES) > 50
        assert found.items == own_items(written(tmp_path / "b.jsonl", rows[::-1])).items
        (tmp_path / "mine.jsonl").write_text(found.lines())
        assert len(from_file(str(tmp_path / "mine.jsonl")).build(tmp_path, 1)) == len(found.items)


def test_few_questions_leave_a_split_empty_and_this_is_refused(tmp_path):
    rows = [
        {"question": f"Is it {n % 2}?", "choice": f"Text {n}.", "label": n // 2 % 2}
        for n in range(400)
    ]
    with pytest.raises(Misconfigured, match="dealt by 2 different groups or questions"):
        own_items(written(tmp_path / "a.jsonl", rows))
    right = [row | {"question": f"Is it {n}?", "label": 1} for n, row in enumerate(rows)]
    with pytest.raises(Misconfigured, match="of 400 rows, 400 were left out so that half"):
        own_items(written(tmp_path / "a.jsonl", right))
    stated = [row | {"split": split} for row in right for split in ("teacher", "final")]
    with pytest.raises(
        Misconfigured, match="no item is in the split teacher and student and final"
    ):
        own_items(written(tmp_path / "a.jsonl", stated))


def test_numbers_are_read_as_pandas_writes_them(tmp_path):
    plain = [
        {
            "question": f"What is {n}?",
            "choice": f"It is {n}",
            "label": n % 2,
            "level": 1 + n // 2 % 2,
        }
        | {"group": f"{n // 2}"}
        for n in range(300)
    ]
    expected = own_items(written(tmp_path / "a.jsonl", plain)).items
    numbers = [row | {"group": int(row["group"]), "level": float(row["level"])} for row in plain]
    assert own_items(written(tmp_path / "b.jsonl", numbers)).items == expected
    for label, level in (("{:.1f}", "{:.1f}"), ("{}", "{}.")):
        lines = [
            f"{n},{row['question']},{row['choice']},{label.format(row['label'])},"
            f"{level.format(row['level'])},{row['group']}\n"
            for n, row in enumerate(plain)
        ]
        (tmp_path / "c.csv").write_text("".join([",question,choice,label,level,group\n", *lines]))
        assert own_items(str(tmp_path / "c.csv")).items == expected
    words = "".join(lines).replace(",1,", ",True,").replace(",0,", ",False,")
    (tmp_path / "d.csv").write_text(",question,choice,label,level,group\n" + words)
    assert own_items(str(tmp_path / "d.csv")).items == expected


def test_a_table_may_hold_conversations_as_json(tmp_path):
    rows = preferences(60)
    turns = {
        key: [[{"role": "assistant", "content": row[key]}] for row in rows]
        for key in ("chosen", "rejected")
    }
    with (tmp_path / "a.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["prompt", *turns])
        for row, *answers in zip(rows, *turns.values(), strict=True):
            table.writerow([row["prompt"], *map(json.dumps, answers)])
    expected = own_items(written(tmp_path / "a.jsonl", rows)).items
    assert own_items(str(tmp_path / "a.csv")).items == expected


def test_the_command_does_not_write_over_the_rows_that_it_reads(tmp_path):
    rows = written(tmp_path / "a.jsonl", preferences(100))
    (tmp_path / "link.jsonl").symlink_to(rows)
    before = (tmp_path / "a.jsonl").read_bytes()
    for out in (rows, str(tmp_path / "link.jsonl")):
        done = CliRunner().invoke(app, ["items", rows, "--out", out])
        assert isinstance(done.exception, Misconfigured)
        assert "whose rows would be lost" in str(done.exception)
    assert (tmp_path / "a.jsonl").read_bytes() == before
