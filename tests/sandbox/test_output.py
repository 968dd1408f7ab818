"""What a chatterer prints is kept from its beginning up to a limit, and from its end."""

import io
import os

from aarlab.sandbox.output import END_BYTES, copy_capped


def test_what_fits_is_kept_as_it_is(tmp_path):
    copy_capped(io.BytesIO(b"one\ntwo\n"), tmp_path / "log", cap=100)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_of_what_does_not_fit_the_end_is_kept(tmp_path):
    said = os.urandom(3 * END_BYTES) + b"the last words"
    copy_capped(io.BytesIO(said), tmp_path / "log", cap=1000)
    found = (tmp_path / "log").read_bytes()
    assert found == said[:1000] + b"\n" + said[-END_BYTES:]


def test_a_log_that_is_full_says_that_something_was_written(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10)
    os.utime(log, (0, 0))
    copy_capped(io.BytesIO(b"more"), log, cap=10)
    assert log.stat().st_mtime > 0
    assert log.read_bytes() == b"x" * 10 + b"\nmore"
