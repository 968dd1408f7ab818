"""A problem's own families of methods, in place of the study's."""

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.records import STUDY_FAMILIES
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.problems.folder.shipped_folders import problem_of, shipped_folders
from tests.problems.folders_made import CONTRACT, write_problem


def test_a_folder_without_families_has_the_studys(tmp_path):
    assert read_problem(write_problem(tmp_path / "p")).contract.families == STUDY_FAMILIES


def test_those_that_ship_name_their_own_and_a_place_for_the_rest():
    names = shipped_folders()
    assert names
    for name in names:
        families = problem_of(name).contract.families
        assert families[-1] == "other"
        assert not set(families) <= set(STUDY_FAMILIES)


@pytest.mark.parametrize(
    ("families", "words"),
    [
        ("[one]", "families"),
        ("[one, two, one]", r"families: 'one' occurs twice|'one' occurs twice"),
        ("[one, 'T\\u202ewo']", r"families"),
        ("[one, UPPER]", r"families"),
    ],
)
def test_what_is_no_taxonomy_is_refused_with_its_place(tmp_path, families, words):
    made = write_problem(tmp_path / "p", contract=f"{CONTRACT}families: {families}\n")
    with pytest.raises(Misconfigured, match=rf"problem\.yaml.*({words})"):
        read_problem(made)
