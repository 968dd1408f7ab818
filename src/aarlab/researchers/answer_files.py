"""Answers in a file -> what is submitted: {seed: {item id: 0 or 1}}, or {seed: "0110..."} in the order of the sorted ids.

JSON holds either form. An .npz holds one array of M answers for each seed, named by the seed ("17" or "seed_17"), in the order
of the sorted ids or, where it also holds an array `ids`, in that one's. A CSV has a column `id` and one column for each seed.
Legend: M test items.
"""

import csv
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission

MAX_BYTES = 64 << 20
Answers = dict[str, dict[str, int] | str]


def read_answers(path: Path) -> Answers:
    """The answers of a file, by seed.

    Raises:
        InvalidSubmission: there is no such file, it is none of the three kinds, or something in it is neither 0 nor 1.
    """
    readers = {".json": _from_json, ".npz": _from_npz, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidSubmission(
            f"'{path.name}' ends with none of {', '.join(readers)}. Write the answers in one of these forms."
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InvalidSubmission(f"Cannot read '{path}': {error.strerror}. Give the path of the file of answers.") from error
    if size > MAX_BYTES:
        raise InvalidSubmission(
            f"'{path.name}' has {size} bytes, and answers need fewer than {MAX_BYTES}. Send 0s and 1s only."
        )
    found = reader(path)
    if not found:
        raise InvalidSubmission(f"'{path.name}' holds no seed. Answer on each of the issued seeds.")
    return found


def _from_json(path: Path) -> Answers:
    try:
        held = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidSubmission(f"'{path.name}' is not JSON ({error}). Write {{seed: {{item id: 0 or 1}}}}.") from error
    if not isinstance(held, dict):
        raise InvalidSubmission(f"'{path.name}' holds a {type(held).__name__}. Write {{seed: {{item id: 0 or 1}}}}.")
    return {seed: _one_seed(seed, rows) for seed, rows in held.items()}


def _one_seed(seed: str, rows: Any) -> dict[str, int] | str:
    if isinstance(rows, dict):
        return {item: _bit(value, f"seed {seed}, item {item}") for item, value in rows.items()}
    if isinstance(rows, list):
        return "".join(str(_bit(value, f"seed {seed}, place {n}")) for n, value in enumerate(rows))
    if isinstance(rows, str):
        return rows
    raise InvalidSubmission(
        f"Seed {seed[:40]} holds a {type(rows).__name__}. Write {{item id: 0 or 1}} or a string of 0s and 1s."
    )


def _bit(value: Any, where: str) -> int:
    if isinstance(value, str) and value.strip() in ("0", "1"):
        return int(value)
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return int(value)
    raise InvalidSubmission(
        f"{where[:120]}: {str(value)[:40]!r} is neither 0 nor 1. Round probabilities: 1 where they exceed 0.5."
    )


def _from_npz(path: Path) -> Answers:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidSubmission(
            f"'{path.name}' cannot be read ({error}). Write it with numpy.savez, without objects."
        ) from error
    ids = [str(i) for i in arrays.pop("ids").ravel()] if "ids" in arrays else None
    found: Answers = {}
    for name, array in arrays.items():
        seed, bits = (
            name.removeprefix("seed_"),
            [_bit(v, f"array {name}, place {n}") for n, v in enumerate(array.ravel().tolist())],
        )
        found[seed] = _with_ids(ids, bits, f"array {name}") if ids is not None else "".join(map(str, bits))
    return found


def _from_csv(path: Path) -> Answers:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidSubmission(
            f"'{path.name}' is no CSV file ({error}). Write a column id and a column for each seed."
        ) from error
    header, body = ([h.strip() for h in rows[0]], [row for row in rows[1:] if row]) if rows else ([], [])
    if "id" not in header or len(header) < 2 or any(len(row) != len(header) for row in body):
        raise InvalidSubmission(
            f"'{path.name}' must have a column id and a column for each seed, and no row of another length."
        )
    at = header.index("id")
    ids = [row[at] for row in body]
    return {
        name.removeprefix("seed_"): _with_ids(
            ids, [_bit(row[n], f"column {name}, item {row[at]}") for row in body], f"column {name}"
        )
        for n, name in enumerate(header)
        if n != at
    }


def _with_ids(ids: list[str], bits: Iterable[int], where: str) -> dict[str, int]:
    bits = list(bits)
    if len(ids) != len(bits) or len(set(ids)) != len(ids):
        raise InvalidSubmission(f"{where}: {len(bits)} answers for {len(set(ids))} different ids. Answer each item once.")
    return dict(zip(ids, bits, strict=True))
