"""Read a file of answers: {seed: {item id: 0 or 1}}, or {seed: "0110..."} in the order of the
sorted ids.

A JSON file holds one of these forms. An .npz file holds one array of M answers for each seed, named
by the seed ("17" or "seed_17"), in the order of its array `ids`, or of the sorted ids if it has no
`ids`. A CSV file has a column `id` and one column for each seed. If the items' file is in another
order than the sorted ids, the lab refuses answers without ids. Legend: M test items.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aarlab.core.answers import by_seed
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.plain_text import decoded
from aarlab.core.strict_json import parse_json

MAX_BYTES = 64 << 20
Answers = dict[str, dict[str, int] | str]  # by seed


def read_answers(path: Path) -> Answers:
    """The answers of a file, by seed.

    Raises:
        InvalidSubmission: there is no such file, it is none of the three kinds, something in it is
            neither 0 nor 1, or a seed is no number (see `by_seed`).
    """
    readers = {".json": _from_json, ".npz": _from_npz, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidSubmission(
            f"'{path.name}' has an unknown format. Write the answers as one of "
            f"{', '.join(readers)}."
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidSubmission(
                f"'{path.name}' has {size} bytes; the limit is {MAX_BYTES}. Send 0s and 1s only."
            )
        found = reader(path)
    except OSError as error:
        raise InvalidSubmission(
            f"Cannot read '{path}': {error.strerror}. Give the path of the file of answers."
        ) from error
    if not found:
        raise InvalidSubmission(f"'{path.name}' holds no seed. Answer on each of the issued seeds.")
    by_seed(found)
    return found


def _from_json(path: Path) -> Answers:
    try:
        held = parse_json(path.read_bytes(), f"'{path.name}'", constants=True)
    except Misconfigured as error:
        raise InvalidSubmission(f"{error} Write {{seed: {{item id: 0 or 1}}}}.") from error
    if not isinstance(held, dict):
        raise InvalidSubmission(
            f"'{path.name}' holds a {type(held).__name__}. Write {{seed: {{item id: 0 or 1}}}}."
        )
    return {seed: _one_seed(seed, rows) for seed, rows in held.items()}


def _one_seed(seed: str, rows: Any) -> dict[str, int] | str:
    if isinstance(rows, dict):
        return {item: _bit(value, f"seed {seed}, item {item}") for item, value in rows.items()}
    if isinstance(rows, list):
        return "".join(str(_bit(value, f"seed {seed}, place {n}")) for n, value in enumerate(rows))
    if isinstance(rows, str):
        return rows
    raise InvalidSubmission(
        f"Seed {seed[:40]} holds a {type(rows).__name__}. Write {{item id: 0 or 1}} or a string "
        "of 0s and 1s."
    )


def _bit(value: Any, where: str) -> int:
    if isinstance(value, str):  # also as pandas and numpy write them: 1.0, True, 1e+00
        word = value.strip().lower()
        with suppress(ValueError):
            value = word == "true" if word in ("true", "false") else float(word)
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return int(value)
    raise InvalidSubmission(
        f"{where[:120]}: {str(value)[:40]!r} is neither 0 nor 1. Round probabilities: 1 where "
        "they exceed 0.5."
    )


def _from_npz(path: Path) -> Answers:
    import numpy as np

    try:
        held = np.load(path, allow_pickle=False)
        if not isinstance(held, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name, as numpy.save writes it")
        with held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise InvalidSubmission(
            f"'{path.name}' cannot be read ({error}). Write it with numpy.savez, without objects."
        ) from error
    named = arrays.pop("ids", None)
    if named is not None and named.dtype.kind != "U":
        raise InvalidSubmission(
            f"'{path.name}': the ids are {named.dtype.name}, not texts. Write ids.astype(str); "
            "bytes take numpy.char.decode(ids)."
        )
    ids = None if named is None else named.ravel().tolist()
    found: Answers = {}
    for name, array in arrays.items():
        if array.size != max(array.shape, default=1):
            raise InvalidSubmission(
                f"'{path.name}': array {name[:40]} has the shape {array.shape}. Give one "
                "answer for each item: shape (M,)."
            )
        seed, bits = (
            name.removeprefix("seed_"),
            [_bit(v, f"array {name}, place {n}") for n, v in enumerate(array.ravel().tolist())],
        )
        found[seed] = (
            _with_ids(ids, bits, f"array {name}") if ids is not None else "".join(map(str, bits))
        )
    return found


def _from_csv(path: Path) -> Answers:
    try:
        text = decoded(path.read_bytes(), f"'{path.name}'")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (Misconfigured, csv.Error) as error:
        raise InvalidSubmission(
            f"'{path.name}' is not a CSV file ({error}). Write a column id and a column for each "
            "seed."
        ) from error
    header, body = (
        ([h.strip() for h in rows[0]], [row for row in rows[1:] if row]) if rows else ([], [])
    )
    if "id" not in header or len(header) < 2 or any(len(row) != len(header) for row in body):
        raise InvalidSubmission(
            f"'{path.name}' must have a column id and one column for each seed, separated by "
            f"commas, and rows of equal length. Its first line is {','.join(header)[:80]!r}."
        )
    if "" in header or len(set(header)) < len(header):
        raise InvalidSubmission(
            f"'{path.name}' has a column without a name, or a name twice: "
            f"{','.join(header)[:80]!r}. Write it without row numbers: to_csv(..., index=False)."
        )
    at = header.index("id")
    ids = [row[at] for row in body]
    if odd := next((i for i in ids if i != i.strip()), None):
        raise InvalidSubmission(
            f"'{path.name}': the id {odd[:60]!r} has blanks around it. Write it as it was issued."
        )
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
        raise InvalidSubmission(
            f"{where}: {len(bits)} answers for {len(set(ids))} different ids. Give one answer for "
            "each item."
        )
    return dict(zip(ids, bits, strict=True))
