"""What researchers can read of a problem's data, compared with the secrets of the grader.

Legend: M items, F features of items that need no idea, such as the length of their line.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import rankdata

from aarlab.core.errors import Misconfigured
from aarlab.core.layout import PreparedFolder
from aarlab.core.strict_json import read_json, read_json_lines
from aarlab.runs.prepared import SPLITS

LEAST = 20  # items, below which nothing is said of correlations and order
PERFECT = 0.999  # a rank correlation, or a share of pairs in the right order
ALIKE = 0.9  # Jaccard similarity from which two inputs are near duplicates
MOST_ALIKE = 0.01  # share of the inputs of final that may have a near duplicate in feedback
FEW_PARTS = 4  # inputs of fewer parts are alike by nature and are not compared
RUNS_Z = 5.0  # of the runs test (Wald and Wolfowitz 1940)
PERIODS = range(2, 11)
SOME = 2000  # inputs of a split that are compared


@dataclass(frozen=True)
class Leak:
    """What was looked for, and what was found: "" where nothing was."""

    what: str
    found: str


Values = Mapping[str, Any]  # by item or unit


def leaks(prepared: PreparedFolder) -> list[Leak]:
    """Every comparison, with what it found."""
    rows = {split: _rows(prepared.inputs(split)) for split in SPLITS}
    secrets = {split: _columns(prepared, split) for split in SPLITS}
    found = [
        Leak("files of researchers that are secrets", _same_files(prepared)),
        Leak("secrets of feedback that are secrets of final", _shared_secrets(prepared)),
        Leak("public values that equal or decide a secret", _same_values(prepared, rows, secrets)),
    ]
    if all(rows.values()):
        found.append(Leak("inputs of final that feedback has", near_duplicates(rows)))
        for what, examine in (("order", _by_order), ("ids, lengths, sizes, times", _by_metadata)):
            words = [
                f"{split}: {w}"
                for split in SPLITS
                for name, values in secrets[split].items()
                if (w := examine(prepared, split, rows[split], name, values))
            ]
            found.append(Leak(f"secrets that follow from {what}", "; ".join(words)))
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_json_lines(path) if path.is_file() else []


def _columns(prepared: PreparedFolder, split: str) -> dict[str, Values]:
    """The secrets that have one plain value for each item or unit, by file and field."""
    found: dict[str, Values] = {}
    for path in sorted(prepared.secrets(split).rglob("*.json")):
        if path != prepared.units(split):
            found |= dict(_plain_columns(path.name, _read(path)))
    return found


def _read(path: Path) -> Any:
    """The plain value of a file of JSON; None where it is none."""
    try:
        return read_json(path)
    except Misconfigured:
        return None


def _plain_columns(name: str, found: Any) -> Iterator[tuple[str, Values]]:
    if not isinstance(found, dict) or not found:
        return
    if all(_plain(v) for v in found.values()):
        yield name, found
    elif all(isinstance(v, dict) for v in found.values()):
        for field in sorted(set.intersection(*(set(v) for v in found.values()))):
            if all(_plain(v[field]) for v in found.values()):
                yield f"{name}, {field}", {i: v[field] for i, v in found.items()}


def _plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


def _readable_files(prepared: PreparedFolder) -> list[Path]:
    """What researchers, or their code on final, can read."""
    found = (*prepared.public.rglob("*"), *prepared.sealed.rglob("*"))
    return sorted(path for path in found if path.is_file())


def _same_files(prepared: PreparedFolder) -> str:
    secret = {
        hashlib.sha256(p.read_bytes()).digest(): p
        for split in SPLITS
        for p in prepared.secrets(split).rglob("*")
        if p.is_file() and p != prepared.units(split)
    }
    root = prepared.root
    return "; ".join(
        f"{path.relative_to(root)} is the same as {same.relative_to(root)}"
        for path in _readable_files(prepared)
        if (same := secret.get(hashlib.sha256(path.read_bytes()).digest()))
    )


def _shared_secrets(prepared: PreparedFolder) -> str:
    feedback, final = (prepared.secrets(split) for split in SPLITS)
    return "; ".join(
        f"{path.name} is the same in both"
        for path in sorted(feedback.rglob("*"))
        if path.is_file()
        and (other := final / path.relative_to(feedback)).is_file()
        and other.read_bytes() == path.read_bytes()
    )


def _same_values(
    prepared: PreparedFolder,
    rows: Mapping[str, list[dict[str, Any]]],
    secrets: Mapping[str, Mapping[str, Values]],
) -> str:
    """Fields of inputs, and {id: value} files, that equal or decide a secret."""
    maps = [
        (str(p.relative_to(prepared.root)), column)
        for p in _readable_files(prepared)
        if p.suffix == ".json"
        for _, column in _plain_columns(p.name, _read(p))
    ]
    found = []
    for split in SPLITS:
        fields = [(f"'{f}' of {split}", v) for f, v in _fields(rows[split]).items()]
        for name, values in secrets[split].items():
            for where, column in (*fields, *maps):
                if values.keys() <= column.keys() and (
                    how := _follows([column[i] for i in values], list(values.values()))
                ):
                    found.append(f"{where} {how} {name} of {split}")
    return "; ".join(found)


def _fields(rows: Sequence[dict[str, Any]]) -> dict[str, Values]:
    """The plain values of inputs that all of them have, by the field's path."""
    flat = {row["id"]: dict(_leaves(row)) for row in rows}
    if not flat:
        return {}
    common = set.intersection(*(set(f) for f in flat.values())) - {"id"}
    return {name: {i: f[name] for i, f in flat.items()} for name in sorted(common)}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value inside a JSON value, with its path."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _leaves(inside, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for n, inside in enumerate(value):
            yield from _leaves(inside, f"{path}.{n}")
    elif value is not None:
        yield path, value


