"""Is a campaign's record what it was when it was told? From files alone, by somebody who trusts a public key and nothing else.

Chain and Merkle roots find a row that was changed, dropped, inserted or moved. Beyond them: every stored answer still has its
hash and is graded again, every receipt that is cited was given before, every confirmation is signed, and the label set's meter
(a store of its own) knows of no answer that the ledger has lost.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.errors import AarError, InvalidSubmission, Misconfigured
from aarlab.core.records import Record
from aarlab.evaluation.answers import load_answers
from aarlab.evaluation.chain import Row, canonical, walk
from aarlab.evaluation.checkpoints import Checkpoint, Key, notes, opened, read
from aarlab.evaluation.confirmation_record import record_path
from aarlab.evaluation.merkle import Tree, includes, leaf_hash
from aarlab.evaluation.packed import question_of, unpack
from aarlab.evaluation.signed import verify_record


class Audit(Record):
    """What was looked at, and what is wrong. Nothing wrong: `faults` is empty."""

    entries: int
    checkpoints: int
    covered: int  # entries that the newest fitting checkpoint covers; later ones rest on the chain alone
    graded: int  # submissions graded again from their stored answers; 0 without the hidden labels
    confirmations: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """Where a campaign keeps its record, and its problem the meter."""

    campaign: Path
    problem: Path | None = None

    @property
    def database(self) -> Path:
        return self.campaign / "server" / "ledger.sqlite"

    @property
    def checkpoints(self) -> Path:
        return self.campaign / "checkpoints" / "checkpoints.txt"

    @property
    def key(self) -> Path:
        return self.campaign / "checkpoints" / "key.pub"

    @property
    def meter(self) -> Path | None:
        return None if self.problem is None else self.problem / "private" / "meter" / "feedback.sqlite"


def load_key(path: Path) -> Key:
    """The public key in a file.

    Raises:
        Misconfigured: there is none.
    """
    try:
        return Key.parse(path.read_text())
    except OSError as error:
        raise Misconfigured(
            f"Cannot read the public key {path} ({error.strerror}). Give --key, or the campaign's folder."
        ) from error


def audit(files: Files, key: Key, witnesses: Sequence[Path] = ()) -> Audit:
    """Look at everything; `witnesses` are older copies of checkpoints.txt, which a history that was signed anew does not fit.

    Raises:
        Misconfigured: there is no ledger to look at.
    """
    rows = _rows(files.database)
    tree, broken = walk(rows)
    faults = [str(broken)] if broken else []
    signed, unfit = _checkpoints(files, key, witnesses, tree)
    faults += unfit
    whole = [(row, _body(row)) for row in rows[: tree.size]]
    faults += [*_names(files, whole), *_citations(whole), *_confirmations(files, whole)]
    graded = 0
    if files.problem is not None:
        graded, wrong = _graded(files, whole)
        faults += [*wrong, *_metered(files, whole)]
    return Audit(
        entries=len(rows),
        checkpoints=len(signed),
        covered=max((c.size for c in signed if _fits(c, tree)), default=0),
        graded=graded,
        confirmations=sum(row.kind == "confirmation" for row, _ in whole),
        faults=tuple(faults),
    )


Whole = Sequence[tuple[Row, dict[str, Any]]]


def _rows(database: Path) -> list[Row]:
    if not database.exists():
        raise Misconfigured(f"There is no ledger {database}. Give the folder of a campaign.")
    try:
        with closing(_opened(database)) as connection:
            return [
                Row(*row) for row in connection.execute("SELECT seq, at, who, kind, body, prev, hash FROM entries ORDER BY seq")
            ]
    except sqlite3.DatabaseError as error:
        raise Misconfigured(f"{database} is no ledger that can be read ({error}). Restore a copy.") from error


def _opened(database: Path) -> sqlite3.Connection:
    """To read only. What is no text any more must be found, not stumbled over."""
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


def _body(row: Row) -> dict[str, Any]:
    """Its hash is right, so it is as it was written, and that was JSON."""
    return json.loads(row.body)


def _fits(checkpoint: Checkpoint, tree: Tree) -> bool:
    return checkpoint.size <= tree.size and tree.root(checkpoint.size) == checkpoint.root


def _checkpoints(files: Files, key: Key, witnesses: Sequence[Path], tree: Tree) -> tuple[list[Checkpoint], list[str]]:
    signed, faults = [], []
    for path in (files.checkpoints, *witnesses):
        try:
            found = read(path, key)
        except OSError as error:
            faults.append(f"{path} cannot be read ({error.strerror}): nothing shows that the ledger's end was not cut off.")
            continue
        except Misconfigured as error:
            faults.append(str(error))
            continue
        signed += found
        faults += [
            f"The ledger does not begin with the {c.size} entries that {path} was signed for: it was rewritten or cut off."
            for c in found
            if not _fits(c, tree)
        ]
    return signed, faults


def _stored(files: Files) -> Iterator[tuple[str, bytes]]:
    with closing(_opened(files.database)) as connection:
        yield from connection.execute("SELECT hash, CAST(data AS BLOB) FROM blobs")


def _names(files: Files, whole: Whole) -> Iterator[str]:
    """What entries name by hash is there and has that hash."""
    here = set()
    for name, data in _stored(files):
        here.add(name)
        if hashlib.sha256(data).hexdigest() != name:
            yield f"The stored answers {name} were changed."
    for row, body in whole:
        if row.kind == "submission" and body["predictions"] not in here:
            yield f"Entry {row.seq}: its stored answers are gone."
        if row.kind == "code":
            path = files.campaign / "server" / "blobs" / body["snapshot"]
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != body["snapshot"]:
                yield f"Entry {row.seq}: the snapshot {body['snapshot']} is gone or was changed."


def _citations(whole: Whole) -> Iterator[str]:
    """A receipt is given once, and cited only afterwards."""
    given: dict[str, int] = {}
    for row, body in whole:
        if row.kind == "submission":
            receipt = body["receipt"]["id"]
            if receipt in given:
                yield f"Entry {row.seq}: the receipt {receipt} was given before, in entry {given[receipt]}."
            given.setdefault(receipt, row.seq)
        cited = body.get("receipts", ()) if row.kind in {"finding", "flag"} else ()
        cited = (body["record"]["claim"]["receipt"],) if row.kind == "confirmation" else cited
        for receipt in cited:
            if receipt not in given:
                yield f"Entry {row.seq} cites the receipt {receipt}, which was not given before."


def _confirmations(files: Files, whole: Whole) -> Iterator[str]:
    """The latest record of a snapshot lies outside the ledger, too, signed."""
    folder = files.campaign / "confirmations"
    for snapshot, body in {b["snapshot"]: b for r, b in whole if r.kind == "confirmation"}.items():
        try:
            if verify_record(record_path(folder, snapshot), folder / "key.pub") != body["record"]:
                yield f"The signed record of {snapshot[:12]} is not what the ledger holds."
        except (AarError, OSError) as error:
            yield f"The confirmation of {snapshot[:12]} cannot be verified: {error}"


def _graded(files: Files, whole: Whole) -> tuple[int, list[str]]:
    """Grade every submission again."""
    assert files.problem is not None
    answers = load_answers(files.problem)["feedback"]
    truth_M = np.array([answers[i] == 1 for i in sorted(answers)])
    exact = {row.seq: (body["predictions"], body["exact_accuracy"]) for row, body in whole if row.kind == "submission"}
    blobs, wrong = dict(_stored(files)), []
    for seq, (name, accuracy) in exact.items():
        if name in blobs and float((unpack(blobs[name]).answers_SM == truth_M).mean()) != accuracy:
            wrong.append(f"Entry {seq}: its stored answers do not score what it says, by the hidden labels as they are now.")
    return len(exact), wrong


def _metered(files: Files, whole: Whole) -> Iterator[str]:
    """Ledger and meter tell the same story. An answer that only the meter has was cut from the ledger, or the process ended
    before it was told; then the next start of the evaluator has put it on record."""
    if files.meter is None or not files.meter.exists():
        yield f"The meter {files.meter} is gone: what was released of these labels is unknown."
        return
    with closing(_opened(files.meter)) as connection:
        rows = connection.execute("SELECT question, campaign, improved, level FROM answers").fetchall()
    metered = {question: (bool(improved), round(level, 6)) for question, _, improved, level in rows}
    known = {q for row, body in whole if row.kind == "campaign" for q in body.get("untold", ())}
    blobs = dict(_stored(files))
    for row, body in whole:
        if row.kind == "submission" and (data := blobs.get(body["predictions"])) is not None:
            question, receipt = question_of("feedback", unpack(data).answers_SM), body["receipt"]
            known.add(question)
            if metered.get(question) != (receipt["improved"], receipt["level_accuracy"]):
                yield f"Entry {row.seq}: the meter has another answer to it, or none."
    lost = sum(campaign == files.campaign.name and question not in known for question, campaign, *_ in rows)
    if lost:
        yield f"The meter has {lost} answers of this campaign that the ledger has not: its end was cut off, or it runs now."


# --- one entry ------------------------------------------------------------------------------------------------------------


def find(files: Files, name: str) -> Row:
    """The entry of a receipt (r-000017), a finding (f-000003) or a number.

    Raises:
        InvalidSubmission: there is none.
    """
    for row in _rows(files.database):
        if name in {str(row.seq), f"f-{row.seq:06d}" if row.kind == "finding" else None, _receipt(row)}:
            return row
    raise InvalidSubmission(f"The ledger has no entry '{name[:80]}'. Give a receipt, a finding or a number.", name=name)


def _receipt(row: Row) -> str | None:
    return _body(row)["receipt"]["id"] if row.kind == "submission" else None


def prove(files: Files, key: Key, row: Row) -> dict[str, Any]:
    """A document by which whoever holds the public key sees that the entry is in the signed ledger, without the ledger.

    Raises:
        Misconfigured: the ledger is broken before it, or no checkpoint covers it yet.
    """
    tree, broken = walk(_rows(files.database))
    if broken and broken.seq <= row.seq:
        raise Misconfigured(str(broken), seq=broken.seq)
    for note in notes(files.checkpoints.read_bytes())[0] if files.checkpoints.exists() else ():
        checkpoint = opened(note, key)
        if checkpoint.size >= row.seq and _fits(checkpoint, tree):
            path = [node.hex() for node in tree.inclusion(row.seq - 1, checkpoint.size)]
            return {"entry": row._asdict(), "path": path, "checkpoint": note}
    raise Misconfigured(
        f"No checkpoint covers entry {row.seq} yet. One is signed within seconds, and when the evaluator stops."
    )


def check_proof(document: Any, key: Key) -> tuple[Row, Checkpoint]:
    """The entry of a proof and the checkpoint that covers it.

    Raises:
        InvalidSubmission: it proves nothing under that key.
    """
    try:
        row = Row(**document["entry"])
        checkpoint = opened(document["checkpoint"], key)
        path = [bytes.fromhex(node) for node in document["path"]]
        leaf = leaf_hash(canonical(*row[:-1]))
        good = includes(checkpoint.root, checkpoint.size, row.seq - 1, leaf, path)
    except (Misconfigured, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidSubmission(f"This proves nothing under that key: {error}. Do not believe it.") from error
    if not good:
        raise InvalidSubmission("The path does not lead from the entry to the signed root. Do not believe it.")
    return row, checkpoint
