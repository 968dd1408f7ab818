"""Errors that say whose move it is, and the move. Every error of aarlab is one of these four.

Each carries the offending facts as attributes, so that callers branch on *why* without matching
strings.
"""

from typing import Any

OUT_OF_MEMORY = 74  # the exit status of a submitted run after a MemoryError


class AarError(Exception):
    """Base of all our errors. `facts` holds the offending values; the message ends with the
    remedy."""

    whose_move = "nobody"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


class InvalidSubmission(AarError, ValueError):
    """The submitter (a researcher, a method's author) sent something that cannot be graded; they
    must change it."""

    whose_move = "submitter"


class Unauthorised(AarError, PermissionError):
    """The caller's token is missing, wrong or not allowed to do this; the submitter must use its
    own token."""

    whose_move = "submitter"


class Misconfigured(AarError, ValueError):
    """The operator's settings, files or machine do not permit this; the operator must fix them."""

    whose_move = "operator"


class Transient(AarError, RuntimeError):
    """An infrastructure failure: nothing is wrong with the request. Try again. It is never a
    result."""

    whose_move = "try again"


class CouldNotBeRun(Transient):
    """The machine ended a run of a method, and again when nothing else of aarlab ran. It says
    nothing of the code: no verdict, no flag and no charge may follow from it. `facts["failure"]` is
    one of `records.NO_RESULT`."""
