"""Archives for tests: honest ones by tarfile and zipfile, others byte by byte."""

import io
import tarfile
import warnings
import zipfile

FILES = {"method.py": "def run(task, seed): ...\n", "lib/été.py": "x = 'ü'\r\n", "lib/deep/er/empty.txt": ""}


def tar(files, format=tarfile.PAX_FORMAT, *, change=None) -> bytes:
    """A tar of {name: text or bytes}; `change` may alter each header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, text in files.items():
            data = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change:
                change(info)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files, *, compression=zipfile.ZIP_DEFLATED, change=None) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of duplicate names, which are what is tested
        for name, text in files.items() if isinstance(files, dict) else files:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            if change:
                change(info)
            archive.writestr(info, text)
    return out.getvalue()


def header(name: bytes, kind: bytes = b"0", size: int = 0, *, magic=b"ustar\x0000", size_field: bytes | None = None) -> bytes:
    """One raw tar header with a right checksum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size_field or b"%011o\0" % size
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def raw_tar(*members: tuple[bytes, bytes, bytes]) -> bytes:
    """A tar of (name, kind, body), byte by byte."""
    blocks = [header(name, kind, len(body)) + body + bytes(-len(body) % 512) for name, kind, body in members]
    return b"".join(blocks) + bytes(1024)


def pax(**records: str) -> bytes:
    """The body of an extended header."""
    lines = b""
    for key, value in records.items():
        rest = b" " + key.replace("_", ".").encode() + b"=" + value.encode() + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        lines += str(length).encode() + rest
    return lines
