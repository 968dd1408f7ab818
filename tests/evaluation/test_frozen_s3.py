"""An S3 server that is frozen (SIGSTOP): an upload is given up in time and says whose move it is,
one that is frozen for a moment is waited for, and nothing is lost when it goes on."""

import hashlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from aarlab.core.errors import Transient
from aarlab.evaluation.ledger.s3_blobs import WITHIN, S3Blobs

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(180)]


@contextmanager
def frozen(server):
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_who_uploads_to_a_frozen_s3_is_answered_and_loses_nothing(s3):
    store = S3Blobs(s3.url("frozen"))
    before = store.put(b"before")
    with frozen(s3):
        began = time.monotonic()
        with pytest.raises(Transient, match="Not recorded.*The operator must bring it back"):
            store.put(b"meanwhile")
        with pytest.raises(Transient, match="cannot be read now. The operator must bring it back"):
            store.get(before)
        took = time.monotonic() - began
    print(f"both were answered after {took:.0f} s")
    assert took < 4 * WITHIN.total_seconds()
    name = store.put(b"meanwhile")
    assert name == hashlib.sha256(b"meanwhile").hexdigest()
    assert (store.get(name), store.get(before)) == (b"meanwhile", b"before")


def test_an_upload_waits_for_an_s3_that_is_frozen_for_a_moment(s3):
    store = S3Blobs(s3.url("moment"))
    with ThreadPoolExecutor(1) as pool:
        with frozen(s3):
            upload = pool.submit(store.put, b"x" * (1 << 20))
            with pytest.raises(TimeoutError):
                upload.result(2)
        assert store.get(upload.result(60)) == b"x" * (1 << 20)
