"""The report's section on the diversity of ideas, from entries made by hand, and as it is
written."""

import json
import re

import pytest

from aarlab.core.records import Entry, Family
from aarlab.report.diversity import diversity_rows
from aarlab.report.pages import environment
from tests.fleet.fleets import submission as submitted

BAGGED = {"method.py": "def run(task, seed):\n    return parts.bagged(task, heads=8)\n"}
PLAIN = {"method.py": "def run(task, seed):\n    return 0\n"}
CODE = {"b": BAGGED, "p": PLAIN}


def entry(seq: int, kind: str, body: dict, who: str = "r1") -> Entry:
    at = f"2026-01-01T00:{seq // 60:02d}:{seq % 60:02d}+00:00"
    return Entry(seq=seq, at=at, who=who, kind=kind, text=json.dumps(body), prev="", hash="")


def submission(seq: int, family: Family, snapshot: str, who: str = "r1") -> Entry:
    return entry(
        seq,
        "submission",
        submitted(seq, improved=False, level=0.3, family=family.value, snapshot=snapshot),
        who,
    )


def finding(seq: int, family: Family, title: str) -> Entry:
    return entry(
        seq, "finding", {"kind": "result", "family": family.value, "title": title, "text": ""}
    )


@pytest.fixture
def rows():
    reported = [submission(n, Family.ENSEMBLE, "b", f"r{n % 6}") for n in range(1, 7)]
    reported += [submission(7, Family.CURRICULUM, "b"), submission(8, Family.OTHER, "p")]
    return diversity_rows(
        reported,
        [finding(9, Family.ENSEMBLE, "Bagging"), finding(10, Family.ENSEMBLE, "Evolution")],
        CODE.__getitem__,
    )


def test_declared_stands_beside_what_code_and_words_say(rows):
    by = {f.family: f for f in rows.families}
    assert set(by) == set(Family)
    ensemble = by[Family.ENSEMBLE]
    assert (ensemble.submissions.estimate, ensemble.submissions_by_code.estimate) == (6, 7)
    assert (ensemble.findings.estimate, ensemble.findings_by_words.estimate) == (2, 1)
    assert (
        by[Family.CURRICULUM].submissions.estimate,
        by[Family.CURRICULUM].submissions_by_code.estimate,
    ) == (1, 0)
    assert rows.unsupported.estimate == 2
    assert [(u.id, u.declared, u.classified) for u in rows.doubted] == [
        ("r-000007", Family.CURRICULUM, Family.ENSEMBLE),
        ("f-000010", Family.ENSEMBLE, Family.EVOLUTIONARY),
    ]


def test_entropy_is_of_what_was_declared(rows):
    assert rows.bits.n == 8
    assert rows.effective.estimate == pytest.approx(2**rows.bits.estimate)
    assert rows.findings_bits.n == 2
    assert [(a.idea.estimate, a.bits.n) for a in rows.across] == [(1, 6)], (
        "six researchers have a first idea, fewer a second"
    )
    assert rows.alarm is None


def test_nothing_is_unknown_and_not_zero():
    rows = diversity_rows([], [], CODE.__getitem__)
    assert (
        rows.bits,
        rows.normalised,
        rows.effective,
        rows.findings_bits,
        rows.over_time,
        rows.across,
    ) == (None,) * 4 + (
        (),
        (),
    )
    assert rows.unsupported.estimate == 0


def test_a_collapse_is_an_alarm():
    wide = [submission(n, tuple(Family)[n % 8], "b") for n in range(80)]
    narrow = [submission(80 + n, Family.ENSEMBLE, "b") for n in range(40)]
    assert "ensemble" in diversity_rows(wide + narrow, [], CODE.__getitem__).alarm


@pytest.mark.parametrize("kind", ["md", "html"])
def test_it_is_written_in_both_kinds(kind, rows):
    """The section alone: the templates ask for nothing that the record lacks."""
    source = environment(kind).loader.get_source(environment(kind), f"report.{kind}.jinja")[0]
    start, end = (
        source.index("Diversity of ideas"),
        source.index("Researchers\n" if kind == "md" else "<h2>Researchers"),
    )
    section = environment(kind).from_string(source[start:end])

    class Report:
        diversity = rows.model_copy(update={"alarm": "ideas have <collapsed>"})

    text = section.render(r=Report)
    assert "effective families" in text
    assert re.search(r"r-000007 \(r1\\?: curriculum, looks like ensemble\)", text)
    assert "<collapsed>" not in text
