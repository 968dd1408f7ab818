"""Archives of bytes -> their files and folders, from memory. Nothing is extracted, no stated size is trusted, and a member
that is not plainly a file or a folder is refused.

The tar reader is our own, of the narrow part that honest tools write: the standard library's can be kept busy for hours by
one crafted header on Pythons that many machines still have (3.11 before 3.11.10).
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from stat import S_IFDIR, S_IFMT, S_IFREG

from aarlab.core.errors import InvalidSubmission

RATIO, FREE_BYTES = 100, 1 << 16  # inflated bytes may be FREE_BYTES + RATIO x the packed ones
Member = tuple[str, bytes | None]  # name, content; None for a folder


# --- inflating -----------------------------------------------------------------------------------------------------------


def inflated(packed: bytes, window_bits: int, limit: int) -> bytes:
    """What a deflated stream holds, at most `limit` bytes; stops as soon as there are more."""
    limit = min(limit, FREE_BYTES + RATIO * len(packed))
    engine = zlib.decompressobj(window_bits)
    try:
        plain = engine.decompress(packed, limit + 1)
    except zlib.error as error:
        raise InvalidSubmission(f"The archive is damaged ({error}). Pack it anew.") from error
    if len(plain) > limit:
        raise InvalidSubmission(f"The archive unpacks to more than {limit} bytes. Make it smaller.")
    if not engine.eof or engine.unused_data:
        raise InvalidSubmission("The archive is cut off, or other data follow it. Pack it anew.")
    return plain


# --- tar -----------------------------------------------------------------------------------------------------------------

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


def tar_members(data: bytes) -> Iterator[Member]:
    """The files and folders of a tar as V7, ustar, GNU and PAX write them."""
    at, longer = 0, None
    while (header := data[at : at + _BLOCK]) != _ZEROS:
        kind, size = _tar_header(header)
        body = data[at + _BLOCK : at + _BLOCK + size]
        if len(body) != size:
            raise InvalidSubmission("The archive is cut off. Pack it anew.")
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
        if kind == b"L":
            longer = body.removesuffix(b"\0")
        elif kind == b"x":
            longer = _pax_path(body, of_all=False) or longer
        elif kind == b"g":
            _pax_path(body, of_all=True)
        else:
            yield _tar_member(kind, longer or _tar_name(header), body)
            longer = None
    if longer is not None or any(data[at:]) or len(data) - at < 2 * _BLOCK:
        raise InvalidSubmission("The archive is cut off, or other data follow it. Pack it anew.")


def _tar_header(header: bytes) -> tuple[bytes, int]:
    """(kind, size in bytes) of a header whose checksum fits."""
    try:
        total, size = (int(header[a:b].strip(b" \0") or b"x", 8) for a, b in ((148, 156), (124, 136)))
    except ValueError:
        total, size = -1, -1
    if len(header) != _BLOCK or size < 0 or total != sum(header) - sum(header[148:156]) + 8 * 32:
        raise InvalidSubmission("This is no tar, tar.gz or zip archive, or it is damaged. Pack it anew.")
    return header[156:157], size


def _tar_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _tar_member(kind: bytes, raw: bytes, body: bytes) -> Member:
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidSubmission(f"The path {raw[:80]!r} is not UTF-8. Rename it.") from error
    folder = kind == b"5" or (kind == b"\0" and name.endswith("/"))  # the latter is V7's way
    if kind in (b"0", b"\0", b"5") and not (folder and body):
        return name, None if folder else body
    what = _KINDS.get(kind, "neither file nor folder")
    raise InvalidSubmission(f"{name[:80]!r} is {what}. A snapshot holds files only.", path=name[:200])


def _pax_path(body: bytes, *, of_all: bool) -> bytes | None:
    """The path that an extended header states; times and owners do not matter, and nothing else may be stated there."""
    path, at = None, 0
    while at < len(body):
        digits = body[at : at + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = body[at + len(digits) + 1 : at + length].partition(b"=")
        if length <= len(digits) or at + length > len(body) or not equals or not value.endswith(b"\n"):
            raise InvalidSubmission("The archive is damaged (an extended header). Pack it anew.")
        if key in (b"size", b"linkpath", b"hdrcharset") or key.startswith(b"GNU.sparse") or (key == b"path" and of_all):
            raise InvalidSubmission(f"The archive states {key[:40]!r} in an extended header. Pack plain files anew.")
        path = value[:-1] if key == b"path" else path
        at += length
    return path


# --- zip -----------------------------------------------------------------------------------------------------------------

_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _UTF8, _LINK_OF_WINDOWS = 0x2041, 0x800, 0x400


def zip_members(data: bytes, limit: int) -> Iterator[Member]:
    """The files and folders of a zip, by its directory, of at most `limit` bytes; each must lie where the directory says, and
    under the same name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries, comment = archive.infolist(), archive.comment
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, OSError) as error:
        raise InvalidSubmission(f"The archive is damaged ({error}). Pack it anew.") from error
    if comment or data[-22:-18] != b"PK\5\6":
        raise InvalidSubmission("The archive has a comment, or other data follow it. Pack it anew.")
    if entries and min(e.header_offset for e in entries) != 0:
        raise InvalidSubmission("Other data precede the archive. Pack it anew.")
    left, end = limit, 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            raise InvalidSubmission("Members of the archive overlap. Pack it anew.")
        name, content, end = _zip_member(data, entry, left)
        left -= len(content)
        yield name, None if name.endswith("/") else content


def _zip_member(data: bytes, entry: zipfile.ZipInfo, left: int) -> tuple[str, bytes, int]:
    """(name, content, where its bytes end)."""
    name, mode = entry.orig_filename, S_IFMT(entry.external_attr >> 16)
    wanted = S_IFDIR if name.endswith("/") else S_IFREG
    if mode not in (0, wanted) or entry.external_attr & _LINK_OF_WINDOWS:
        raise InvalidSubmission(f"{name[:80]!r} is a link or a device. A snapshot holds files only.", path=name[:200])
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidSubmission(f"{name[:80]!r} is encrypted or packed in an unusual way. Pack it anew.", path=name[:200])
    raw, start = _zip_local(data, entry)
    if not (name.isascii() or entry.flag_bits & _UTF8) or raw != name.encode():
        raise InvalidSubmission(f"The archive names {name[:80]!r} in two ways, or not in UTF-8. Pack it anew.", path=name[:200])
    packed = data[start : start + entry.compress_size]
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    content = inflated(packed, -zlib.MAX_WBITS, left) if deflated else packed
    stated = (entry.compress_size, entry.file_size, entry.CRC)
    if stated != (len(packed), len(content), zlib.crc32(content)) or (name.endswith("/") and content) or len(content) > left:
        raise InvalidSubmission(f"{name[:80]!r} is not what the archive states. Pack it anew.", path=name[:200])
    return name, content, start + entry.compress_size


def _zip_local(data: bytes, entry: zipfile.ZipInfo) -> tuple[bytes, int]:
    """(raw name, where the packed bytes start), by the header before a member."""
    header = data[entry.header_offset : entry.header_offset + _LOCAL.size]
    if len(header) != _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise InvalidSubmission("The archive is damaged (a member's header). Pack it anew.")
    *_, name_bytes, extra_bytes = _LOCAL.unpack(header)
    at = entry.header_offset + _LOCAL.size
    return data[at : at + name_bytes], at + name_bytes + extra_bytes
