"""What a program may read of a campaign's ledger, as plain rows: one function a table.

A row holds what was released and no exact score: a score's column names its kind, `reported_`,
`certified_` or `confirmed_`. Texts are as researchers wrote them: escape them before you show them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from aarlab.core.entries import CodeBody, ConfirmationBody, ReadBody, SpendBody, SubmissionBody
from aarlab.core.records import Diagnostics, Entry, Receipt, Released
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.web import shown_score

Row = dict[str, Any]
_FINDING = ("kind", "title", "text", "family", "receipts", "snapshot", "parent")
_CALL = (
    *("model", "input_tokens", "cache_write_tokens", "cache_read_tokens", "output_tokens"),
    "interrupted",
)


def submissions(ledger: Ledger) -> Iterator[Row]:
    """One row a submission: what was reported of it."""
    for entry in ledger.each("submission"):
        receipt = entry.read(SubmissionBody).receipt
        yield _placed(entry, "receipt", receipt.id) | {
            "family": receipt.family,
            "snapshot": receipt.snapshot,
            "improved": receipt.improved,
            "repeated": receipt.repeated,
            "reported_level_pgr": receipt.level_pgr,
            "reported_level_accuracy": receipt.level_accuracy,
            "certified_pgr": receipt.certified_pgr,
            "certified_accuracy": receipt.certified_accuracy,
            "released_bits": receipt.released.bits,
        }


def receipts(ledger: Ledger) -> Iterator[Row]:
    """Each receipt whole, as its submitter got it; what lies inside others is named
    `released.bits`."""
    for entry in ledger.each("submission"):
        receipt = entry.read(SubmissionBody).receipt.model_dump(mode="json")
        yield _placed(entry, "id", receipt.pop("id")) | _flat(receipt)


def findings(ledger: Ledger) -> Iterator[Row]:
    """One row a post of the forum, in its author's words."""
    for entry in ledger.each("finding"):
        body = entry.body
        row = _placed(entry, "id", f"f-{entry.seq:06d}")
        yield row | {name: body.get(name) for name in _FINDING}


def reads(ledger: Ledger) -> Iterator[Row]:
    """One row for each finding that a researcher was sent whole for the first time (`opened`, or
    `listed` with others), and for code that it downloaded. Ledgers of versions that did not record
    it have no row."""
    for entry in ledger.each("read"):
        body = entry.read(ReadBody)
        for what in body.what:
            named = (None, what) if body.how == "downloaded" else (what, None)
            row = dict(zip(("finding", "snapshot"), named, strict=True))
            yield _placed(entry) | {"how": body.how} | row


def spends(ledger: Ledger) -> Iterator[Row]:
    """One row a spend, of the machine or of a model; a price that is not known is None."""
    for entry in ledger.each("spend"):
        body = entry.read(SpendBody)
        call = body.call.model_dump() if body.call else {}
        seconds = {"wall_s": body.wall_s, "cpu_s": body.cpu_s if body.measured else None}
        yield _placed(entry) | seconds | {"usd": body.usd} | {n: call.get(n) for n in _CALL}


def confirmations(ledger: Ledger) -> Iterator[Row]:
    """One row a confirmation: the verdict, and the score on final as it was released. The interval
    holds all values that are rounded to it."""
    for entry in ledger.each("confirmation"):
        body = entry.read(ConfirmationBody)
        score = shown_score.confirmed(body) or {}
        yield _placed(entry) | {
            "researcher": body.researcher,
            "snapshot": body.snapshot,
            "receipt": body.record.get("claim", {}).get("receipt"),
            "verdict": body.verdict,
            "confirmed_accuracy": score.get("value"),
            "confirmed_accuracy_lower": score.get("lower"),
            "confirmed_accuracy_upper": score.get("upper"),
            "flags": list(body.told_flags or body.record.get("flags", ())),
        }


def experiments(ledger: Ledger) -> Iterator[Row]:
    """One row for each code that a researcher committed: what was submitted with it, and what
    became of that."""
    submitted: defaultdict[tuple[str, str], list[Receipt]] = defaultdict(list)
    for entry in ledger.each("submission"):
        receipt = entry.read(SubmissionBody).receipt
        submitted[entry.who, receipt.snapshot].append(receipt)
    settled = {(row["researcher"], row["snapshot"]): row for row in confirmations(ledger)}
    seen: set[tuple[str, str]] = set()
    for entry in ledger.each("code"):
        body = entry.read(CodeBody)
        whose = entry.who, body.snapshot
        if whose not in seen:
            seen.add(whose)
            code = {"snapshot": body.snapshot, "family": body.family, "bytes": body.bytes}
            became = _outcome(submitted[whose]) | _verdict(settled.get(whose))
            yield _placed(entry) | code | became


def _outcome(found: list[Receipt]) -> Row:
    improved = [receipt for receipt in found if receipt.improved]
    best = max(improved, key=lambda receipt: receipt.level_pgr, default=None)
    return {
        "submissions": len(found),
        "improvements": len(improved),
        "receipt": best.id if best else found[0].id if found else None,
        "reported_level_pgr": best and best.level_pgr,
    }


def _verdict(settled: Row | None) -> Row:
    names = ("verdict", "confirmed_accuracy")
    return {name: settled and settled[name] for name in names}


def _placed(entry: Entry, name: str = "", value: str = "") -> Row:
    """Where it stands in the ledger, when and by whom; with its own name, if it has one."""
    row = {name: value} if name else {}
    return row | {"entry": entry.seq, "at": entry.at, "researcher": entry.who}


def _flat(record: Row, before: str = "") -> Row:
    found: Row = {}
    for name, value in record.items():
        here = f"{before}{name}"
        found |= _flat(value, f"{here}.") if isinstance(value, dict) else {here: value}
    return found


TABLES: dict[str, Callable[[Ledger], Iterator[Row]]] = {
    "submissions": submissions,
    "receipts": receipts,
    "experiments": experiments,
    "findings": findings,
    "reads": reads,
    "spends": spends,
    "confirmations": confirmations,
}

_PLACE = ("entry", "at", "researcher")
_RELEASED = tuple(f"released.{name}" for name in Released.model_fields)
# excluded: what old ledgers alone have
_DIAGNOSTICS = tuple(
    f"diagnostics.{name}" for name, field in Diagnostics.model_fields.items() if not field.exclude
)
_INSIDE = {"released": _RELEASED, "diagnostics": _DIAGNOSTICS}
_RECEIPT = tuple(n for field in Receipt.model_fields for n in _INSIDE.get(field, (field,)))
COLUMNS: dict[str, tuple[str, ...]] = {  # also of a table that has no row yet
    "submissions": (
        *("receipt", *_PLACE, "family", "snapshot", "improved", "repeated"),
        *("reported_level_pgr", "reported_level_accuracy", "certified_pgr", "certified_accuracy"),
        "released_bits",
    ),
    "receipts": ("id", *_PLACE, *_RECEIPT[1:]),
    "experiments": (
        *(*_PLACE, "snapshot", "family", "bytes", "submissions", "improvements", "receipt"),
        *("reported_level_pgr", "verdict", "confirmed_accuracy"),
    ),
    "findings": ("id", *_PLACE, *_FINDING),
    "reads": (*_PLACE, "how", "finding", "snapshot"),
    "spends": (*_PLACE, "wall_s", "cpu_s", "usd", *_CALL),
    "confirmations": (
        *(*_PLACE, "snapshot", "receipt", "verdict"),
        *("confirmed_accuracy", "confirmed_accuracy_lower", "confirmed_accuracy_upper", "flags"),
    ),
}
