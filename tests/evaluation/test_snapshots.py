"""Honest archives, made by tar, tarfile and zipfile, are one snapshot with JSON; what names and texts a snapshot may have."""

import gzip
import json
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.core.snapshot import canonical, snapshot_hash
from aarlab.evaluation.snapshots import (
    MAX_DEPTH,
    MAX_PATH_BYTES,
    check_files,
    read_archive,
)
from tests.evaluation.packing import FILES, pax, raw_tar, tar, zipped

# --- honest --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_every_tar_format_is_the_same_snapshot_as_json(evaluator, format, pack):
    sent = evaluator.commit_code("ann", FILES, Family.OTHER)
    assert read_archive(pack(tar(FILES, format))) == FILES
    assert evaluator.commit_code("bob", read_archive(pack(tar(FILES, format))), Family.OTHER) == sent
    assert sent["snapshot"] == snapshot_hash(FILES)
    assert evaluator.code(sent["snapshot"]) == FILES


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_the_same_snapshot(compression):
    made = zipped(FILES | {"lib/": ""}, compression=compression)
    assert canonical(read_archive(made)) == canonical(FILES)


@pytest.mark.parametrize(
    "words", [["-cf"], ["-czf"], ["--format=v7", "-cf"], ["--format=gnu", "-cf"], ["--format=posix", "-czf"]]
)
def test_what_the_tar_command_makes_of_a_folder(tmp_path, words):
    folder = tmp_path / "mine"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    subprocess.run([shutil.which("tar"), *words, tmp_path / "a.tar", "-C", folder, "."], check=True)
    assert read_archive((tmp_path / "a.tar").read_bytes()) == FILES


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_are_read_in_every_way_they_are_written(format):
    name = "/".join(["d" * 60, "e" * 60, "f" * 60])
    assert read_archive(tar({name: "x", "b": "y"}, format)) == {name: "x", "b": "y"}


def test_a_global_comment_as_git_writes_it_does_not_matter():
    made = raw_tar((b"pax_global_header", b"g", pax(comment="0" * 40)), (b"a", b"0", b"x"))
    assert read_archive(made) == {"a": "x"}


text = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=40)
names = (
    st.lists(st.text("abcdé_-.0", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join).filter(lambda n: n[:2] != "./")
)  # which tar itself writes, and archives may say


@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(names, text, min_size=1, max_size=5))
def test_three_ways_one_hash(files):
    try:
        check_files(files)
    except InvalidSubmission:
        for archive in (tar(files), zipped(files)):
            with pytest.raises(InvalidSubmission):
                read_archive(archive)
        return
    sent = json.loads(json.dumps(files))
    ways = [sent, read_archive(tar(files)), read_archive(gzip.compress(tar(files))), read_archive(zipped(files))]
    assert {snapshot_hash(way) for way in ways} == {snapshot_hash(files)}


# --- names ---------------------------------------------------------------------------------------------------------------

BAD_NAMES = [
    "../x", "a/../../x", "/etc/x", "a//b", "a/./b", "..", ".", "C:x", "C:/x", "\\\\host\\x", "a\\b", "//host/x", "a:b", "x.",
    "x ", "a\nb", "a\x1bb", "a\u202eb", "a\u200bb", "a\ud800", "*", "a?", "a|b",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_a_plain_relative_path_everywhere(name):
    with pytest.raises(InvalidSubmission, match="plain relative path"):
        check_files({"method.py": "", name: ""})
    if "\ud800" not in name:
        for archive in (tar({name: "x"}), zipped({name: "x"})):
            with pytest.raises(InvalidSubmission):
                read_archive(archive)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "A"), ("é", "e\u0301"), ("straße", "STRASSE"), ("lib", "lib/x"), ("Lib/x", "lib/y"), ("a/b/c", "a/B"), ("ï/x", "Ï")],
)
def test_names_that_are_one_on_some_file_system_collide(one, other):
    for files in ({one: "", other: ""}, {other: "", one: ""}):
        for read in (check_files, lambda f: read_archive(tar(f)), lambda f: read_archive(zipped(f))):
            with pytest.raises(InvalidSubmission, match="collide"):
                read(files)


def test_a_file_and_an_empty_folder_collide_and_empty_folders_are_checked():
    with pytest.raises(InvalidSubmission, match="twice"):
        read_archive(raw_tar((b"a", b"0", b""), (b"a", b"5", b"")))
    with pytest.raises(InvalidSubmission, match="collide"):
        read_archive(raw_tar((b"a", b"0", b""), (b"A/", b"5", b"")))
    with pytest.raises(InvalidSubmission, match="plain"):
        read_archive(raw_tar((b"a", b"0", b""), (b"../b/", b"5", b"")))
    assert read_archive(raw_tar((b"./", b"5", b""), (b"./b/", b"5", b""), (b"./b/a", b"0", b"x"))) == {"b/a": "x"}


@pytest.mark.parametrize("length", [MAX_PATH_BYTES + 1, 10_000])
def test_a_path_is_bounded_in_length_and_depth(length):
    for name in ("a" * length, "é" * (MAX_PATH_BYTES // 2 + 1), "/".join("a" * (MAX_DEPTH + 1))):
        for read in (check_files, lambda f: read_archive(tar(f)), lambda f: read_archive(zipped(f))):
            with pytest.raises(InvalidSubmission, match="too long"):
                read({name: ""})


# --- texts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", "ä".encode("latin-1")])
def test_a_file_is_utf8(content):
    for archive in (tar({"a": content}), zipped({"a": content})):
        with pytest.raises(InvalidSubmission, match="not UTF-8"):
            read_archive(archive)


@pytest.mark.parametrize("content", ["\0", "a\x1b[2J", "\x7f", "\x9b"])
def test_a_text_has_no_control_characters(content):
    with pytest.raises(InvalidSubmission, match="control characters"):
        check_files({"a": content})
    with pytest.raises(InvalidSubmission, match="control characters"):
        read_archive(tar({"a": content}))


def test_half_a_character_is_refused_and_no_crash():
    with pytest.raises(InvalidSubmission, match="half a character"):
        check_files({"a": "\ud800"})
