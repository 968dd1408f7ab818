"""Hostile archives: kinds of members, sizes, damage, and whatever bytes."""

import gzip
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.snapshots import (
    MAX_ARCHIVE_BYTES,
    MAX_BYTES,
    MAX_FILES,
    MAX_MEMBERS,
    check_files,
    read_archive,
)
from tests.evaluation.packing import FILES, header, pax, raw_tar, tar, zipped

# --- kinds of members ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
        (tarfile.CONTTYPE, "neither"),
        (b"M", "neither"),
        (b"K", "neither"),
        (b"\xff", "neither"),
    ],
)
def test_a_tar_holds_files_and_folders_only(kind, words):
    with pytest.raises(InvalidSubmission, match=words):
        read_archive(raw_tar((b"method.py", b"0", b"x"), (b"a", kind, b"")))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU_sparse_major": "1", "GNU_sparse_minor": "0"},
        {"GNU_sparse_map": "0,1"},
        {"GNU_sparse_size": "9999999999"},
        {"size": "-1024"},
        {"size": "0"},
        {"linkpath": "/etc/passwd"},
        {"hdrcharset": "BINARY"},
    ],
)
def test_an_extended_header_states_nothing_but_a_path_and_what_does_not_matter(records):
    with pytest.raises(InvalidSubmission, match="extended header"):
        read_archive(raw_tar((b"x", b"x", pax(**records)), (b"a", b"0", b"x")))
    with pytest.raises(InvalidSubmission, match="extended header"):
        read_archive(raw_tar((b"x", b"g", pax(path="b")), (b"a", b"0", b"x")))


def test_an_extended_path_is_checked_like_any_other():
    assert read_archive(raw_tar((b"x", b"x", pax(path="b", mtime="1.5")), (b"../a", b"0", b"x"))) == {"b": "x"}
    for path in ("../b", "/b", "b\0c"):
        with pytest.raises(InvalidSubmission, match="plain"):
            read_archive(raw_tar((b"x", b"x", pax(path=path)), (b"a", b"0", b"x")))
    with pytest.raises(InvalidSubmission, match="plain"):
        read_archive(raw_tar((b"././@LongLink", b"L", b"../" + b"b" * 150 + b"\0"), (b"a", b"0", b"x")))
    with pytest.raises(InvalidSubmission, match="not UTF-8"):
        read_archive(raw_tar((b"x", b"x", b"11 path=\xff\xff\n"), (b"a", b"0", b"x")))


@pytest.mark.parametrize(
    "body", [b"9 a=b", b"0 a=b\n", b"99 a=b\n", b"a=b\n", b"-6 a=b\n", b"6 a_b\n", b"6" * 4000, b"\n" * 700]
)
def test_a_broken_extended_header_is_refused(body):
    with pytest.raises(InvalidSubmission, match="damaged"):
        read_archive(raw_tar((b"x", b"x", body), (b"a", b"0", b"x")))


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_a_zip_with_a_link_or_device_by_its_attributes(mode):
    made = zipped({"a": "/etc/passwd"}, change=lambda info: setattr(info, "external_attr", mode << 16))
    with pytest.raises(InvalidSubmission, match="link or a device"):
        read_archive(made)


def test_a_windows_link_is_a_link():
    with pytest.raises(InvalidSubmission, match="link or a device"):
        read_archive(zipped({"a": "b"}, change=lambda info: setattr(info, "external_attr", 0x420)))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(compression):
    with pytest.raises(InvalidSubmission, match="unusual way"):
        read_archive(zipped({"a": "x" * 100}, compression=compression))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_zip_is_refused(flag):
    made = bytearray(zipped({"a": "x"}))
    central = made.index(b"PK\1\2")
    for at in (6, central + 8):
        made[at : at + 2] = struct.pack("<H", struct.unpack_from("<H", made, at)[0] | flag)
    with pytest.raises(InvalidSubmission, match="encrypted"):
        read_archive(bytes(made))


