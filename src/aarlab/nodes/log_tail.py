"""The bytes of a log that is put aside in parts (`sandbox.output`), in order, as they come."""

from pathlib import Path
from typing import BinaryIO

from aarlab.sandbox.output import aside, put_aside


class LogTail:
    """Reads on from where it was. What was dropped between two parts is left out."""

    def __init__(self, path: Path) -> None:
        self._path, self._part, self._offset = path, 0, 0

    def read(self, most: int) -> bytes:
        """The next bytes, at most so many; none where nothing was written since."""
        while True:
            try:
                with self._path.open("rb") as latest:  # stays what it is, if it is put aside now
                    before = [n for n in put_aside(self._path) if n > self._part]
                    if not before:
                        return self._read(latest, most)
            except FileNotFoundError:
                return b""
            if before[0] > self._part + 1:
                self._part, self._offset = before[0] - 1, 0
            try:
                with aside(self._path, before[0]).open("rb") as file:
                    if data := self._read(file, most):
                        return data
            except FileNotFoundError:  # dropped just now
                pass
            self._part, self._offset = before[0], 0

    def _read(self, file: BinaryIO, most: int) -> bytes:
        file.seek(self._offset)
        data = file.read(most)
        self._offset += len(data)
        return data
