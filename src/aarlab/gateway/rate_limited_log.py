"""A log that whoever is logged about cannot fill: the same words are written once in a while, with
how often they came."""

import logging
import time

EVERY_S = 10.0
MOST = 256  # different words that are remembered


class RepeatFilter(logging.Filter):
    """Lets through one record with the same words in `EVERY_S` seconds, and says in it how many
    were left out before."""

    def __init__(self) -> None:
        super().__init__()
        # words -> when last written, how many were left out since
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        words, now = record.getMessage(), time.monotonic()
        at, left_out = self._said.get(words, (now - EVERY_S, 0))
        if now - at < EVERY_S:
            self._said[words] = at, left_out + 1
            return False
        if len(self._said) >= MOST:
            self._said.clear()
        self._said[words] = now, 0
        if left_out:
            record.msg, record.args = f"{words} ({left_out:,} more like it were left out)", ()
        return True
