"""The classifier on hand-written findings, on what ships, and where it must not be fooled."""

import inspect
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.records import Family
from aarlab.diversity.families import LEXICON, classified, compare
from aarlab.methods.library import METHODS

FINDINGS = yaml.safe_load((Path(__file__).parent / "findings.yaml").read_text())


def test_there_are_findings_of_every_family_and_rows_for_all_but_other():
    assert set(FINDINGS) == set(Family)
    assert set(yaml.safe_load(LEXICON.read_text())) == set(Family) - {Family.OTHER}
    texts = [row["text"] for rows in FINDINGS.values() for row in rows]
    assert len(set(texts)) == len(texts) == 66


def test_held_out_findings_are_classed_as_measured():
    """docs/diversity.md states 32 of 33; a change of the lexicon that loses more must change the
    document."""
    right = [
        classified(**row).family == family for family, rows in FINDINGS.items() for row in rows[3:]
    ]
    assert sum(right) >= 32


@pytest.mark.parametrize("name", list(METHODS))
def test_the_code_of_what_ships_is_of_its_family(name):
    code = inspect.getsource(METHODS[name].run)
    code = code[code.index("def ") :].replace(METHODS[name].run.__name__, "run", 1)
    assert classified(code={"method.py": code}).family is METHODS[name].family


def test_what_is_denied_does_not_count():
    assert classified(text="Bagging of eight heads.").family is Family.ENSEMBLE
    assert (
        classified(text="Unlike bagging, without an ensemble and not a committee.").family
        is Family.OTHER
    )


def test_comments_docstrings_and_declared_name_are_not_code():
    bare = "def run(task, seed):\n    return 0\n"
    code = (
        '"""evolutionary: mutate a population."""\n# fitness, crossover\nRECIPE = "genetic"\n'
        + bare
    )
    assert classified(code={"method.py": code}) == classified(code={"method.py": bare})


def test_a_title_says_more_than_a_text_and_nothing_is_other():
    assert classified(title="Bagging", text="A curriculum.").family is Family.ENSEMBLE
    assert classified(title="Curriculum", text="Bagging.").family is Family.CURRICULUM
    assert classified() == classified(title="Hello", text="", code={})
    assert classified().family is Family.OTHER


def test_a_composed_idea_supports_each_of_its_families_and_no_third():
    found = classified(text="Bagging of heads that are fit with a curriculum from easy to hard.")
    assert found.supports(Family.ENSEMBLE)
    assert found.supports(Family.CURRICULUM)
    assert not found.supports(Family.EVOLUTIONARY)
    assert not found.supports(Family.OTHER)


def test_disagreement_is_counted_by_hand():
    bagging, nothing = classified(text="bagging"), classified()
    made = compare(
        [
            ("a", Family.ENSEMBLE, bagging),
            ("b", Family.CURRICULUM, bagging),
            ("c", Family.OTHER, nothing),
        ]
    )
    assert made.declared == {Family.ENSEMBLE: 1, Family.CURRICULUM: 1, Family.OTHER: 1}
    assert made.classified == {Family.ENSEMBLE: 2, Family.OTHER: 1}
    assert made.unsupported == (("b", Family.CURRICULUM, Family.ENSEMBLE),)


@given(title=st.text(max_size=100), text=st.text(max_size=500), code=st.text(max_size=500))
def test_any_idea_has_a_family_with_the_most_evidence(title, text, code):
    found = classified(title=title, text=text, code={"method.py": code})
    assert found.supports(found.family)
    if found.family is not Family.OTHER:
        assert found.evidence[found.family.value] == max(found.evidence.values())
