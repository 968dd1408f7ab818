"""`aar init`: its files say what they should, and its README's commands lead to a campaign."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from aarlab.core.errors import Misconfigured
from aarlab.fleet.campaign import load
from aarlab.models.preset import preset
from aarlab.problems.example.new_example import write_example
from aarlab.problems.example.sentences import NOUNS, PAST, PREPOSITIONS, sentences
from aarlab.problems.own_items import own_items

AAR = [sys.executable, "-c", "from aarlab.cli.main import main; main()"]


def test_the_files_are_read_by_what_the_readme_gives_them_to(tmp_path):
    made = {path.name: path for path in write_example(tmp_path / "new")}
    assert set(made) == {"README.md", "campaign.yaml", "preset.yaml", "method.py", "rows.jsonl"}
    campaign = load(made["campaign.yaml"])
    assert campaign.problem == str(tmp_path / "new" / "items.jsonl")
    assert (campaign.name, campaign.student, campaign.policy) == ("mine", "smollm2", "default")
    found = own_items(str(made["rows.jsonl"]))
    assert Counter(item.label for item in found.items) == {0: 999, 1: 999}
    assert found.repeated == found.empty == 0
    models = preset(str(made["preset.yaml"]))
    assert (models.weak.name, models.strong.name) == ("my-small-model", "my-large-model")
    assert (tmp_path / "new" / ".aar").is_dir()


def test_the_commands_of_the_readme_name_files_that_are_there_then(tmp_path):
    write_example(tmp_path / "new")
    text = (tmp_path / "new" / "README.md").read_text()
    commands = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert commands == [
        "aar items rows.jsonl --out items.jsonl",
        "aar run campaign.yaml",
        "aar report mine",
        "aar bench --method method.py --method naive --task items.jsonl",
    ]


def test_one_sentence_of_a_pair_is_good_by_construction():
    pairs = sentences(600)
    assert len(set(pairs)) == 600
    assert all(good != bad for good, bad in pairs)
    assert all(s[0].isupper() and s.endswith(".") for pair in pairs for s in pair)
    wrong = {bad for _, bad, _ in PAST}
    prepositions = {f"{words} {bad} {rest}" for words, _, bad, rest in PREPOSITIONS}
    kinds = Counter(
        "past"
        if wrong & set(bad.rstrip(".").split())
        else "preposition"
        if any(p in bad or p.capitalize() in bad for p in prepositions)
        else "number"
        for _, bad in pairs
    )
    assert kinds == {"past": 200, "preposition": 200, "number": 200}
    plural = [
        (good, bad)
        for good, bad in pairs
        if not wrong & set(bad.rstrip(".").split())
        and re.match(rf"The ({'|'.join(NOUNS)})s ", good)
    ]
    assert len(plural) > 50
    assert all(" are " in good and " is " in bad for good, bad in plural)


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "kept.txt").write_text("x")
    with pytest.raises(Misconfigured, match=r"is not empty: it has 'kept.txt'"):
        write_example(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
    with pytest.raises(Misconfigured, match="is no folder"):
        write_example(tmp_path / "kept.txt")


@pytest.mark.process
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_commands_of_the_readme_lead_to_a_finished_campaign(tmp_path):
    write_example(tmp_path / "new")
    text = (tmp_path / "new" / "README.md").read_text()
    env = {k: v for k, v in os.environ.items() if k != "AAR_HOME"} | {"COLUMNS": "200"}
    printed = []
    for command in re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL):
        argv = [*AAR, *command.removeprefix("aar ").split()]
        done = subprocess.run(
            argv, cwd=tmp_path / "new", env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    assert "1,998 items" in printed[0]
    assert "Baselines, PGR on final" in printed[1]
    assert (tmp_path / "new" / ".aar" / "campaigns" / "mine" / "report" / "report.html").is_file()
