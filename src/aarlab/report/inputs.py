"""Which files of the testbed a report was made from, so that one that changed since is named."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from pathlib import Path

from aarlab.core.layout import PreparedFolder, ServerFolder, TestbedFolder
from aarlab.evaluation.evaluator import Evaluator
from aarlab.report.report_record import InputRow
from aarlab.testbeds.testbed import Testbed


def input_rows(testbed: Testbed, evaluator: Evaluator) -> tuple[InputRow, ...]:
    """One row a file that figures are computed from, beside the ledger and what its entries name;
    () where the campaign has no secret any more."""
    found = (
        *(testbed.answers, testbed.items, testbed.groups, testbed.anchors),
        *(testbed.stated_anchors, testbed.baselines, testbed.naive_tuned),
    )
    return _rows(testbed.root, found, evaluator)


def folder_inputs(served: Path, evaluator: Evaluator) -> tuple[InputRow, ...]:
    """As `input_rows`, of a problem in a folder: the scale, the scores of its baselines, and the
    grader's secrets, a row for all of a split."""
    made, data = TestbedFolder(served), PreparedFolder(served)
    found = (made.served, made.baseline_scores, *map(data.secrets, ("feedback", "final")))
    return _rows(served, found, evaluator)


def _rows(root: Path, found: Iterable[Path], evaluator: Evaluator) -> tuple[InputRow, ...]:
    key = ServerFolder(evaluator.folder).secret
    if not key.exists():
        return ()
    secret = key.read_bytes()
    return tuple(
        InputRow(what=path.relative_to(root).as_posix(), mac=_mac(path, secret))
        for path in found
        if path.exists()
    )


def _mac(path: Path, secret: bytes) -> str:
    """Of a file, or of all files below a folder by their paths."""
    if not path.is_dir():
        return hmac.digest(secret, path.read_bytes(), hashlib.sha256).hex()
    whole = hmac.new(secret, digestmod=hashlib.sha256)
    for line in _files(path):
        whole.update(line)
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[bytes]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        yield f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data
