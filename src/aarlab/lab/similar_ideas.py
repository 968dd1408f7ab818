"""What was done before that is like an idea, so that nobody spends on it unknowingly: an index of
code and findings by what they say.

It shows what the board and the forum show to everybody - code that was a reported improvement, or
that a finding cites - and to each researcher all of its own. It never keeps anybody waiting: it
answers from what it has read so far.
"""

import threading
import time
from collections.abc import Collection, Mapping

from aarlab.core.entries import FindingBody, ShownCode, ShownSubmission
from aarlab.core.errors import InvalidSubmission, Transient
from aarlab.core.operation_records import Similar
from aarlab.core.records import Entry
from aarlab.core.snapshot import snapshot_hash
from aarlab.diversity.similar import IdeaIndex, IdeaRows, text_features
from aarlab.diversity.source import joined, shingles
from aarlab.lab.evaluator_client import ReleasedPages

SHOWN = 3
LEAST_CODE, LEAST_TEXT = 0.5, 0.15  # similarity: below, the nearest is not near
# entries that are read while somebody may wait, and programs among them: some 4 ms
AT_ONCE, PROGRAMS = 20, 4
PAUSE_S = 0.001  # in which another thread gets its turn
WAIT_S = 0.2  # for another thread; then the answer is empty


class _Code:
    """What is known of a snapshot."""

    __slots__ = ("asked", "author", "committed_by", "family", "finding", "reported")

    def __init__(self, author: str, family: str) -> None:
        self.author, self.family = author, family
        self.committed_by = {author}
        self.reported: str | None = None  # receipt of the latest improvement: it is on the board
        self.asked: dict[str, str] = {}  # submitter -> latest receipt that reported none
        # (id, title, receipts) of the latest that cites it
        self.finding: tuple[str, str, tuple[str, ...]] | None = None


class Similars:
    """The index of one campaign."""

    def __init__(self, pages: ReleasedPages) -> None:
        self._pages = pages
        self._lock, self._seq, self._closed = threading.Lock(), 0, False
        self.hidden: Collection[str] = ()  # findings that an operator hid: nothing shows them
        self._warming = False  # whether `warm` will read on
        self._by_code: IdeaIndex[str] = IdeaIndex()
        self._by_text: IdeaIndex[str] = IdeaIndex()
        self._code: dict[str, _Code] = {}
        self._public = IdeaRows()  # of the index: code that everybody may see
        self._own: dict[str, IdeaRows] = {}  # researcher -> rows of its own code
        self._findings: dict[str, Similar] = {}
        self._improved: dict[str, bool] = {}  # receipt -> was an improvement reported

    def warm(self) -> None:
        """Read all that is recorded, in turns in which nobody waits long. For a thread of its
        own at the start."""
        while not self._closed:
            with self._lock:
                self._warming = self._resume()
                if not self._warming:
                    return
            time.sleep(PAUSE_S)

    def close(self) -> None:
        """Let `warm` end."""
        self._closed = True

    def like_code(self, files: Mapping[str, str], who: str) -> list[Similar]:
        """Up to SHOWN earlier snapshots whose code is like these files, as far as `who` may see
        them; not the same by `who`."""
        features, same = shingles(joined(files)), snapshot_hash(files)
        if not self._lock.acquire(timeout=WAIT_S):
            return []
        try:
            self._catch_up()
            rows = IdeaRows.union(self._public, self._own.get(who))
            near = self._by_code.nearest(
                features, SHOWN, lambda snapshot: self._shows(snapshot, who, same), among=rows
            )
            return [
                self._shown(snapshot, alike, who) for snapshot, alike in near if alike >= LEAST_CODE
            ]
        finally:
            self._lock.release()

    def like_text(self, text: str) -> list[Similar]:
        """Up to SHOWN findings whose title and text are like this one."""
        features = text_features(text)
        if not self._lock.acquire(timeout=WAIT_S):
            return []
        try:
            self._catch_up()
            hidden = self.hidden
            near = self._by_text.nearest(features, SHOWN, lambda finding: finding not in hidden)
            found = [
                (self._findings[finding], alike) for finding, alike in near if alike >= LEAST_TEXT
            ]
            return [
                f.model_copy(update={"similarity": round(alike, 2), **self._verdict(f.receipt)})
                for f, alike in found
            ]
        finally:
            self._lock.release()

    def _catch_up(self) -> None:
        """Read a little now; the rest, if there is more, in a thread of its own."""
        if self._resume() and not self._warming and not self._closed:
            self._warming = True
            threading.Thread(target=self.warm, daemon=True, name="similar ideas").start()

    def _resume(self) -> bool:
        """Read the next AT_ONCE entries, or up to PROGRAMS programs; is there more? Code that
        another commit is just storing waits for the next time: an index never stands in a commit's
        way."""
        try:
            page, programs = self._pages.after(self._seq, AT_ONCE), len(self._by_code)
            for entry in page.entries:
                self._take(entry)
                self._seq = entry.seq
                if len(self._by_code) - programs >= PROGRAMS:
                    return True
        except (InvalidSubmission, Transient):
            return False
        more, self._seq = page.upto > self._seq, max(self._seq, page.upto)
        return more or len(page.entries) == AT_ONCE

    def _take(self, entry: Entry) -> None:
        if entry.kind == "code":
            body = entry.read(ShownCode)
            known = self._code.setdefault(body.snapshot, _Code(entry.who, body.family))
            known.committed_by.add(entry.who)
            if body.snapshot not in self._by_code:
                self._by_code.add(body.snapshot, shingles(joined(self._pages.code(body.snapshot))))
            self._own.setdefault(entry.who, IdeaRows()).add(self._by_code.row(body.snapshot))
        elif entry.kind == "submission":
            receipt = entry.read(ShownSubmission).receipt
            self._improved[receipt.id] = receipt.improved
            code = self._code[receipt.snapshot]
            if receipt.improved:
                code.reported = receipt.id
                self._public.add(self._by_code.row(receipt.snapshot))
            else:
                code.asked[entry.who] = receipt.id
        elif entry.kind == "finding":
            self._take_finding(f"f-{entry.seq:06d}", entry)

    def _take_finding(self, finding: str, entry: Entry) -> None:
        body = entry.read(FindingBody)
        self._findings[finding] = Similar(
            similarity=0.0,
            author=entry.who,
            family=body.family,
            snapshot=body.snapshot,
            finding=finding,
            title=body.title,
            receipt=body.receipts[0] if body.receipts else None,
        )
        self._by_text.add(finding, text_features(f"{body.title} {body.text}"))
        if body.snapshot in self._code:
            self._code[body.snapshot].finding = finding, body.title, body.receipts
            self._public.add(self._by_code.row(body.snapshot))

    def _shows(self, snapshot: str, who: str, same: str) -> bool:
        code = self._code[snapshot]
        if who in code.committed_by:
            return snapshot != same
        return code.reported is not None or self._cited(code) is not None

    def _cited(self, code: _Code) -> tuple[str, str, tuple[str, ...]] | None:
        """The latest finding about that code, where it is shown."""
        return None if code.finding is None or code.finding[0] in self.hidden else code.finding

    def _shown(self, snapshot: str, alike: float, who: str) -> Similar:
        code = self._code[snapshot]
        finding, title, cited = self._cited(code) or (None, None, ())
        receipt = code.reported or next(iter(cited), code.asked.get(who))
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
