"""How much one researcher may store in the lab during a campaign: it must not fill the disk or the
memory that all share. What is left is reported with `my_budget`, and the whole at the start."""

from dataclasses import dataclass

from aarlab.core.amounts import amount
from aarlab.core.errors import InvalidSubmission

CODE_BYTES = 128 << 20  # of snapshots that it was the first to commit
FINDING_BYTES = 16 << 20  # of titles and texts
ENTRY_BYTES = 512  # that a commit or a finding counts beside: each is an entry of the ledger
WORDS = (
    f"You may commit {amount(CODE_BYTES)} bytes of new code and share {amount(FINDING_BYTES)} "
    "bytes of findings in a campaign; my_budget says what is left"
)


@dataclass(frozen=True)
class Stored:
    """What one researcher has stored, in bytes."""

    code: int = 0
    findings: int = 0

    @property
    def code_left(self) -> int:
        """Bytes of code that it may still commit."""
        return max(0, CODE_BYTES - self.code)

    @property
    def findings_left(self) -> int:
        """Bytes of findings that it may still share."""
        return max(0, FINDING_BYTES - self.findings)

    def require_room(self, *, code: int = 0, findings: int = 0) -> None:
        """Raise where so much more is beyond the quota.

        Raises:
            InvalidSubmission: it is; the words say how much is left.
        """
        for what, more, left, quota in (
            ("code", code, self.code_left, CODE_BYTES),
            ("findings", findings, self.findings_left, FINDING_BYTES),
        ):
            if more > left:
                raise InvalidSubmission(
                    f"Your quota of {quota:,} bytes of {what} has {left:,} bytes left, and this "
                    f"takes {more:,}. Make it smaller; what you stored stays, and can be used."
                )


def code_cost(size: int, *, new: bool) -> int:
    """Bytes that a commit of a snapshot of that size counts; `new`: nobody committed it before."""
    return ENTRY_BYTES + (size if new else 0)


def finding_cost(title: str, text: str) -> int:
    """Bytes that a finding counts."""
    return ENTRY_BYTES + len(title.encode(errors="replace")) + len(text.encode(errors="replace"))
