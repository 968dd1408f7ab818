"""Device time of the operator's own runs after a fleet has ended (confirmations, and what was not
charged before): from the workers' counts into the ledger, by whoever holds it open."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aarlab.core.errors import InvalidSubmission
from aarlab.core.operator_records import NewEntry
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.ledger.views import Rows
from aarlab.fleet.campaign import Campaign
from aarlab.fleet.device_hours import DeviceHours
from aarlab.fleet.launch import open_journal
from aarlab.gateway.journal_rows import JournalRow

BATCH = 1_000
_ENTRY: TypeAdapter[NewEntry] = TypeAdapter(NewEntry)


def charge_operator(campaign: Campaign, folder: Path, evaluator: Evaluator) -> None:
    """Charge what was counted, and add what waits for the ledger; each row counts once."""
    rows = evaluator.view("rows", Rows(evaluator.ledger))
    with open_journal(folder) as journal:
        DeviceHours(campaign, folder, journal).recover()
        journal.release()
        while waiting := journal.unposted(BATCH):
            for row in waiting:
                journal.posted([row.id], refused=not _added(rows, row))


def _added(rows: Rows, row: JournalRow) -> bool:
    """False where the ledger refuses it for what is in it: it stays in the journal."""
    said = {"kind": row.kind, "who": row.who, "id": row.id, "body": row.body}
    try:
        new = _ENTRY.validate_python(said)
        body = new.body.model_dump(mode="json", exclude_unset=True)
        rows.append(new.kind, new.who, body, new.id)
    except (ValidationError, InvalidSubmission):
        return False
    return True
