"""Brings what the journal holds into the ledger: a row is sent until it is known to have arrived,
and counts once by its id."""

import time

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.gateway.journal import Journal

BATCH = 100  # rows at once: who posts has more to do
ANSWER_S = 5.0  # for one row
# after a server that did not answer, it is left alone for so many times as long as it took
POST_SHARE = 10.0


def post(journal: Journal, evaluator: EvaluatorProcess) -> bool:
    """Send the oldest of what waits; False if the server does not take it now. A row that it
    refuses for what is in it is kept as refused, and those behind it go on.

    Raises:
        Transient: the journal cannot be used now.
    """
    sent, refused = [], []
    try:
        for row in journal.unposted(BATCH):
            body = {"kind": row.kind, "who": row.who, "id": row.id, "body": row.body}
            try:
                evaluator.call("add_entry", body, timeout_s=ANSWER_S)
                sent.append(row.id)
            except InvalidSubmission:
                refused.append(row.id)
    except AarError:  # the server's or its operator's: the row waits
        return False
    finally:
        journal.posted(sent)
        journal.posted(refused, refused=True)
    return True


def post_all(journal: Journal, evaluator: EvaluatorProcess, *, within_s: float) -> bool:
    """As `post`, waiting for a server that is being started; False if it did not come back in time.
    What is left waits for the next run."""
    until = time.monotonic() + within_s
    while journal.unposted(1):
        if time.monotonic() > until:
            return False
        if not post(journal, evaluator):
            evaluator.revive()
            time.sleep(0.2)
    return True


class Posting:
    """Some rows at each step. A server that hangs costs the caller a tenth of its time at most."""

    def __init__(self, journal: Journal, evaluator: EvaluatorProcess) -> None:
        self._journal, self._evaluator, self._not_before = journal, evaluator, 0.0
        self.heard = True  # the server took the latest rows

    def step(self) -> None:
        """As `post`, if it is time."""
        began = time.monotonic()
        if began < self._not_before:
            return
        self.heard = post(self._journal, self._evaluator)
        if not self.heard:
            self._not_before = (now := time.monotonic()) + POST_SHARE * (now - began)