# --- sizes ---------------------------------------------------------------------------------------------------------------


def test_bombs_are_stopped_while_inflating():
    """Half a gigabyte of zeros behind half a megabyte: refused, and never in memory."""
    engine = zlib.compressobj(9, wbits=31)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(512)) + engine.flush()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidSubmission, match="unpacks to more than"):
            read_archive(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_ARCHIVE_BYTES
    finally:
        tracemalloc.stop()


def test_stated_sizes_of_a_zip_are_not_believed():
    made = zipped({"a": "x" * 5000})
    for stated in (10, 4999, 5001, 0xFFFF_FFFE):
        lying = bytearray(made)
        central = lying.index(b"PK\1\2")
        for at in (22, central + 24):
            lying[at : at + 4] = struct.pack("<L", stated)
        with pytest.raises(InvalidSubmission, match="not what the archive states"):
            read_archive(bytes(lying))


def test_a_small_file_that_inflates_a_thousandfold_is_refused():
    with pytest.raises(InvalidSubmission, match="unpacks to more than"):
        read_archive(zipped({"a": "x" * (MAX_BYTES - 1)}))
    with pytest.raises(InvalidSubmission, match="unpacks to more than"):
        read_archive(gzip.compress(tar({"a": "x" * (MAX_BYTES - 1)})))
    assert len(read_archive(tar({"a": "x" * (MAX_BYTES - 1)}))["a"]) == MAX_BYTES - 1


def test_a_zip_whose_members_share_their_bytes_is_refused():
    """The quoted-overlap bomb: a directory in which many names point at one body."""
    made = zipped({"a": "x" * 50_000})
    central = made.index(b"PK\1\2")
    entry, end = made[central : made.index(b"PK\5\6")], bytearray(made[-22:])
    end[8:12] = struct.pack("<HH", 2, 2)
    end[12:16] = struct.pack("<L", 2 * len(entry))
    with pytest.raises(InvalidSubmission, match="overlap"):
        read_archive(made[:central] + entry * 2 + bytes(end))


def test_counts_are_bounded():
    many = {f"f{n}": "" for n in range(MAX_FILES + 1)}
    for read in (check_files, lambda f: read_archive(tar(f)), lambda f: read_archive(zipped(f))):
        with pytest.raises(InvalidSubmission, match="1 to 50 files"):
            read(many)
        with pytest.raises(InvalidSubmission, match="1 to 50 files"):
            read({})
    folders = raw_tar(*((b"d%d/" % n, b"5", b"") for n in range(MAX_MEMBERS + 1)))
    with pytest.raises(InvalidSubmission, match="members"):
        read_archive(folders)


def test_total_text_and_packed_bytes_are_bounded():
    half = "x" * (MAX_BYTES // 2 + 1)
    for read in (
        check_files,
        lambda f: read_archive(tar(f)),
        lambda f: read_archive(zipped(f, compression=zipfile.ZIP_STORED)),
    ):
        with pytest.raises(InvalidSubmission):
            read({"a": half, "b": half})
    with pytest.raises(InvalidSubmission, match="An archive has at most"):
        read_archive(bytes(MAX_ARCHIVE_BYTES + 1))
    with pytest.raises(InvalidSubmission, match="at most"):
        check_files({"a": "é" * (MAX_BYTES // 2 + 1)})


# --- damage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [tar, zipped, lambda f: gzip.compress(tar(f))])
def test_no_truncated_archive_is_accepted(pack):
    whole = pack({"a": "x" * 700, "b": "y"})
    body = len(whole.rstrip(b"\0")) + 1024 if pack is tar else len(whole)  # a tar may be padded with more zeros
    for end in range(0, body, 7):
        with pytest.raises(InvalidSubmission):
            read_archive(whole[:end])


@pytest.mark.parametrize("more", [b"x", b"\0" * 600 + b"x", b"PK\5\6" + bytes(18)])
@pytest.mark.parametrize("pack", [tar, zipped, lambda f: gzip.compress(tar(f))])
def test_trailing_data_are_refused(pack, more):
    with pytest.raises(InvalidSubmission):
        read_archive(pack({"a": "x"}) + more)


def test_a_second_gzip_member_is_trailing_data():
    with pytest.raises(InvalidSubmission, match="other data follow"):
        read_archive(gzip.compress(tar({"a": "x"})) * 2)


def test_a_zip_with_a_comment_or_a_prefix_is_refused():
    made = zipped({"a": "x"})
    with pytest.raises(InvalidSubmission, match="comment"):
        read_archive(made[:-2] + b"\1\0c")
    with pytest.raises(InvalidSubmission, match="precede"):
        read_archive(b"PK\3\4 a program" + made)


@pytest.mark.parametrize(
    "field", [b"\x80" + bytes(10) + b"\1", b"\xff" * 12, b"-0000000001\0", b"99999999999\0", b"7" * 11 + b"\0"]
)
def test_odd_sizes_in_a_tar_header_are_refused(field):
    with pytest.raises(InvalidSubmission):
        read_archive(header(b"a", size_field=field) + bytes(2048))


def test_duplicate_members_are_refused():
    with pytest.raises(InvalidSubmission, match="twice"):
        read_archive(raw_tar((b"a", b"0", b"x"), (b"a", b"0", b"y")))
    with pytest.raises(InvalidSubmission, match="twice"):
        read_archive(zipped([("a", "x"), ("a", "y")]))
    with pytest.raises(InvalidSubmission, match="twice"):
        read_archive(raw_tar((b"a", b"0", b"x"), (b"./a", b"0", b"y")))


def test_a_zip_member_with_two_names_is_refused():
    made = bytearray(zipped({"aa": "x"}))
    made[30:32] = b"bb"  # in the local header
    with pytest.raises(InvalidSubmission, match="two ways"):
        read_archive(bytes(made))
    with pytest.raises(InvalidSubmission):
        read_archive(zipped({"a": "x"}).replace(b"a", b"\0"))
    latin = zipped({"é": "x"}).replace("é".encode(), b"\x82\x82")
    with pytest.raises(InvalidSubmission):
        read_archive(latin)


def test_dangling_headers_are_refused():
    for kind, body in ((b"x", pax(path="b")), (b"L", b"b\0")):
        with pytest.raises(InvalidSubmission, match="cut off"):
            read_archive(raw_tar((b"a", b"0", b"x"), (b"x", kind, body)))


# --- whatever bytes ------------------------------------------------------------------------------------------------------

WHOLE = [
    tar(FILES),
    tar(FILES, tarfile.GNU_FORMAT),
    zipped(FILES),
    gzip.compress(tar(FILES)),
    raw_tar((b"x", b"x", pax(path="b"))),
]
mutated = st.builds(
    lambda whole, edits, end: _edited(whole, edits)[: len(whole) - end],
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 255)), max_size=6),
    st.sampled_from([0, 0, 0, 1, 512]),
)


def _edited(whole: bytes, edits: list[tuple[int, int]]) -> bytes:
    changed = bytearray(whole)
    for at, value in edits:
        changed[at % len(changed)] = value
    return bytes(changed)


def _resummed(data: bytes) -> bytes:
    """The first header's checksum made right again, so that edits get past it."""
    block = bytearray(data[:512].ljust(512, b"\0"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.one_of(st.binary(max_size=2000), mutated, mutated.map(_resummed), st.binary(max_size=600).map(gzip.compress)))
@example(b"")
@example(b"PK")
@example(b"PK\5\6" + bytes(18))
@example(b"\x1f\x8b")
@example(bytes(1024))
def test_whatever_bytes_come_either_they_are_a_snapshot_or_refused_in_words(data):
    try:
        files = read_archive(data)
    except InvalidSubmission:
        return
    check_files(files)
    assert read_archive(tar(files)) == files
