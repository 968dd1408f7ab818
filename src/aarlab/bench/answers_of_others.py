"""Answers that somebody else made, graded as our own are: any number of seeds under their own
names, for the operator alone.

Legend: S seeds, M items of a split in the order of their sorted ids.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aarlab.core.answers import by_seed
from aarlab.core.errors import InvalidSubmission, Misconfigured
from aarlab.core.printable import one_line
from aarlab.core.records import Record
from aarlab.evaluation.scoring.grade import answer_matrix, takes_strings
from aarlab.evaluation.scoring.hidden_labels import load_answers, published_ids
from aarlab.researchers.answer_files import read_answers
from aarlab.testbeds.gap import AnchorScores, Score
from aarlab.testbeds.testbed import Testbed

NAME = 60  # characters of a file's name


class GradedAnswers(Record):
    """One file of answers: its score, or why it has none."""

    name: str
    seeds: int
    score: Score | None
    refused: str = ""


def grade_answers(testbed: Testbed, files: Sequence[Path], split: str) -> list[GradedAnswers]:
    """Grade files of answers (see `researchers.answer_files`) on a split of a testbed that is set
    up.

    Raises:
        Misconfigured: the testbed has no labels of that split.
    """
    labels = load_answers(testbed.folder).get(split)
    if not labels:
        raise Misconfigured(f"{testbed.folder.name} has no labels under '{split}'. Name another.")
    ids, anchors = sorted(labels), AnchorScores(testbed)
    strings = takes_strings(list(labels), published_ids(testbed.folder, split) or list(labels))
    truth_M = np.array([labels[i] == 1 for i in ids])
    found = []
    for path in files:
        try:
            given = by_seed(read_answers(path))
            answers_SM = answer_matrix(given, ids, sorted(given), strings=strings)
            score = anchors.score(split, answers_SM == truth_M)
            found.append(GradedAnswers(name=path.name, seeds=len(given), score=score))
        except InvalidSubmission as error:
            found.append(GradedAnswers(name=path.name, seeds=0, score=None, refused=str(error)))
    return found


def print_answers(rows: Sequence[GradedAnswers], title: str, console: Console) -> None:
    """One table of all scores, and below it why a file has none."""
    table = Table(title=title, box=None)
    for name in ("answers", "seeds", "accuracy", "PGR"):
        table.add_column(name, overflow="fold")
    for row in rows:
        found = row.score
        scores = ("-", "refused") if found is None else (f"{found.accuracy}", f"{found.pgr}")
        table.add_row(Text(one_line(row.name, NAME)), str(row.seeds), *scores)
    console.print(table)
    for row in rows:
        if row.refused:
            console.print(Text(f"{one_line(row.name, NAME)}: {row.refused}"), soft_wrap=True)
