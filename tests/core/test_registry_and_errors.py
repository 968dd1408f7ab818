import pytest

from aarlab.core.errors import Misconfigured
from aarlab.core.registry import Registry
from aarlab.core.settings import Home, home
from aarlab.evaluation.scoring.policies import POLICIES


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


def test_a_file_of_ones_own_registers_once_for_each_content(tmp_path, monkeypatch):
    monkeypatch.setattr(POLICIES, "_things", dict(POLICIES._things))
    path = tmp_path / "mine.py"
    text = "from aarlab.evaluation.scoring.policies import POLICIES\nPOLICIES.add('mine')({})\n"
    path.write_text(text.format(1))
    assert POLICIES[str(path)] == POLICIES[str(path)] == POLICIES["mine"] == 1
    path.write_text(text.format(2))
    assert POLICIES[str(path)] == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"mine\.py of your own thing cannot be read \(No such file"),
        ("x = 1", r"mine\.py registers no thing\. It must register exactly one"),
        ("x = 1\ndef (", r"mine\.py, line 2: invalid syntax"),
        ("x = 1\n\n1 / 0", r"mine\.py, line 3 fails .*ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", r"mine\.py, line 1 fails .*SystemExit: 3"),
        ("import no_such_module", r"line 1 fails .*ModuleNotFoundError: No module named"),
    ],
)
def test_a_file_of_ones_own_that_fails_is_one_sentence_with_its_line(tmp_path, text, words):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Misconfigured, match=words):
        Registry("thing")[str(path)]


def test_all_state_is_under_aar_home(monkeypatch, tmp_path):
    monkeypatch.setenv("AAR_HOME", str(tmp_path))
    assert home() == Home(tmp_path)
    assert all(
        p.is_relative_to(tmp_path) for p in (home().cache, home().problems, home().campaigns)
    )
