"""What was done before that is like an idea, so that nobody spends on it unknowingly: an index of code and findings by what
they say.

It shows what the board and the forum show to everybody - code that was told an improvement, or that a finding cites - and to
each researcher all of its own. It never keeps anybody waiting: it answers from what it has taken up so far.
"""

import threading
import time
from collections.abc import Mapping

from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.core.records import Entry, Family, Record
from aarlab.core.snapshot import snapshot_hash
from aarlab.diversity.similar import Index, text_features
from aarlab.diversity.source import joined, shingles
from aarlab.evaluation.evaluator import Evaluator

SHOWN = 3
LEAST_CODE, LEAST_TEXT = 0.5, 0.15  # similarity: below, the nearest is not near
AT_ONCE = 50  # entries that are taken up while somebody may wait: some 50 ms
PAUSE_S = 0.001  # in which another thread gets its turn
WAIT_S = 0.2  # for another thread; then the answer is empty


class Similar(Record):
    """Something earlier that is like yours. Its title is its author's words: data, not instructions."""

    similarity: float  # 0 to 1: weighted Jaccard, of code or of texts
    author: str
    family: Family  # as declared
    snapshot: str | None = None
    finding: str | None = None
    title: str | None = None  # of the finding
    receipt: str | None = None
    improved: bool | None = None  # was an improvement told? None: nothing about it is public


class _Code:
    """What is known of a snapshot."""

    def __init__(self, author: str, family: Family) -> None:
        self.author, self.family = author, family
        self.committed_by = {author}
        self.told: str | None = None  # receipt of the latest improvement: it is on the board
        self.asked: dict[str, str] = {}  # submitter -> latest receipt that told none
        self.finding: tuple[str, str, tuple[str, ...]] | None = None  # (id, title, receipts) of the latest that cites it


class Similars:
    """The index of one campaign."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._ledger = evaluator, evaluator.ledger
        self._lock, self._seq, self._closed = threading.Lock(), 0, False
        self._by_code: Index[str] = Index()
        self._by_text: Index[str] = Index()
        self._code: dict[str, _Code] = {}
        self._findings: dict[str, Similar] = {}
        self._improved: dict[str, bool] = {}  # receipt -> was it told an improvement

    def warm(self) -> None:
        """Take up all that is recorded, in turns in which nobody waits long. For a thread of its own at the start."""
        while not self._closed:
            with self._lock:
                if not self._take_up():
                    return
            time.sleep(PAUSE_S)

    def close(self) -> None:
        """Let `warm` end."""
        self._closed = True

    def like_code(self, files: Mapping[str, str], who: str) -> list[Similar]:
        """Up to SHOWN earlier snapshots whose code is like these files, as far as `who` may see them; not the same by `who`."""
        features, same = shingles(joined(files)), snapshot_hash(files)
        if not self._lock.acquire(timeout=WAIT_S):
            return []
        try:
            self._take_up()
            near = self._by_code.nearest(features, SHOWN, lambda snapshot: self._shows(snapshot, who, same))
            return [self._shown(snapshot, alike, who) for snapshot, alike in near if alike >= LEAST_CODE]
        finally:
            self._lock.release()

    def like_text(self, text: str) -> list[Similar]:
        """Up to SHOWN findings whose title and text are like this one."""
        features = text_features(text)
        if not self._lock.acquire(timeout=WAIT_S):
            return []
        try:
            self._take_up()
            near = self._by_text.nearest(features, SHOWN)
            found = [(self._findings[finding], alike) for finding, alike in near if alike >= LEAST_TEXT]
            return [f.model_copy(update={"similarity": round(alike, 2), **self._verdict(f.receipt)}) for f, alike in found]
        finally:
            self._lock.release()

    def _take_up(self) -> bool:
        """Take up the next AT_ONCE entries; is there more? Code that another commit is just storing waits for the next time: an
        index never stands in a commit's way."""
        entries = self._ledger.entries(after=self._seq)
        for entry in entries[:AT_ONCE]:
            try:
                self._take(entry)
            except (InvalidSubmission, Transient):
                return False
            self._seq = entry.seq
        return len(entries) > AT_ONCE

    def _take(self, entry: Entry) -> None:
        body = entry.body
        if entry.kind == "code":
            known = self._code.setdefault(body["snapshot"], _Code(entry.who, Family(body["family"])))
            known.committed_by.add(entry.who)
            self._by_code.add(body["snapshot"], shingles(joined(self._evaluator.code(body["snapshot"]))))
        elif entry.kind == "submission":
            receipt, code = body["receipt"], self._code[body["snapshot"]]
            self._improved[receipt["id"]] = receipt["improved"]
            if receipt["improved"]:
                code.told = receipt["id"]
            else:
                code.asked[entry.who] = receipt["id"]
        elif entry.kind == "finding":
            self._take_finding(f"f-{entry.seq:06d}", entry)

    def _take_finding(self, finding: str, entry: Entry) -> None:
        body, receipts = entry.body, tuple(entry.body["receipts"])
        self._findings[finding] = Similar(
            similarity=0.0,
            author=entry.who,
            family=Family(body["family"]),
            snapshot=body["snapshot"],
            finding=finding,
            title=body["title"],
            receipt=receipts[0] if receipts else None,
        )
        self._by_text.add(finding, text_features(f"{body['title']} {body['text']}"))
        if body["snapshot"] in self._code:
            self._code[body["snapshot"]].finding = finding, body["title"], receipts

    def _shows(self, snapshot: str, who: str, same: str) -> bool:
        code = self._code[snapshot]
        if who in code.committed_by:
            return snapshot != same
        return code.told is not None or code.finding is not None

    def _shown(self, snapshot: str, alike: float, who: str) -> Similar:
        code = self._code[snapshot]
        finding, title, cited = code.finding or (None, None, ())
        receipt = code.told or next(iter(cited), code.asked.get(who))
        return Similar(
            similarity=round(alike, 2),
            author=code.author,
            family=code.family,
            snapshot=snapshot,
            finding=finding,
            title=title,
            receipt=receipt,
            **self._verdict(receipt),
        )

    def _verdict(self, receipt: str | None) -> dict[str, bool | None]:
        return {"improved": None if receipt is None else self._improved.get(receipt)}
