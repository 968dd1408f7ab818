import pytest

from aarlab.core.errors import InvalidSubmission, Misconfigured, Transient, Unauthorised
from aarlab.core.registry import Registry
from aarlab.core.settings import Home, home


def test_an_unknown_name_answers_with_the_known_ones():
    things = Registry("thing")
    things.add("a")(1)
    assert things["a"] == 1
    assert "a" in things
    with pytest.raises(Misconfigured, match=r"no thing named 'b'\. Known: a"):
        things["b"]


def test_a_name_is_taken_once():
    things = Registry("thing")
    things.add("a")(1)
    with pytest.raises(Misconfigured, match="already a thing"):
        things.add("a")(2)


def test_every_error_says_whose_move_it_is():
    moves = [kind("x").whose_move for kind in (InvalidSubmission, Unauthorised, Misconfigured, Transient)]
    assert moves == ["submitter", "submitter", "operator", "try again"]


def test_all_state_is_under_aar_home(monkeypatch, tmp_path):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    assert home() == Home(tmp_path)
    assert all(p.is_relative_to(tmp_path) for p in (home().cache, home().problems, home().campaigns))
