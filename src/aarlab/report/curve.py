"""The fleet's reported level over time, for the report: what receipts said, and no exact score."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from aarlab.core.entries import SubmissionBody, read_all
from aarlab.core.records import Entry, Measure
from aarlab.fleet.progress import AFTERWARDS
from aarlab.report.curve_record import Curve, CurvePoint
from aarlab.report.report_record import count

MOST = 400  # points; every change of the reported level is one of them


def curve_of(entries: Sequence[Entry]) -> Curve | None:
    """Of a campaign's entries; None if nothing was submitted."""
    submissions = [entry for entry in entries if entry.kind == "submission"]
    if not submissions:
        return None
    began_s = _seconds(entries[0])
    worked_s = max(_seconds(entry) for entry in entries if entry.kind not in AFTERWARDS)
    points = tuple(_points(submissions, began_s))
    return Curve(hours=_hours(worked_s - began_s), points=points)


def _points(submissions: Sequence[Entry], began_s: float) -> Iterator[CurvePoint]:
    """The first, the last, each at which the level rises, and of the others as many as there is
    room for."""
    every, level, said = -(-len(submissions) // MOST), None, None
    for number, (entry, body) in enumerate(read_all(submissions, SubmissionBody), start=1):
        receipt, before = body.receipt, level
        # a receipt from memory says where the level was when it was first given
        level = receipt.level_pgr if before is None else max(before, receipt.level_pgr)
        now = level, receipt.certified_pgr
        kept = level != before or number % every == 0 or number == len(submissions)
        if kept and now != said:
            said, certified = now, receipt.certified_pgr
            yield CurvePoint(
                receipt=receipt.id,
                hours=_hours(_seconds(entry) - began_s),
                level_pgr=count(level, n=1),
                certified_pgr=None if certified is None else count(certified, n=1),
            )


def _hours(seconds: float) -> Measure:
    return count(round(seconds / 3600, 6), n=1)


def _seconds(entry: Entry) -> float:
    return datetime.fromisoformat(entry.at).timestamp()
