"""One table of errors and statuses, read in both directions."""

import json

import pytest

from aarlab.core.errors import (
    CouldNotBeRun,
    InvalidSubmission,
    Misconfigured,
    Transient,
    Unauthorised,
)
from aarlab.core.http_errors import error_of, headers_of, problem_of, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidSubmission("no"), 422),
        (Unauthorised("who"), 401),
        (Unauthorised("not you", forbidden=True), 403),
        (Misconfigured("mend it"), 500),
        (Transient("later"), 503),
        (CouldNotBeRun("later", failure="memory"), 503),
        (InvalidSubmission("large", status=413), 413),
    ],
)
def test_an_error_that_crossed_http_is_the_same_error(error, status):
    assert status_of(error) == status
    back = error_of(status, json.dumps(problem_of(error)).encode())
    kinds = (InvalidSubmission, Unauthorised, Misconfigured, Transient)
    assert type(back) is next(kind for kind in kinds if isinstance(error, kind))
    assert (str(back), back.whose_move) == (str(error), error.whose_move)


def test_what_is_absent_is_404_and_the_submitters_move():
    error = InvalidSubmission("There is none.", absent=True)
    assert status_of(error) == 404
    assert error_of(404, json.dumps(problem_of(error)).encode()).whose_move == "submitter"


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (400, b"<html>", InvalidSubmission),
        (404, b'{"error": {"message": "Nothing is here."}}', InvalidSubmission),
        (429, b'{"error": "slower", "whose_move": "submitter"}', Transient),
        (500, b'{"error": "a bug", "whose_move": "a bug of ours"}', Misconfigured),
        (502, b"", Transient),
        (500, b"[1]", Misconfigured),
    ],
)
def test_an_answer_that_does_not_say_whose_move_it_is_is_read_by_its_status(status, content, kind):
    error = error_of(status, content)
    assert type(error) is kind
    assert error.facts == {"status": status}
    assert str(error) in content.decode()


def test_a_body_that_was_not_read_ends_the_connection():
    assert headers_of(413) == headers_of(408) == {"Connection": "close"}
    assert headers_of(401) == {"WWW-Authenticate": "Bearer"}
    assert headers_of(422) == {}
