"""Run a method file and have its answers graded, or have the lab run it, and share what came of it:
what a program does."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.core.errors import CouldNotBeRun, InvalidSubmission
from aarlab.core.records import NO_RESULT
from aarlab.researchers.code_files import METHOD
from aarlab.researchers.lab_client import Lab

RUN_TIMEOUT_S = 120.0
POLL_S = 0.5  # between two reads of a ticket
ANSWERS = "answers.json"


def run_method(
    method: Path, data: str, seeds: Sequence[int], timeout_s: float = RUN_TIMEOUT_S
) -> dict[str, dict[str, int]]:
    """Run a method file as a child process on the issued seeds; run it again once if a signal ended
    it.

    Raises:
        InvalidSubmission: it failed or took longer than `timeout_s`; the message has its last
            output.
        CouldNotBeRun: a signal ended it twice, which is not evidence against the method.
    """
    out = method.with_name(ANSWERS)
    out.unlink(missing_ok=True)
    argv = [
        sys.executable,
        "-m",
        "aarlab.runs.execute",
        "--method",
        str(method),
        "--public",
        data,
        "--test",
        data,
    ]
    argv += ["--seeds", ",".join(map(str, seeds)), "--out", str(out)]
    for last in (False, True):
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidSubmission(f"The method did not finish within {timeout_s:g} s.") from error
        if done.returncode >= 0:
            break
        if last:
            raise CouldNotBeRun(
                f"Signal {-done.returncode} ended the method twice.", failure="ended by the machine"
            )
    if done.returncode:
        raise InvalidSubmission(
            done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "no output"
        )
    return json.loads(out.read_text())


def receipt_of(
    lab: Lab,
    code: Mapping[str, Any],
    method: Path | None,
    data: str,
    *,
    patience_s: float | None = None,
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, Any]:
    """The receipt of a method that was committed as `code` (snapshot, seeds, family). It is run
    here on the public folder `data` and its answers are submitted; with `method` None, in code
    mode, the lab runs it.

    Raises:
        InvalidSubmission: the method failed, or the lab refused its answers.
        CouldNotBeRun: the machine ended the run, here or in the lab.
        Transient: the lab does not answer for `patience_s` seconds (None: that is waited for).
    """
    named = {"snapshot": code["snapshot"], "family": code["family"]}
    if method is not None:
        answers = run_method(method, data, code["seeds"], timeout_s)
        return lab.insist("submit_predictions", patience_s, **named, predictions=answers)
    ticket = lab.insist("submit_code", patience_s, **named)
    while ticket["state"] == "waiting":
        time.sleep(POLL_S)
        ticket = lab.insist("read_ticket", patience_s, ticket=ticket["id"])
    if ticket.get("failure") in NO_RESULT:
        raise CouldNotBeRun(f"The lab could not run it: {ticket['log']}", failure=ticket["failure"])
    if ticket["state"] == "failed":
        raise InvalidSubmission(f"The lab ran it: {ticket['failure']}. {ticket['log'] or ''}")
    return ticket["receipt"]


class Attempt(NamedTuple):
    """Code to be tried."""

    source: str
    family: str
    title: str  # what the title of its finding begins with
    changed: str  # what is different about it, as text


def experiment(
    lab: Lab, attempt: Attempt, graded: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Commit code, have it graded, and share a finding that cites both; the receipt. `graded`: of
    what was committed. None: the machine ended the run, and nothing is shared.

    Raises:
        InvalidSubmission: the code failed, which is shared as an error.
    """
    family, changed = attempt.family, attempt.changed
    committed = lab.insist("commit_code", files={METHOD: attempt.source}, family=family)
    finding = {"family": family, "snapshot": committed["snapshot"], "parent": None}
    try:
        receipt = graded(committed | {"family": family})
    except CouldNotBeRun as error:
        log(f"could not be run: {changed}: {error}")
        return None
    except InvalidSubmission as error:
        finding |= {"title": f"Failed: {changed}"[:200], "text": str(error)[:2000], "receipts": []}
        lab.insist("share_finding", kind="error", **finding)
        log(f"failed: {changed}: {str(error)[:200]}")
        raise
    verdict = "improved" if receipt["improved"] else "no improvement reported"
    finding |= {
        "title": f"{attempt.title}: {verdict}"[:200],
        "text": f"{changed}. See receipt {receipt['id']}.",
        "receipts": [receipt["id"]],
    }
    lab.insist("share_finding", kind="result", **finding)
    log(f"{receipt['id']} {verdict}: {changed}")
    return receipt


def log(line: str) -> None:
    """Write a line of the transcript."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
