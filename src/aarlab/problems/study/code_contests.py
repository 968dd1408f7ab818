"""CodeContests, read a few rows at a time: contest problems, people's programs and the judge's
verdicts (Li et al. 2022)."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from aarlab.core.errors import Misconfigured
from aarlab.core.hub import HubSnapshot, Source

# 7.5 GB
CODE_CONTESTS = Source("deepmind/code_contests", "802411c3", "CC-BY-4.0", ("data/train-*.parquet",))
COLUMNS = ("name", "description", "source", "cf_rating", "solutions", "incorrect_solutions")
PYTHON3, CODEFORCES, ATCODER = 3, 2, 5  # the data set's numbers for a language and for sources
# of Codeforces problems; the first rating of level 2, of level 3 and of none
RATINGS = (1_200, 1_600, 2_000)
CONTESTS = {"Beginner": 1, "Regular": 2, "Grand": 3}  # of AtCoder
MOST_STATEMENT = 12_000  # characters
ROWS = 16  # read at once; a row can hold thousands of programs

Part = Literal["inside", "outside"]
Dropped = Counter[str]  # reason -> rows that are no candidates


class Contest(NamedTuple):
    """A problem and the Python programs that its judge took or refused."""

    name: str
    statement: str
    part: Part
    level: int
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def contests(snapshot: HubSnapshot, dropped: Dropped) -> Iterator[Contest]:
    """The problems of the two judges with Python programs, read a few at a time; of a row, only
    what is needed.

    Raises:
        Misconfigured: a file is damaged or has not the columns of CodeContests.
    """
    for path in snapshot.sha256:
        for row in _rows(snapshot.folder / path):
            place = placed(row)
            if place is None:
                dropped["problems of other judges, or without a difficulty in range"] += 1
            elif (fault := _fault(row["description"])) is not None:
                dropped[fault] += 1
            else:
                yield Contest(
                    row["name"],
                    row["description"].strip(),
                    *place,
                    row["solutions"],
                    row["incorrect_solutions"],
                )


def placed(row: Mapping[str, Any]) -> tuple[Part, int] | None:
    """The part and level of a problem: by Codeforces' rating, or by the kind of AtCoder's contest;
    None if it has no place."""
    if row["source"] == CODEFORCES and 0 < row["cf_rating"] < RATINGS[-1]:
        return "inside", 1 + sum(row["cf_rating"] >= first for first in RATINGS[:-1])
    kind = re.search(r"AtCoder (\w+) Contest", row["name"])
    if row["source"] == ATCODER and kind and kind[1] in CONTESTS:
        return "outside", CONTESTS[kind[1]]
    return None


def _fault(statement: str) -> str | None:
    if "<image>" in statement:
        return "problems whose statement has lost its pictures"
    if not statement.strip() or len(statement) > MOST_STATEMENT:
        return f"problems with an empty statement or one of more than {MOST_STATEMENT} characters"
    return None


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file with the needed columns; of the programs, those in Python 3."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Misconfigured(f"{path.name} needs pyarrow: pip install 'aarlab[study]'.") from error
    try:
        file = parquet.ParquetFile(path)
        if missing := set(COLUMNS) - set(file.schema_arrow.names):
            raise Misconfigured(
                f"{path} has no column {', '.join(sorted(missing))}: it is no file of "
                "CodeContests.",
                path=path,
            )
        for batch in file.iter_batches(batch_size=ROWS, columns=list(COLUMNS)):
            plain = batch.select(COLUMNS[:4]).to_pylist()
            programs = [_python(batch.column(name)) for name in COLUMNS[4:]]
            for row, right, wrong in zip(plain, *programs, strict=True):
                fields = {
                    "name": row["name"] or "",
                    "description": row["description"] or "",
                    "source": row["source"],
                }
                yield fields | {
                    "cf_rating": row["cf_rating"] or 0,
                    "solutions": tuple(right),
                    "incorrect_solutions": tuple(wrong),
                }
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{path} is cut off or damaged ({error}). Download it again.", path=path
        ) from error


def _python(column: Any) -> list[list[str]]:
    """By row, the programs in Python 3 of a column of {language: [..], solution: [..]}; no other
    becomes a Python object."""
    fields = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    languages, texts = fields["language"], fields["solution"]
    rows = np.flatnonzero(languages.flatten().to_numpy(zero_copy_only=False) == PYTHON3)
    owners = languages.value_parent_indices().to_numpy()[rows]
    found: list[list[str]] = [[] for _ in range(len(column))]
    for owner, text in zip(owners.tolist(), texts.flatten().take(rows).to_pylist(), strict=True):
        found[owner].append(text)
    return found
