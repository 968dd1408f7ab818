"""The finished campaign that version 0.1.0 wrote; see `test_old_state`."""

import io
import lzma
import tarfile
from functools import cache
from pathlib import Path

ARCHIVE = Path(__file__).with_name("campaign-0.1.0.tar.xz")


@cache
def _tar() -> bytes:
    return lzma.decompress(ARCHIVE.read_bytes())


def unpack(folder: Path) -> None:
    """Write all its files below `folder`."""
    with tarfile.open(fileobj=io.BytesIO(_tar())) as archive:
        archive.extractall(folder, filter="data")
