"""Text, YAML and JSON from outside: what is strange in them is refused with file, line and key, or
read as it was meant."""

from pathlib import Path

import pytest
from pydantic import Field

from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record
from aarlab.core.strict_json import json_lines, parse_json, read_json, read_json_lines
from aarlab.core.strict_yaml import Document, parse_yaml, read_record, record_of


class Limits(Record):
    hours: float
    names: tuple[str, ...] = Field(default=(), strict=False)
    by: str | dict[str, str] = ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "hours: 1.0\nnames: [a]\nhours: 2.0\n",
            r"limits\.yaml is not valid YAML: the key 'hours' stands twice .* line 3",
        ),
        ("hours: 1.0\nnames:\n- {a: 1, b: 2, a: 3}\n", r"the key 'a' stands twice .* line 3"),
        ("on: 1\nhours: 1.0\non: 2\n", r"the key 'on' stands twice .* line 3"),
        ("hours: [1.0\n", r"limits\.yaml is not valid YAML.*line 2"),
        ("hours: 1\x07\n", r"limits\.yaml is not valid YAML"),
        ("a: 1\n---\na: 2\n", r"single document.*line 2"),
        ("? [a]\n: 1\n", r"a key is no text \(line 1"),
        ("hours: !!python/object:os.system 1\n", r"cannot be read as .*line 1"),
        ("hours: &a [*a]\n", r"it holds itself"),
        ("hours: " + "[" * 5000 + "]" * 5000, r"nest"),
        ("hours: " + "9" * 5000, r"is no number"),
        ("hours: 0x" + "f" * 5000, r"is no number"),
        (
            "hour: 1.0\n",
            r"limits\.yaml: hours: Field required; hour: unknown field, did you mean hours\? "
            r"\(line 1\)",
        ),
        ("names: [a]\nhours: yes\n", r"hours: Input should be a valid number \(line 2\)"),
        ("hours: 1:30\n", r"hours: Input should be a valid number"),
        ("hours: 1\nnames:\n- a\n- ~\n", r"names.1: Input should be a valid string \(line 4\)"),
        ("- hours\n", r"limits\.yaml: all: Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_refused_with_name_and_place(tmp_path, text, words):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=words):
        read_record(Limits, path)


def test_a_record_is_read_from_its_file(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("\ufeffhours: 1.5\r\nnames: [b, a]\r\n", encoding="utf-8")
    assert read_record(Limits, path) == Limits(hours=1.5, names=("b", "a"))
    assert parse_yaml("hours: 1.5\nnames: [b]\n", "limits") == {"hours": 1.5, "names": ["b"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e2", 100.0),
        ("1.e-1", 0.1),
        ("1_000", 1000),
        ("0x10", 16),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2026-11-28", "2026-11-28"),
        ("2026-99-99", "2026-99-99"),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("'7'", "7"),
        ("!!str 7", "7"),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
        ("{<<: {a: 1, b: 2}, a: 3}", {"a": 3, "b": 2}),
    ],
)
def test_a_word_of_yaml_is_what_json_and_yaml_1_2_make_of_it(text, value):
    assert parse_yaml(text, "words") == value


def test_where_a_text_is_due_a_word_of_digits_is_that_text():
    text = "hours: 1e2\nnames: [007, 1.10, 2026-11-28, on, 7]\nby: {x: 8}\n"
    made = record_of(Limits, Document(text, "t"), "t")
    assert made == Limits(
        hours=100.0, names=("007", "1.10", "2026-11-28", "on", "7"), by={"x": "8"}
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_a_sentence(tmp_path, encoding):
    path = tmp_path / "limits.yaml"
    path.write_bytes("hours: 1  # für\n".encode(encoding))
    with pytest.raises(Misconfigured, match=r"limits\.yaml is n.*"):
        read_record(Limits, path)


@pytest.mark.parametrize("name", ["none.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(tmp_path, name):
    with pytest.raises(Misconfigured, match=r"(?s)Cannot read .*Name one\."):
        read_record(Limits, tmp_path / name, remedy="Name one.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"usd": 1,\n "usd": 2}', r"j: the key 'usd' occurs twice .*line 2"),
        ('{"a": [{"b": 1, "b": 1}]}', r"the key 'b' occurs twice"),
        ('{"a":\n "\\ud83d x"}', r"j, line 2: 'a' holds half of a surrogate pair"),
        ('{"\\udc00": 1}', r"holds half of a surrogate pair"),
        (r'"\\ud83d\ude00"', r"holds half of a surrogate pair"),
        ("[" * 700 + r'"\ud800"' + "]" * 700, r"nested too deeply"),
        ('{"a": NaN}', r"NaN is no number"),
        ('{"a": 1,\n}', r"not JSON: .*line 2"),
        ("[" * 100_000, r"not JSON: it is nested too deeply"),
        ("9" * 5000, r"not JSON: Exceeds the limit"),
        ("", r"not JSON"),
    ],
)
def test_json_is_read_strictly(text, words):
    for given in (text, text.encode()):
        with pytest.raises(Misconfigured, match=words):
            parse_json(given, "j")


def test_json_that_is_right_is_read_in_each_encoding_of_json(tmp_path):
    text = '{"a": "\\ud83d\\ude00 \\\\ud83d"}'
    want = {"a": "\U0001f600 \\ud83d"}
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "a.json").write_bytes(text.encode(encoding))
        assert read_json(tmp_path / "a.json") == want


def test_lines_of_json_end_with_a_line_feed_alone(tmp_path):
    texts = ["a\u2028b", "c\x85d", "e\x0bf\x0c\x1c", "g"]
    path = tmp_path / "a.jsonl"
    lines = [f'{{"t": "{t}"}}' for t in texts if "\x0b" not in t]
    path.write_text("\ufeff" + "\r\n\n".join(lines), encoding="utf-8", newline="")
    assert [row["t"] for row in read_json_lines(path)] == ["a\u2028b", "c\x85d", "g"]
    with path.open("rb") as file:
        assert [number for number, _ in json_lines(file, "f")] == [1, 3, 5]
    with pytest.raises(Misconfigured, match=r"f, line 2 is no UTF-8 text"):
        list(json_lines([b"1\n", b'"\xff"\n'], "f"))


def test_no_other_module_reads_yaml_or_splits_a_file_of_json_at_other_line_ends():
    source = Path(__file__).parents[2] / "src" / "aarlab"
    text = {p.relative_to(source).as_posix(): p.read_text() for p in source.rglob("*.py")}
    # those of problems that ship read what their own prepare.py wrote
    text = {n: words for n, words in text.items() if not n.startswith("problems/shipped/")}
    yaml_readers = {name for name, words in text.items() if "yaml.safe_load" in words}
    split = {n for n, w in text.items() if "json.loads(line) for line" in w and ".splitlines" in w}
    assert (yaml_readers, split) == (set(), set())
