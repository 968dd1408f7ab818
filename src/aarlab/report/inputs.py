"""Which files of the testbed a report was made from, so that one that changed since is named."""

import hashlib
import hmac

from aarlab.core.layout import ServerFolder
from aarlab.evaluation.evaluator import Evaluator
from aarlab.report.report_record import InputRow
from aarlab.testbeds.testbed import Testbed


def input_rows(testbed: Testbed, evaluator: Evaluator) -> tuple[InputRow, ...]:
    """One row a file that figures are computed from, beside the ledger and what its entries name;
    () where the campaign has no secret any more."""
    key = ServerFolder(evaluator.folder).secret
    if not key.exists():
        return ()
    secret = key.read_bytes()
    found = (
        *(testbed.answers, testbed.items, testbed.groups, testbed.anchors),
        *(testbed.stated_anchors, testbed.baselines, testbed.naive_tuned),
    )
    return tuple(
        InputRow(
            what=str(path.relative_to(testbed.root)),
            mac=hmac.digest(secret, path.read_bytes(), hashlib.sha256).hex(),
        )
        for path in found
        if path.exists()
    )
