"""Presets are read strictly: what ships is the study's recipe, and a file of one's own says what it
lacks."""

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.models.preset import preset

MODELS = "weak: {name: w, folder: models/w}\nstrong: {name: s}\n"


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_what_ships_is_the_studys_recipe():
    qwen = preset("qwen")
    assert (qwen.weak.name, qwen.strong.name) == ("Qwen/Qwen1.5-0.5B-Chat", "Qwen/Qwen3-4B-Base")
    r = qwen.recipe
    assert (r.rank, r.alpha, r.batch, r.epochs, r.rate, r.warmup, r.max_tokens) == (
        32,
        32,
        32,
        5,
        1e-4,
        0.1,
        8192,
    )
    assert qwen.teacher_recipe == r
    assert qwen.tasks == ("qwen-chat", "qwen-math", "qwen-code")


def test_folders_are_seen_from_the_presets_own(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    found = preset(written(tmp_path, f"name: mine\n{MODELS}tasks: [a]\n"))
    assert found.weak.folder == tmp_path / "models" / "w"
    assert found.strong.folder is None
    assert found.tasks == ("a",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"name: mine\n{MODELS}recipe: {{ranks: 4}}",
            "recipe.ranks: unknown field, did you mean rank",
        ),
        (f"name: mine\n{MODELS}recipe: {{rate: 0}}", "recipe.rate: Input should be greater than 0"),
        (
            f"name: mine\n{MODELS}recipe: {{screen_layers: 2}}",
            "recipe.screen_layers: Value error, the screening tier was",
        ),
        (
            f"name: mine\n{MODELS}weak_recipe: {{screen_layers: 2}}",
            "screen_layers: Value error, the screening tier was",
        ),
        ("name: mine\nweak: {name: w}", "strong: Field required"),
        (f"name: mine\n{MODELS}depths: [0.5]", "depths"),
        ("name: [", "is not valid YAML"),
        ("", "mine.yaml"),
    ],
)
def test_each_slip_is_named(tmp_path, text, words):
    with pytest.raises(Misconfigured) as caught:
        preset(written(tmp_path, text))
    assert words in str(caught.value)


def test_a_recipe_that_names_no_screening_tier_still_loads(tmp_path):
    """`screen_layers: null` was in recipes that older versions wrote."""
    assert (
        preset(written(tmp_path, f"name: mine\n{MODELS}recipe: {{screen_layers: null}}")).recipe
        == preset("qwen").recipe
    )


def test_an_unknown_name_answers_with_the_known_ones():
    with pytest.raises(Misconfigured, match="Known: qwen"):
        preset("quen")
    with pytest.raises(Misconfigured, match="no preset file"):
        preset("no/such.yaml")
