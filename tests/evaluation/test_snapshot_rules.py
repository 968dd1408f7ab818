"""What files, names and texts a snapshot may have, and that the same files are the same
snapshot."""

import pytest

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.core.snapshot import snapshot_hash
from aarlab.evaluation.issued_seeds import SEEDS, IssuedSeeds
from aarlab.evaluation.snapshot_rules import MAX_DEPTH, MAX_PATH_BYTES, check_files

FILES = {
    "method.py": "def run(task, seed): ...\n",
    "lib/été.py": "x = 'ü'\r\n",
    "lib/deep/er/empty.txt": "",
}


def test_a_snapshot_is_stored_and_read_as_it_was_sent(evaluator):
    sent = evaluator.commit_code("ann", FILES, Family.OTHER)
    assert sent["snapshot"] == snapshot_hash(FILES)
    assert evaluator.code(sent["snapshot"]) == FILES
    assert evaluator.commit_code("bob", dict(reversed(FILES.items())), Family.OTHER) == sent


# --- names ----------------------------------------------------------------------------------------

BAD_NAMES = [
    "../x", "a/../../x", "/etc/x", "a//b", "a/./b", "..", ".", "C:x", "C:/x", "\\\\host\\x", "a\\b",
    "//host/x", "a:b", "x.",
    "x ", "a\nb", "a\x1bb", "a\u202eb", "a\u200bb", "a\ud800", "*", "a?", "a|b",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_a_plain_relative_path_everywhere(name):
    with pytest.raises(InvalidSubmission, match="plain relative path"):
        check_files({"method.py": "", name: ""})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("é", "e\u0301"),
        ("straße", "STRASSE"),
        ("lib", "lib/x"),
        ("Lib/x", "lib/y"),
        ("a/b/c", "a/B"),
        ("ï/x", "Ï"),
    ],
)
def test_names_that_are_one_on_some_file_system_collide(one, other):
    for files in ({one: "", other: ""}, {other: "", one: ""}):
        with pytest.raises(InvalidSubmission, match="collide"):
            check_files(files)


@pytest.mark.parametrize("length", [MAX_PATH_BYTES + 1, 10_000])
def test_a_path_is_bounded_in_length_and_depth(length):
    for name in ("a" * length, "é" * (MAX_PATH_BYTES // 2 + 1), "/".join("a" * (MAX_DEPTH + 1))):
        with pytest.raises(InvalidSubmission, match="too long"):
            check_files({name: ""})


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["\0", "a\x1b[2J", "\x7f", "\x9b"])
def test_a_text_has_no_control_characters(content):
    with pytest.raises(InvalidSubmission, match="control characters"):
        check_files({"a": content})


def test_half_a_character_is_refused_and_no_crash():
    with pytest.raises(InvalidSubmission, match="half a character"):
        check_files({"a": "\ud800"})


def test_issued_seeds_are_the_same_each_time_whatever_is_done_with_them(tmp_path):
    issued = IssuedSeeds(tmp_path / "secret")
    first = issued.of("feedback", "a" * 64)
    first.clear()
    again = issued.of("feedback", "a" * 64)
    assert again == IssuedSeeds(tmp_path / "secret").of("feedback", "a" * 64)
    assert len(again) == SEEDS
    assert again != issued.of("final", "a" * 64)
