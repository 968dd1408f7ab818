"""`aar directions` as a process, against a Messages API on loopback that plays what it is given."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Family
from aarlab.diversity.language_model import MODEL, LanguageModel
from aarlab.fleet.directions import load_directions, prompts_version
from aarlab.fleet.drafting import as_yaml, draft
from tests.diversity.messages_api import messages_api

CARD = {"name": "toy", "card": "Sort the pears.", "secret": "never shown"}
NINE = {
    "problem": "toy",
    "undirected": "Find some way to sort the pears well.",
    "directed": [
        {"family": f.value, "prompt": f"Perhaps {f.value[::-1]} matters. Does it?"}
        for f in list(Family)[:9]
    ],
}


def aar(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "from aarlab.cli.main import main; main()"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ANTHROPIC")}
    argv = [sys.executable, "-c", code, "directions", *words]
    return subprocess.run(
        argv, env=clean | env, capture_output=True, text=True, check=False, timeout=200
    )


@pytest.mark.process
def test_the_command_writes_a_file_that_a_campaign_can_read(tmp_path):
    out = tmp_path / "made" / "mine.yaml"
    with messages_api("```yaml\n" + yaml.safe_dump(NINE) + "```") as api:
        done = aar(
            "small-math", "--out", str(out), ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=api.url
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"directions: {out}"
    assert load_directions(out).model_dump(mode="json") == NINE
    assert f"Drafted by {MODEL}, prompts {prompts_version()[:12]}" in out.read_text()
    asked = api.asked[0]["messages"][0]["content"]
    assert "small-math" in asked
    assert all(f.value in asked for f in Family)


@pytest.mark.process
def test_without_a_key_it_says_what_to_do():
    done = aar("small-math")
    assert done.returncode == 2
    assert done.stderr.startswith("error:")
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert "weak-to-strong.yaml" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("given", "words"),
    [("poetry", "no problem named"), ("none.json", "Cannot read"), ("[]", "not a problem's card")],
)
def test_a_problem_that_is_none_is_refused(tmp_path, given, words):
    path = tmp_path / "card.json"
    path.write_text(given)
    done = aar(str(path) if given == "[]" else given, ANTHROPIC_API_KEY="k")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.process
def test_a_published_card_is_read_and_only_what_is_public_of_it_is_sent(tmp_path):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(CARD))
    with messages_api(yaml.safe_dump(NINE)) as api:
        done = aar(str(path), ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=api.url)
    assert yaml.safe_load(done.stdout) == NINE
    assert "Sort the pears." in api.asked[0]["messages"][0]["content"]
    assert "never shown" not in api.asked[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("I would rather not.", "Run it again"),
        (
            yaml.safe_dump(NINE | {"directed": NINE["directed"][:8]}),
            "8 directions of 8 families instead of 9 of 9",
        ),
        (
            yaml.safe_dump(
                NINE | {"directed": [d | {"family": "other"} for d in NINE["directed"]]}
            ),
            "9 directions of 1 families",
        ),
        (
            yaml.safe_dump(
                NINE | {"directed": [d | {"family": "magic"} for d in NINE["directed"]]}
            ),
            "'magic' is none of the problem's families",
        ),
    ],
)
def test_an_answer_that_is_no_such_set_is_not_written(answer, words):
    with messages_api(answer) as api, pytest.raises(Transient, match=words):
        draft(CARD, LanguageModel(key="k", url=api.url))


def test_a_refused_key_is_the_operators_to_mend():
    with messages_api(401) as api, pytest.raises(Misconfigured, match="401"):
        draft(CARD, LanguageModel(key="k", url=api.url))


def test_what_is_written_is_what_is_read(tmp_path):
    with messages_api(yaml.safe_dump(NINE)) as api:
        found = draft(CARD, LanguageModel(key="k", url=api.url))
    (tmp_path / "d.yaml").write_text(as_yaml(found, "m"))
    assert load_directions(tmp_path / "d.yaml") == found
