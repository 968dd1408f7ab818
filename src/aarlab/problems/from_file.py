"""A user's own items as a problem: a file of JSON lines, one item on each line.

    {"prompt": "...", "first": "...", "second": "...", "label": 1, "split": "student", "part": "id",
    "level": 1} {"question": "...", "choice": "...", "label": 0, "split": "final"}

The label of a pair says which of two texts is the better answer to a prompt (1: the second); the
label of a choice says whether one answer is right. All items of a file are of one kind. Without
`part` an item is in distribution; without `level` its level is 1; without `group` it is grouped
only with items of similar text. An item's id is made from its texts (an `id` in the file is
ignored) and items are sorted by these ids, so that neither reveals a label. The problem has the
file's name, and its version depends on the content.
"""

import codecs
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aarlab.core.errors import Misconfigured
from aarlab.core.records import SPLITS, AnyItem, Choice, Pair, validated
from aarlab.core.settings import expanded
from aarlab.core.strict_json import json_lines
from aarlab.problems.problem import Problem, check_repeats
from aarlab.problems.study.balance import identified

SUFFIX = ".jsonl"
KINDS: tuple[type[Pair] | type[Choice], ...] = (Pair, Choice)
OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    codecs.BOM_UTF16_LE: "UTF-16 or UTF-32",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"[": "one JSON array",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes a folder's
TASKS = {
    Pair: (
        "Each item has a prompt and two texts. Predict 1 if `second` is the better answer to it, 0 "
        "if `first`."
    ),
    Choice: (
        "Each item has a question and an answer (`choice`). Predict 1 if the answer is right, 0 if "
        "it is wrong."
    ),
}


def from_file(name: str) -> Problem:
    """The problem of that file.

    Raises:
        Misconfigured: there is no such file, a line is not an item, a split is missing, or
            something occurs twice. The balance of labels is checked at set-up (`require_items`).
    """
    path = expanded(name, "the file of items")
    found = _read(path)
    if not NAME.fullmatch(path.stem):
        raise Misconfigured(
            f"{path.name} is not a valid problem name. Rename the file: use letters, digits, "
            "dots, hyphens and underscores."
        )
    numbered = read_items(found, path)
    items = list(numbered.values())
    try:
        check_repeats(items, list(numbered))
    except Misconfigured as error:
        raise Misconfigured(f"{path}: {error}", **error.facts) from error
    if missing := [s for s in SPLITS if s != "feedback" and not any(i.split == s for i in items)]:
        raise Misconfigured(
            f"{path} has no items in the split {' and '.join(missing)}. Add items to it; the "
            f"splits are {', '.join(SPLITS)}."
        )
    seen = any(i.split == "feedback" for i in items)
    corpus = _corpus(items)
    return Problem(
        name=path.stem,
        version=hashlib.sha256(found).hexdigest()[:12],
        card=(
            f"{TASKS[type(items[0])]} You have weak labels on the `student` items and a strong "
            "student model. Find a method that recovers as much as possible of the gap between "
            "the teacher and the student trained on true labels (PGR)."
        ),
        id_source=f"part id of {path.name}",
        ood_source=f"part ood of {path.name}" if any(i.part == "ood" for i in items) else "none",
        build=lambda cache, data_seed: sorted(items, key=lambda item: item.id),
        corpus=lambda cache, data_seed: corpus,
        worded=isinstance(items[0], Choice),
        transfer_only=not seen,
        fixed=True,
    )


def _read(path: Path) -> bytes:
    """The file's bytes, less a byte-order mark of UTF-8."""
    try:
        found = path.read_bytes()
    except OSError as error:
        why = (
            f"There is no file {path}"
            if isinstance(error, FileNotFoundError)
            else f"Cannot read {path}: {error.strerror}"
        )
        raise Misconfigured(
            f"{why}. Give the path of a file with one JSON item a line.", path=path
        ) from error
    if kind := next(
        (words for start, words in OTHER_KINDS.items() if found.startswith(start)), None
    ):
        raise Misconfigured(
            f"{path} is {kind}, not JSON lines in UTF-8. Write one JSON object on each line, as "
            "plain text.",
            path=path,
        )
    return found.removeprefix(codecs.BOM_UTF8)


def _corpus(items: Sequence[AnyItem]) -> list[str]:
    """What the teacher reads before it sees a label: the texts of the teacher and student splits,
    in no test split."""
    some = [i for i in items if i.split in ("teacher", "student")]
    return sorted(
        text
        for i in some
        for text in (i.choices if isinstance(i, Pair) else (f"{i.question}\n{i.choice}",))
    )


def read_items(found: bytes, path: Path, unit: str = "line") -> dict[int, AnyItem]:
    """Line number -> item. Blank lines are skipped. `unit`: what a line's number counts, for who
    made the lines of something else.

    Raises:
        Misconfigured: a line is not an item, or has another kind than the first one; the message
            names the line.
    """
    items: dict[int, AnyItem] = {}
    first = None
    for number, fields in json_lines(found.split(b"\n"), str(path)):
        where = f"{path}, {unit} {number}"
        if not isinstance(fields, dict):
            raise Misconfigured(
                f"{where}: {fields!r:.60} is not an object. Write one item as {{...}} on each line."
            )
        item = _item(fields, where)
        first = first or item
        if type(item) is not type(first):
            raise Misconfigured(
                f"{where}: a {_kind(item)} in a file of {_kind(first)}s. Use one file for each "
                "kind of item."
            )
        items[number] = item
    if not items:
        raise Misconfigured(f"{path} has no items. Write one JSON object on each line.", path=path)
    return items


def _kind(item: AnyItem) -> str:
    return type(item).__name__.lower()


def _item(fields: dict[str, Any], where: str) -> AnyItem:
    kind = next((k for k in KINDS if any(name in fields for name in k.PUBLISHED[1:])), None)
    if kind is None:
        wanted = " or ".join(", ".join(k.PUBLISHED[1:]) for k in KINDS)
        raise Misconfigured(
            f"{where}: the fields are not those of an item. Give {wanted}; and label, split."
        )
    texts = [fields.get(name) for name in kind.PUBLISHED[1:]]
    blank = [
        name
        for name, text in zip(kind.PUBLISHED[1:], texts, strict=True)
        if isinstance(text, str) and not text.strip()
    ]
    if blank:
        raise Misconfigured(
            f"{where}: {', '.join(blank)} is blank. Write the text, or remove the line."
        )
    named = {"part": "id", "level": 1, **fields, "id": identified("item", *map(str, texts))}
    return validated(kind, named, where)
