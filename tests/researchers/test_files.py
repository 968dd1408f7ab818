"""Answers and code by file, and the frame around what others wrote: by hand, and by what an
attacker would send."""

import json
import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.core.untrusted import WARNING, clean, clean_line, framed
from aarlab.researchers.answer_files import MAX_BYTES, read_answers
from aarlab.researchers.code_files import MOST_BYTES, read_code, write_code

# --- answers --------------------------------------------------------------------------------------

BITS = {"11": {"a": 0, "b": 1}, "12": {"a": 1, "b": 1}}
SAME = {"11": "01", "12": "11"}


def test_the_same_answers_in_every_form(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(BITS))
    (tmp_path / "b.json").write_text(json.dumps(SAME))
    (tmp_path / "c.json").write_text(json.dumps({"11": [0, True], "12": [1.0, "1"]}))
    np.savez(tmp_path / "d.npz", seed_11=np.array([0, 1]), **{"12": np.array([True, True])})
    np.savez(
        tmp_path / "e.npz",
        ids=np.array(["b", "a"]),
        **{"11": np.array([1.0, 0.0]), "12": np.ones((2, 1))},
    )
    (tmp_path / "f.csv").write_text("id,11,seed_12\na,0,1\nb,1,1\n")
    (tmp_path / "g.CSV").write_text("\ufeff12, id ,11\r\n1,b,1\r\n\r\n1,a,0\r\n")
    read = {p.name: read_answers(p) for p in tmp_path.iterdir()}
    assert read["a.json"] == read["f.csv"] == read["g.CSV"] == read["e.npz"] == BITS
    assert read["b.json"] == read["c.json"] == read["d.npz"] == SAME


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"x", "one of .json, .npz, .csv"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.json", b"\xff\xfe", "not JSON"),
        ("a.json", b"[1]", "holds a list"),
        ("a.json", b"{}", "holds no seed"),
        ("a.json", b'{"1": 7}', "holds a int"),
        ("a.json", b'{"1": {"a": 0.7}}', "seed 1, item a: '0.7' is neither 0 nor 1. Round"),
        ("a.json", b'{"1": {"a": null}}', "neither 0 nor 1"),
        ("a.json", b'{"1": {"a": NaN}}', "neither 0 nor 1"),
        ("a.json", b'{"1": [0, 2]}', "seed 1, place 1"),
        ("a.npz", b"PK", "numpy.savez"),
        ("a.npz", b"", "numpy.savez"),
        ("a.csv", b"", "a column id"),
        ("a.csv", b"id\na\n", "a column id"),
        ("a.csv", b"id,1\na\n", "rows of equal length"),
        ("a.csv", b"id,1\na,0.5\n", "column 1, item a"),
        ("a.csv", b"id,1\na,0\na,1\n", "2 answers for 1 different ids"),
        ("a.csv", b"\xff", "not a CSV"),
        ("a.csv", b",id,1\n0,a,1\n", "index=False"),
        ("a.csv", b"id;1\na;1\n", "separated by commas"),
        ("a.csv", b"id,1\n a,1\n", "blanks around it"),
        ("a.csv", "id,1\na,1\n".encode("utf-16"), "UTF-16"),
        ("a.json", b'{"1": {"a": 1, "a": 0}}', "'a' occurs twice"),
        ("a.json", b'{"1": {"\\ud83d": 1}}', "half of a surrogate pair"),
    ],
)
def test_what_is_no_answer_is_reported_what_to_change(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSubmission, match=words):
        read_answers(tmp_path / name)


def test_files_of_objects_missing_ones_and_huge_ones_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", **{"1": np.array([{"a": 1}], dtype=object)})
    with (tmp_path / "h.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    np.savez(tmp_path / "i.npz", ids=np.array(["a"]), **{"1": np.array([0, 1])})
    for name, words in (
        ("o.npz", "without objects"),
        ("h.json", "0s and 1s only"),
        ("no.json", "Cannot read"),
        ("i.npz", "1 diff"),
    ):
        with pytest.raises(InvalidSubmission, match=words):
            read_answers(tmp_path / name)


# --- code -----------------------------------------------------------------------------------------


def test_a_folder_becomes_files_and_files_a_folder(tmp_path):
    files = {"method.py": "def run(task, seed): ...\n", "lib/parts.py": "é", "lib/deep/x.txt": ""}
    write_code(files, tmp_path / "new" / "one")
    (tmp_path / "new/one/.git").mkdir()
    (tmp_path / "new/one/.git/config").write_text("secret")
    (tmp_path / "new/one/__pycache__").mkdir()
    (tmp_path / "new/one/__pycache__/m.pyc").write_bytes(b"\xff")
    assert read_code(tmp_path / "new" / "one") == files
    assert read_code(tmp_path / "new" / "one" / "lib" / "parts.py") == {"method.py": "é"}


TRICKS = [
    "/etc/passwd",
    "../up",
    "a/../../up",
    "a//b",
    "",
    ".",
    "a/.",
    "c:\\x",
    "a\0b",
    "a\nb",
    "\\\\host\\x",
    "a*",
    "a/",
]


@pytest.mark.parametrize("name", TRICKS)
def test_a_snapshots_names_lead_nowhere_else(tmp_path, name):
    with pytest.raises(InvalidSubmission, match="leads outside"):
        write_code({"method.py": "", name: "x"}, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=12))