def _follows(public: Sequence[Any], secret: Sequence[Any]) -> str:
    """How a public value gives the secret away: "equals", "decides", or "" where it does not."""
    if len(set(map(_key, secret))) < 2:
        return ""
    if list(map(_key, public)) == list(map(_key, secret)):
        return "equals"
    return "decides" if len(secret) >= LEAST and _decides(public, secret) else ""


def _key(value: Any) -> Any:
    return float(value) if isinstance(value, bool | int | float) else value


def _decides(feature: Sequence[Any], secret: Sequence[Any]) -> bool:
    """Whether a feature of few values has one secret for each, or orders the secrets perfectly."""
    pairs = {(_key(f), _key(s)) for f, s in zip(feature, secret, strict=True)}
    values = {f for f, _ in pairs}
    if len(pairs) == len(values) and len(values) <= len(secret) / 4:
        return True
    numbers = [v for column in (feature, secret) for v in column]
    return all(isinstance(v, bool | int | float) for v in numbers) and _ordered(feature, secret)


def _ordered(feature: Sequence[float], secret: Sequence[float]) -> bool:
    """Whether numbers have the order of the secrets: a rank correlation, or where the secrets
    have two values the share of pairs in the right order."""
    x, y = np.asarray(feature, float), np.asarray(secret, float)
    if len(np.unique(x)) < 2:
        return False
    if len(np.unique(y)) == 2:
        above = y == y.max()
        ranks, n = rankdata(x), int(above.sum())
        area = (ranks[above].sum() - n * (n + 1) / 2) / (n * (len(y) - n))
        return bool(max(area, 1 - area) >= PERFECT)
    return bool(abs(np.corrcoef(rankdata(x), rankdata(y))[0, 1]) >= PERFECT)


def _by_order(
    prepared: PreparedFolder, split: str, rows: list[dict[str, Any]], name: str, values: Values
) -> str:
    """Whether the secrets follow from the order of the items in the file, or of their ids."""
    ids = [row["id"] for row in rows if row["id"] in values]
    for how, order in (("in the file", ids), ("by their ids", sorted(ids))):
        if words := order_words([values[i] for i in order]):
            return f"{name} {words} in the order of the items {how}"
    return ""


def order_words(secret: Sequence[Any]) -> str:
    """What is regular in secrets that should have a random order; "" where nothing is."""
    numbers = _ranks(secret)
    if len(numbers) < LEAST or len(set(numbers)) < 2:
        return ""
    steps = np.diff(numbers)
    if (steps >= 0).all() or (steps <= 0).all():
        return "is sorted"
    for p in PERIODS:
        if len(numbers) >= 4 * p and all(numbers[n] == numbers[n % p] for n in range(len(numbers))):
            return f"repeats every {p} items"
    z = runs_z(numbers)
    return f"has runs that are no chance (z = {z:.1f})" if abs(z) > RUNS_Z else ""


def _ranks(secret: Sequence[Any]) -> list[int]:
    """Values as numbers in their order; texts in alphabetical order."""
    keys = [_key(v) for v in secret]
    if not all(isinstance(k, float) for k in keys):
        keys = [str(k) for k in keys]
    at = {k: n for n, k in enumerate(sorted(set(keys)))}
    return [at[k] for k in keys]


