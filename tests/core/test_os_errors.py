"""An error of the system is one sentence with the path and the remedy."""

import errno
import os
import sqlite3

import pytest

from aarlab.core import files
from aarlab.core.files import require_writable, write_whole
from aarlab.core.os_errors import as_misconfigured, exits_with_message


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "Free some disk"), (errno.EROFS, "Set AAR_HOME"), (99, "")]
)
def test_the_path_and_what_to_do_are_said(number, words):
    said = str(as_misconfigured(OSError(number, os.strerror(number), "/some/file")))
    assert said.startswith(f"/some/file: {os.strerror(number)}. {words}")
    assert str(as_misconfigured(OSError(number, os.strerror(number)))).count("(state): ") == 1


def test_a_service_ends_with_the_sentence_alone():
    for error in (OSError(errno.ENOSPC, "full", "x"), sqlite3.OperationalError("locked")):
        with (
            pytest.raises(SystemExit, match="x: full|cannot be used: locked"),
            exits_with_message(),
        ):
            raise error


def test_a_full_disk_names_the_file_that_was_written(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="full") as caught:
        write_whole(tmp_path / "a", "x")
    assert caught.value.filename == str(tmp_path / "a")


def test_a_folder_is_tried_by_writing_and_nothing_is_left(tmp_path):
    (tmp_path / "runs").mkdir()
    require_writable(tmp_path)
    require_writable(tmp_path / "new" / "deep")
    assert [p.name for p in tmp_path.rglob("*")] == ["runs"]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            require_writable(path)
