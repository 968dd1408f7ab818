import json
import random
import subprocess
from pathlib import Path

import pytest

from aarlab.core.records import Family
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.methods.method import check_output
from aarlab.researchers import search
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.lab import Lab
from aarlab.researchers.recipe import OPTIONS, PLAIN, families_of, key_of, mutate, options_of, recipe_in, source_of
from aarlab.researchers.researcher import Brief, Inside, Life, Options
from aarlab.researchers.search import SPENT, Memory, choose, experiment, family_of, read_forum, research
from aarlab.runs.data import load_task
from tests.researchers.gate import CUT, Gate

BRIEF = Brief(name="ann", direction="?", family=Family.ENSEMBLE, seed=1, experiments=5)
EVERY = [(d, o) for d, options in OPTIONS.items() for o in options]


@pytest.mark.parametrize(("dimension", "option"), EVERY)
def test_every_option_writes_a_method_file_that_runs(bed, dimension, option):
    recipe = PLAIN | {dimension: option}
    source = source_of(recipe, family=Family.OTHER, author="ann")
    assert recipe_in(source) == recipe
    space: dict = {}
    exec(source, space)
    task = load_task(bed.public, bed.public, "feedback", 1)
    check_output(space["run"](task, 1), len(task.test))


def test_every_family_has_an_option():
    for family in Family:
        assert options_of(family)


def test_files_of_another_kind_hold_no_recipe():
    for source in ("", "RECIPE = {bad", 'RECIPE = {"layers": "__import__(1)"}', "def run(task, seed): ..."):
        assert recipe_in(source) is None


def test_a_recipe_is_never_proposed_twice():
    memory, rng = Memory(), random.Random(0)
    for _ in range(40):
        recipe = choose(memory, BRIEF, rng)
        assert key_of(recipe) not in memory.tried
        memory.learn(recipe, improved=False, level=0.0, author="ann")


def test_it_learns_from_receipts():
    """Options that were told to improve are drawn far more often than ones that were not."""
    memory, rng = Memory(), random.Random(0)
    for n in range(30):
        good = mutate(PLAIN, {"labels": "task.critic_probs_N", "l2": "3.0"}, rng, extra=2)
        bad = mutate(PLAIN, {"labels": "parts.noisy_channel_labels(task)", "l2": "0.1"}, rng, extra=2)
        memory.learn(good, improved=True, level=n / 100, author="bob")
        memory.learn(bad, improved=False, level=0.0, author="bob")
    drawn = [choose(memory, BRIEF, rng)["labels"] for _ in range(200)]
    assert drawn.count("task.critic_probs_N") > 3 * drawn.count("parts.noisy_channel_labels(task)")


def test_most_of_its_ideas_are_of_its_direction():
    rng = random.Random(0)
    families = [family_of(choose(Memory(), BRIEF, rng), BRIEF) for _ in range(200)]
    assert families.count(Family.ENSEMBLE) > 60
    assert len(set(families)) > 4  # and around it
    assert families_of(PLAIN) == set()
    assert family_of(PLAIN, BRIEF.model_copy(update={"family": None})) is Family.OTHER


def test_the_same_seed_makes_the_same_choices():
    first, again = (choose(Memory(), BRIEF, random.Random("1/0")) for _ in range(2))
    assert first == again


def test_the_kind_prepares_its_brief_and_names_its_command(tmp_path):
    kind = RESEARCHERS["search"](Options())
    kind.require()
    kind.prepare(tmp_path, BRIEF)
    assert Brief.model_validate_json((tmp_path / "brief.json").read_text()) == BRIEF
    life = Life(incarnation=1, session="s", begun=False)
    argv = kind.launch(Inside(home="/h", brief="/b", data="/d", socket="/s"), life).argv
    assert argv[1:] == ("-m", "aarlab.researchers.search", "--brief", "/b", "--data", "/d", "--socket", "/s")
    assert [kind.ended(n, "") for n in (0, SPENT, 1, -9)] == ["finished", "spent", "crashed", "crashed"]


@pytest.fixture
def lab(bed, tmp_path, monkeypatch):
    """(a server, a gate to it as ann, ann's lab); the working directory is ann's home."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    with EvaluatorProcess(bed.folder, tmp_path / "campaign", policy="default") as process:
        token = process.call("POST", "/tokens", {"name": "ann"})["token"]
        with Gate(tmp_path / "lab.sock", lab=str(process._http.base_url), token=token) as gate:
            yield process, gate, Lab(gate.socket, sleep=lambda s: None)


def test_it_experiments_shares_and_remembers_what_it_shared(bed, lab):
    _, _, mine = lab
    assert research(mine, BRIEF.model_copy(update={"experiments": 2}), str(bed.public), 1) == 2
    findings = mine.call("list_findings", after=0, limit=10)["findings"]
    assert [(f["author"], f["kind"]) for f in findings] == [("ann", "result")]
    memory = Memory()
    read_forum(mine, memory)
    assert memory.tried == {key_of(recipe_in(Path("method.py").read_text()))}
    assert Path("progress.json").read_text() == '{"done": 2}'


def test_no_experiment_is_lost_to_a_gate_that_fails_half_the_time(bed, lab):
    process, gate, mine = lab
    rng = random.Random(3)
    gate.fault = lambda path: CUT if rng.random() < 0.5 else None
    gate.lose = lambda path: rng.random() < 0.5
    research(mine, BRIEF.model_copy(update={"experiments": 2}), str(bed.public), 0)
    gate.fault, gate.lose = (lambda path: None), (lambda path: False)
    findings = mine.call("list_findings", after=0, limit=10)["findings"]
    assert len(findings) == len({f["text"] for f in findings}) == 2
    assert process.call("GET", "/operator/board")["submissions"] >= 2


def test_a_method_that_fails_is_shared_as_an_error(bed, lab, monkeypatch):
    _, _, mine = lab
    monkeypatch.setattr(search, "source_of", lambda *_, **__: "def run(task, seed):\n    raise ValueError('too curious')\n")
    experiment(mine, Memory(), BRIEF, str(bed.public), PLAIN)
    found = mine.call("list_findings", after=0, limit=10)["findings"]
    assert [f["kind"] for f in found] == ["error"]
    assert "too curious" in found[0]["text"]


def test_as_a_program_it_says_by_its_status_what_ended_it(bed, lab, tmp_path):
    _, gate, _ = lab
    kind = RESEARCHERS["search"](Options())
    inside = Inside(home=str(Path.cwd()), brief=str(tmp_path), data=str(bed.public), socket=str(gate.socket))
    argv = kind.launch(inside, Life(incarnation=1, session="s", begun=False)).argv
    kind.prepare(tmp_path, BRIEF.model_copy(update={"experiments": 1}))
    assert subprocess.run(argv, check=False).returncode == 0
    kind.prepare(tmp_path, BRIEF.model_copy(update={"experiments": 2}))
    deadline = {"deadline": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "campaign" / "server" / "budget.json").write_text(json.dumps(deadline))
    assert subprocess.run(argv, check=False).returncode == SPENT
