"""A user's own items as a problem: a file of JSON lines, one item a line.

    {"prompt": "...", "first": "...", "second": "...", "label": 1, "split": "student", "part": "id", "level": 1}
    {"question": "...", "choice": "...", "label": 0, "split": "final"}

A pair says which of two texts is the better answer to a prompt (label 1: the second), a choice whether one answer is right. All
items of a file are of one kind. Without `part` an item is in distribution, without `level` it is of level 1. It is called after
its texts, whatever `id` it has, and stands in the order of these names, so that neither tells a label. The problem is named
after the file, and its version after what is in it.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.records import SPLITS, AnyItem, Choice, Pair, validated
from aarlab.problems.problem import Problem, check_problem
from aarlab.problems.study.balance import identified

SUFFIX = ".jsonl"
KINDS: tuple[type[Pair] | type[Choice], ...] = (Pair, Choice)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes a folder's
TASKS = {
    Pair: "Each item has a prompt and two texts. Predict 1 if `second` is the better answer to it, 0 if `first`.",
    Choice: "Each item has a question and an answer (`choice`). Predict 1 if the answer is right, 0 if it is wrong.",
}


def from_file(name: str) -> Problem:
    """The problem of that file.

    Raises:
        Misconfigured: there is no such file, a line is no item, a split is missing, or the items fail `check_problem`.
    """
    path = Path(name)
    if not path.is_file():
        raise Misconfigured(f"There is no file {name}. Give the path of a file with one JSON item a line.", path=path)
    if not NAME.fullmatch(path.stem):
        raise Misconfigured(
            f"{path.name} gives no name of a problem: rename it to letters, digits, dots, hyphens, underscores."
        )
    found = path.read_bytes()
    items = read_items(found, path)
    check_problem(items)
    if missing := [s for s in SPLITS if s != "feedback" and not any(i.split == s for i in items)]:
        raise Misconfigured(f"{path} has no item of {' and '.join(missing)}. Add some: {', '.join(SPLITS)} are the splits.")
    seen = any(i.split == "feedback" for i in items)
    return Problem(
        name=path.stem,
        version=hashlib.sha256(found).hexdigest()[:12],
        card=f"{TASKS[type(items[0])]} You have weak labels on the `student` items and a strong student model. Find a method "
        "that recovers as much as possible of the gap between the teacher and the student trained on true labels (PGR).",
        id_source=f"part id of {path.name}",
        ood_source=f"part ood of {path.name}" if any(i.part == "ood" for i in items) else "none",
        build=lambda cache, data_seed: sorted(items, key=lambda item: item.id),
        corpus=lambda cache, data_seed: [],
        transfer_only=not seen,
        fixed=True,
    )


def read_items(found: bytes, path: Path) -> list[AnyItem]:
    """The items of the file's lines; blank lines are passed over.

    Raises:
        Misconfigured: a line is no item, or not of the first one's kind; the message names the line.
    """
    items: list[AnyItem] = []
    for number, line in enumerate(found.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        item = _item(_fields(line, where), where)
        if items and type(item) is not type(items[0]):
            raise Misconfigured(f"{where}: a {_kind(item)} in a file of {_kind(items[0])}s. Put them into two files.")
        items.append(item)
    if not items:
        raise Misconfigured(f"{path} has no items. Write one JSON object a line.", path=path)
    return items


def _kind(item: AnyItem) -> str:
    return type(item).__name__.lower()


def _fields(line: bytes, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Misconfigured(f"{where} is not JSON in UTF-8: {error}.") from error
    if not isinstance(fields, dict):
        raise Misconfigured(f"{where}: {fields!r:.60} is no object. Write one item as {{...}} a line.")
    return fields


def _item(fields: dict[str, Any], where: str) -> AnyItem:
    kind = next((k for k in KINDS if any(name in fields for name in k.PUBLISHED[1:])), None)
    if kind is None:
        wanted = " or ".join(", ".join(k.PUBLISHED[1:]) for k in KINDS)
        raise Misconfigured(f"{where}: no fields of an item. Give {wanted}; and label, split.")
    texts = [fields.get(name) for name in kind.PUBLISHED[1:]]
    blank = [name for name, text in zip(kind.PUBLISHED[1:], texts, strict=True) if isinstance(text, str) and not text.strip()]
    if blank:
        raise Misconfigured(f"{where}: {', '.join(blank)} is blank. Write the text, or leave the line out.")
    named = {"part": "id", "level": 1, **fields, "id": identified("item", *map(str, texts))}
    return validated(kind, named, where)
