"""The builds of aarlab that made the parts of a report, and notes where compared parts have
different builds."""

from collections.abc import Iterator, Sequence

from aarlab.core.entries import EventBody
from aarlab.core.own_code import Build, kept_code, this_build
from aarlab.core.records import Entry
from aarlab.evaluation.confirmation.confirmation_record import ConfirmationRecord
from aarlab.evaluation.evaluator import Evaluator
from aarlab.fleet.measure_baselines import made_by
from aarlab.report.ranked_claims import latest_records
from aarlab.report.report_record import CodeRow
from aarlab.testbeds.testbed import Testbed

REDO = "To make both with the same code, use `aar run` with a new campaign name"


def code_rows(testbed: Testbed, entries: Sequence[Entry]) -> tuple[CodeRow, ...]:
    """Builds of the report, the testbed, the baselines, the confirmations, and each server that
    differs from the last."""
    made = [("testbed and anchors", testbed.build), ("baselines", made_by(testbed)[1])]
    return (_row("this report", this_build()), *(_row(*one) for one in made), *_later(entries))


def folder_code_rows(entries: Sequence[Entry]) -> tuple[CodeRow, ...]:
    """As `code_rows`, of a problem in a folder, whose set-up records no build."""
    return (_row("this report", this_build()), *_later(entries))


def _later(entries: Sequence[Entry]) -> Iterator[CodeRow]:
    """Of servers and confirmations."""
    before: Build | None = None
    for entry in entries:
        build = entry.read(EventBody).build if entry.kind == "campaign" else None
        if build is not None:
            if build != before:
                yield _row(f"server from {entry.at}", build)
            before = build
    for record, _ in latest_records(entries):
        yield _row(f"confirmation of {record.snapshot[:12]}", record.build)


def code_notes(testbed: Testbed, evaluator: Evaluator, entries: Sequence[Entry]) -> tuple[str, ...]:
    """A sentence for each two figures of the report that stand side by side and that other code
    made."""
    code, notes = made_by(testbed)[0], []
    if code is None:
        return ("The baselines were run by an older version, which did not record its code.",)
    if why := code.apart(testbed.code):
        notes.append(
            "The testbed and its anchors, and the baselines, were made by different code "
            f"({why}). {REDO}."
        )
    for record, _ in latest_records(entries):
        found = {
            code.apart(kept_code(evaluator.folder, source) if source else None)
            for source in _sources(record)
        }
        if why := "; ".join(sorted(found - {""})):
            notes.append(
                f"The confirmation of {record.snapshot[:12]} and the baselines were run by "
                f"different code ({why}). {REDO}."
            )
    return tuple(notes)


def _sources(record: ConfirmationRecord) -> list[str]:
    """The source digests of all runs of a confirmation."""
    return sorted({target.source for target in record.targets})


def _row(what: str, build: Build | None) -> CodeRow:
    if build is None:
        return CodeRow(what=what, version=None, commit=None, source=None)
    return CodeRow(what=what, **build.model_dump())