def runs_z(numbers: Sequence[float]) -> float:
    """z of the number of runs above and below the middle: of many values the median, of two the
    mean."""
    x = np.asarray(numbers, float)
    above = x > (np.median(x) if len(np.unique(x)) > 2 else x.mean())
    a, b = int(above.sum()), int((~above).sum())
    if not a or not b:
        return 0.0
    runs = 1 + int((above[1:] != above[:-1]).sum())
    mean = 1 + 2 * a * b / (a + b)
    variance = (mean - 1) * (mean - 2) / (a + b - 1)
    return (runs - mean) / variance**0.5 if variance > 0 else 0.0


def _by_metadata(
    prepared: PreparedFolder, split: str, rows: list[dict[str, Any]], name: str, values: Values
) -> str:
    """Whether a feature that needs no idea decides the secrets."""
    kept = [row for row in rows if row["id"] in values]
    secret = [values[row["id"]] for row in kept]
    if len(kept) < LEAST or len(set(map(_key, secret))) < 2:
        return ""
    features = _features(prepared, prepared.inputs(split), kept)
    named = [what for what, feature in features.items() if _decides(feature, secret)]
    return f"{' and '.join(named)} decide{'s' if len(named) == 1 else ''} {name}" if named else ""


def _features(
    prepared: PreparedFolder, inputs: Path, rows: Sequence[dict[str, Any]]
) -> dict[str, list[Any]]:
    """F features by name, each of M items: of id and line, and of a file that has the id as its
    name."""
    ids = [row["id"] for row in rows]
    found: dict[str, list[Any]] = {
        "the id without its digits": [re.sub(r"\d+", "", i) for i in ids],
        "the length of the id": [len(i) for i in ids],
        "the length of the line": [len(json.dumps(row)) for row in rows],
    }
    if all(re.search(r"\d", i) for i in ids):
        found["the last digit of the id"] = [re.findall(r"\d", i)[-1] for i in ids]
    files = {path.stem: path.stat() for path in _readable_files(prepared) if path != inputs}
    if set(ids) <= files.keys():
        found["the size of the item's file"] = [files[i].st_size for i in ids]
        found["the time of the item's file"] = [files[i].st_mtime_ns for i in ids]
    return found


def near_duplicates(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    """How many inputs of final are nearly in feedback, where these are too many."""
    compared = {
        split: {row["id"]: p for row in rows[split][:SOME] if len(p := _parts(row)) >= FEW_PARTS}
        for split in SPLITS
    }
    if not all(compared.values()):
        return ""
    known: dict[Any, int] = {}
    entries = [_entries(compared[split].values(), known) for split in SPLITS]
    sizes = [(len(compared[split]), len(known)) for split in SPLITS]
    a, b = (csr_matrix(e, shape=size) for e, size in zip(entries, sizes, strict=True))
    both = (b @ a.T).tocoo()
    sizes_a, sizes_b = (np.asarray(m.sum(axis=1)).ravel() for m in (a, b))
    jaccard = both.data / (sizes_b[both.row] + sizes_a[both.col] - both.data)
    alike = both.row[jaccard >= ALIKE]
    count = len(set(alike.tolist()))
    if count <= MOST_ALIKE * len(compared["final"]):
        return ""
    example = list(compared["final"])[int(alike[0])]
    return f"{count} of {len(compared['final'])} inputs of final, e.g. near '{example}'"


def _parts(row: Mapping[str, Any]) -> frozenset[Any]:
    """What an input is compared by: plain values with their places, and of texts every three words
    that follow each other."""
    found: set[Any] = set()
    for path, value in _leaves({k: v for k, v in row.items() if k != "id"}):
        words = value.lower().split() if isinstance(value, str) else []
        if len(words) > 3:
            found |= set(zip(words, words[1:], words[2:], strict=False))
        else:
            found.add((path, value))
    return frozenset(found)


def _entries(
    parts: Iterable[frozenset[Any]], known: dict[Any, int]
) -> tuple[Any, tuple[list[int], list[int]]]:
    """The entries of a matrix of items x parts, as scipy's sparse matrices take them."""
    at = [(n, known.setdefault(p, len(known))) for n, some in enumerate(parts) for p in some]
    return np.ones(len(at)), ([n for n, _ in at], [k for _, k in at])
