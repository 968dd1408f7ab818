"""Submitted predictions: a value for every item of a split, checked before anything is graded. No
message here depends on a secret."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.plain_text import decoded
from aarlab.core.strict_json import is_finite, parse_json, read_json_lines
from aarlab.problems.folder.folder_problem import SubmissionForm

FILE = "the file of predictions"
Predictions = Mapping[str, Any]  # by item id


def read_ids(path: Path) -> list[str]:
    """The ids of published items, in their order.

    Raises:
        Misconfigured: a line is no object with an id, or an id occurs twice.
    """
    rows = read_json_lines(path)
    for number, row in enumerate(rows, 1):
        if not (isinstance(row, dict) and isinstance(row.get("id"), str) and row["id"]):
            raise Misconfigured(f"{path}, line {number}: it is no object with a text `id`.")
    ids = [row["id"] for row in rows]
    if twice := [item for item, times in Counter(ids).items() if times > 1]:
        raise Misconfigured(f"{path}: the id '{min(twice)[:80]}' occurs twice. Rename one.")
    return ids


def read_predictions(data: bytes, what: SubmissionForm, ids: list[str]) -> Predictions:
    """Predictions from JSON, {item id: value}.

    Raises:
        InvalidSubmission: they are more than `max_bytes`, no such JSON, miss an id or have another
            one, or hold a value of another kind.
    """
    if len(data) > what.max_bytes:
        raise InvalidSubmission(
            f"The predictions have {len(data):,} bytes; {what.max_bytes:,} may be sent. Send fewer "
            "digits."
        )
    try:
        found = parse_json(decoded(data, FILE), FILE)
    except Misconfigured as error:
        raise InvalidSubmission(f"{error} Send {{item id: value}} as JSON.") from error
    if not isinstance(found, dict):
        raise InvalidSubmission("The predictions are no object {item id: value}. Send one.")
    if missing := set(ids) - found.keys():
        raise InvalidSubmission(
            f"{len(missing)} of {len(ids)} ids have no value, e.g. '{min(missing)[:80]}'. Answer "
            "every item."
        )
    if unknown := found.keys() - set(ids):
        raise InvalidSubmission(
            f"{len(unknown)} ids are not in this split, e.g. '{min(unknown)[:80]}'. Leave them out."
        )
    for item in ids:
        if words := _wrong(found[item], what):
            shown = json.dumps(found[item])[:60]
            raise InvalidSubmission(f"The value of '{item[:80]}' is {shown}; {words}", item=item)
    return {item: found[item] for item in ids}


def _wrong(value: object, what: SubmissionForm) -> str:
    """What is wrong with one value, as text."""
    if what.values in {"probability", "number"}:
        number = is_finite(value)
        if what.values == "number":
            return "" if number else "it must be a finite number."
        inside = number and 0 <= value <= 1  # type: ignore[operator]
        return "" if inside else "it must be a number from 0 to 1."
    if what.values == "class":
        named = ", ".join(json.dumps(name, ensure_ascii=False) for name in what.classes)
        return "" if value in what.classes else f"it must be one of the texts {named}."
    if what.values == "text":
        return "" if isinstance(value, str) else "it must be a text."
    texts = isinstance(value, list) and all(isinstance(x, str) for x in value)
    once = texts and len(set(value)) == len(value)  # type: ignore[arg-type]
    return "" if once else "it must be a list of different texts, the best one first."
