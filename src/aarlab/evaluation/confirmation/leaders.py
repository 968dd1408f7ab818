"""Which snapshots are put to confirmation, and what is claimed for each: from the ledger alone."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from aarlab.core.entries import CodeBody, SubmissionBody
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Entry
from aarlab.evaluation.confirmation.confirmation_record import Claim
from aarlab.evaluation.ledger.ledger import Ledger

SHOWN, MOST = 12, 3  # digits of a hash, and snapshots, that a message names


def claims(ledger: Ledger) -> dict[str, Entry]:
    """By snapshot, the submission that claims most for it by what was reported: the last that was
    reported as an improvement, else the first. An exact score chooses nothing here: a verdict is
    reported, and follows from the choice.

    Only who was the first to commit a snapshot can claim with it: others have its code too, and
    could hand in answers under it that it cannot make."""
    author: dict[str, str] = {}
    for entry in ledger.entries("code"):
        author.setdefault(entry.read(CodeBody).snapshot, entry.who)
    chosen: dict[str, Entry] = {}
    for entry in ledger.entries("submission"):
        body = entry.read(SubmissionBody)
        if entry.who == author.get(body.snapshot) and (
            body.snapshot not in chosen or body.receipt.improved
        ):
            chosen[body.snapshot] = entry
    return chosen


def leaders(ledger: Ledger, count: int) -> list[str]:
    """The snapshots to confirm: the one that holds the reported level, then those that were no
    reported improvement, by exact feedback accuracy, then earlier holders of the level, the latest
    first.

    Researchers see verdicts of reported improvements only. Which of these are put to confirmation
    follows from what they know already, and so shows them nothing about exact scores; what is
    chosen by exact score, they do not see.
    """
    claimed = claims(ledger)
    submitted = [entry.read(SubmissionBody) for entry in ledger.entries("submission")]
    improved = [body.snapshot for body in submitted if body.receipt.improved]
    holders = [s for s in dict.fromkeys(reversed(improved)) if s in claimed]
    rest = sorted(
        claimed.keys() - set(holders),
        key=lambda s: (-claimed[s].read(SubmissionBody).exact_accuracy, s),
    )
    return [*holders[:1], *rest, *holders[1:]][:count]


def named(ledger: Ledger, prefix: str) -> str:
    """The submitted snapshot whose hash begins so.

    Raises:
        Misconfigured: there is none, or more than one; the message names those that are near.
    """
    known = claims(ledger)
    found = [s for s in known if s.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    raise Misconfigured(_not_one(ledger, prefix[:80], known, found))


def _not_one(ledger: Ledger, prefix: str, known: Mapping[str, Entry], found: Sequence[str]) -> str:
    """Why a prefix names no snapshot, or several, and what does."""
    if found:
        listed = ", ".join(s[:SHOWN] for s in found[:MOST])
        return (
            f"{len(found)} submitted snapshots begin with '{prefix}': {listed}. Give more digits."
        )
    of_receipt = [s for s, e in known.items() if e.read(SubmissionBody).receipt.id == prefix]
    if of_receipt:
        return f"{prefix} is a receipt. Its snapshot is {of_receipt[0][:SHOWN]}: give that."
    if any(e.read(CodeBody).snapshot.startswith(prefix) for e in ledger.entries("code")):
        return (
            f"'{prefix}' was committed, and its author submitted nothing with it: there is no "
            "claim to confirm. Give a submitted snapshot."
        )
    if not known:
        return "Nothing was submitted yet, so there is no snapshot to confirm. Ask again later."
    begins = {s[: max(len(prefix), 1)]: s for s in known}
    near = get_close_matches(prefix, begins, n=MOST, cutoff=0.5)
    hint = f" Near are: {', '.join(begins[b][:SHOWN] for b in near)}." if near else ""
    return (
        f"No submitted snapshot begins with '{prefix}'; {len(known)} were submitted.{hint} Each "
        "submission's page shows its snapshot; without --snapshot the leaders are confirmed."
    )


def claim_of(submission: Entry) -> Claim:
    """What a submission claims."""
    body = submission.read(SubmissionBody)
    return Claim(
        receipt=body.receipt.id,
        researcher=submission.who,
        family=body.family,
        accuracy=body.exact_accuracy,
        ledger_seq=submission.seq,
    )