def test_whatever_a_name_is_nothing_is_written_outside(tmp_path_factory, name):
    place = tmp_path_factory.mktemp("names")
    try:
        written = write_code({name: "x"}, place / "in" / "new")
    except InvalidSubmission:
        written = []
    assert [p for p in place.rglob("*") if p.is_file()] == written
    assert all(p.resolve().is_relative_to(place / "in" / "new") for p in written)
    assert {p.name for p in place.iterdir()} <= {"in"}


def test_links_are_neither_followed_nor_sent(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(InvalidSubmission, match="is not empty"):
        write_code({"a": "x"}, tmp_path / "link")
    assert list((tmp_path / "other").iterdir()) == []
    code = tmp_path / "code"
    code.mkdir()
    (code / "method.py").write_text("x")
    (code / "more").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSubmission, match="is a link"):
        read_code(code)
    for linked in (tmp_path / "link", code / "more"):
        with pytest.raises(InvalidSubmission, match="is a link"):
            read_code(linked)


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.py"):
        with pytest.raises(InvalidSubmission, match="is not empty"):
            write_code({"mine.py": "theirs"}, place)
    with pytest.raises(InvalidSubmission, match="Cannot write"):
        write_code({"a": "", "a/b": ""}, tmp_path / "new")
    assert (tmp_path / "mine.py").read_text() == "mine"


def test_code_that_is_none_is_reported_what_to_change(tmp_path):
    def refused(words):
        with pytest.raises(InvalidSubmission, match=words):
            read_code(tmp_path / "code")

    refused("There is no file or folder")
    (tmp_path / "code").mkdir()
    refused("holds no method.py")
    (tmp_path / "code" / "method.py").write_bytes(b"\xff")
    refused("not UTF-8")
    (tmp_path / "code" / "method.py").write_text("x" * (MOST_BYTES - 1))
    (tmp_path / "code" / "z").write_text("éé")
    refused("limit of 1048576 bytes")
    (tmp_path / "code" / "z").unlink()
    os.mkfifo(tmp_path / "code" / "pipe")
    refused("not a regular file")
    (tmp_path / "code" / "pipe").unlink()
    for n in range(50):
        (tmp_path / "code" / f"{n}.txt").touch()
    (tmp_path / "code" / "method.py").write_text("")
    refused("more than 50 files")


# --- what others wrote ----------------------------------------------------------------------------

HIDDEN = "\u200b\u202e\u2066\u00ad\ufeff\u034f\u115f\u1160\u3164\u2800\ufe0f\U000e0041"
HIDDEN += "\U000e01ef\u180e\x1b[2J\x07\x00\ue000"


def test_nothing_invisible_survives():
    assert clean(f"a{HIDDEN}b") == "ab"
    assert clean("zwölf € 漢字 🙂\n\tx") == "zwölf € 漢字 🙂\n x"
    assert clean_line("a\nb\r\n c" + "d" * 50, 10) == "a b cdddd…"


@given(st.text())
def test_no_control_or_format_character_survives(text):
    assert not {unicodedata.category(c) for c in clean(text) if c != "\n"} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
    }
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet="ENDBGI 0123456789abcdef\n", max_size=400))
def test_no_text_can_end_its_own_frame(text):
    made = framed("finding f-000001 by eve", text)
    head, begin, rest = made.split("\n", 2)
    mark = begin.removeprefix("BEGIN ")
    assert len(mark) == 16
    assert WARNING in head
    assert rest == f"{text}\nEND {mark}"
    assert mark not in text
    # it cannot be learned from an earlier answer either
    assert framed("x", text) != framed("x", text)


def test_a_folder_with_a_files_name_is_a_sentence(tmp_path):
    for name in ("a.json", "a.csv", "a.npz"):
        (tmp_path / name).mkdir()
        with pytest.raises(InvalidSubmission, match="directory"):
            read_answers(tmp_path / name)


def test_files_as_pandas_and_numpy_write_them_are_read(tmp_path):
    path = tmp_path / "a.csv"
    for one, zero in (("1.0", "0.0"), ("True", "False"), ("1.000e+00", "0.000e+00"), ("1", "0")):
        path.write_text(f"id,seed_1\na,{one}\nb,{zero}\n")
        assert read_answers(path) == {"1": {"a": 1, "b": 0}}


def test_arrays_that_say_something_else_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, np.array([1, 0]))
    with pytest.raises(InvalidSubmission, match="one array without a name"):
        read_answers(path)
    np.savez(path, ids=np.array(["a", "b"], dtype="S"), **{"1": np.array([0, 1])})
    with pytest.raises(InvalidSubmission, match="the ids are bytes"):
        read_answers(path)
    np.savez(path, **{"1": np.array([[0, 1], [1, 0]])})
    with pytest.raises(InvalidSubmission, match=r"shape \(2, 2\)"):
        read_answers(path)
