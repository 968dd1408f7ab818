"""Brings what the journal holds into the ledger: a row is sent until it is known to have arrived, and counts once by its id."""

import time
from collections.abc import Callable

from aarlab.core.errors import Transient
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.gateway.journal import Journal

BATCH = 100


def post(journal: Journal, evaluator: EvaluatorProcess) -> bool:
    """Send what waits, oldest first; False if the server does not answer now."""
    while rows := journal.unposted(BATCH):
        sent = []
        try:
            for row in rows:
                evaluator.call("POST", "/entries", {"kind": row.kind, "who": row.who, "id": row.id, "body": row.body})
                sent.append(row.id)
        except Transient:
            return False
        finally:
            if sent:
                journal.posted(sent)
    return True


def post_all(
    journal: Journal, evaluator: EvaluatorProcess, *, within_s: float, pause: Callable[[float], None] = time.sleep
) -> bool:
    """As `post`, waiting for a server that is being started; False if it did not come back in time. What is left waits for
    the next run."""
    until = time.monotonic() + within_s
    while not post(journal, evaluator):
        if time.monotonic() > until:
            return False
        evaluator.revive()
        pause(0.2)
    return True
