import json
import math
import random
import subprocess
from pathlib import Path

import pytest

from aarlab.core.records import Family
from aarlab.fleet.evaluator_process import EvaluatorProcess
from aarlab.methods.method import check_output
from aarlab.researchers import search
from aarlab.researchers.kinds import RESEARCHERS
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.recipe import (
    BORROWED,
    OPTIONS,
    PLAIN,
    families_of,
    key_of,
    mutate,
    options_of,
    recipe_in,
    source_of,
)
from aarlab.researchers.researcher import Brief, IncarnationStart, Inside, Options
from aarlab.researchers.search import (
    SPENT,
    Memory,
    choose,
    family_of,
    read_forum,
    research,
    try_recipe,
)
from aarlab.testbeds.task_data import load_task
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
    for source in (
        "",
        "RECIPE = {bad",
        'RECIPE = {"layers": "__import__(1)"}',
        "def run(task, seed): ...",
    ):
        assert recipe_in(source) is None


def receipt(level: float, *, improved: bool, tier: str = "open") -> dict:
    """As the lab issues one, with steps of 0.05."""
    return {
        "improved": improved,
        "level_pgr": level,
        "next_step_pgr": round(level + 0.05, 6),
        "tier": tier,
    }


def test_a_recipe_is_never_proposed_twice():
    memory, rng = Memory(), random.Random(0)
    for _ in range(40):
        recipe = choose(memory, BRIEF, rng)
        assert key_of(recipe) not in memory.seen
        memory.learn(recipe, receipt(0.2, improved=False), "ann")


def test_a_receipt_says_between_which_figures_a_score_lies():
    memory, rng = Memory(), random.Random(0)
    better, other, unheard = (mutate(PLAIN, {}, rng, extra=3) for _ in range(3))
    memory.learn(better, receipt(0.3, improved=True), "bob")
    memory.learn(other, receipt(0.3, improved=False), "ann")
    memory.learn(unheard, receipt(0.3, improved=False, tier="sealed"), "ann")
    ends = [(one.low, one.high) for one in memory.seen.values()]
    assert ends == [(0.3, 0.35), (-math.inf, 0.35), (-math.inf, math.inf)]
    assert memory.improved == [(0.3, better, "bob")]


class Forum:
    """A lab with one finding, which cites a receipt of some snapshot."""

    def __init__(self, of: str) -> None:
        self.of = of

    def insist(self, operation, **given):
        source = source_of(PLAIN, family=Family.OTHER, author="bob")
        cited = {"kind": "result", "snapshot": "s1", "receipts": ["r-1"], "author": "bob"}
        return {
            "list_findings": {
                "findings": [{"id": "f-000001", **cited}] if not given.get("after") else []
            },
            "download_code": {"files": {"method.py": source}},
            "read_receipt": receipt(0.9, improved=True) | {"snapshot": self.of},
        }[operation]


@pytest.mark.parametrize(("of", "learned"), [("s1", 1), ("s2", 0)])
def test_a_finding_that_cites_a_receipt_of_other_code_teaches_nothing(of, learned):
    memory = Memory()
    read_forum(Forum(of), memory)
    assert len(memory.improved) == learned
    assert memory.last_finding == 1


@pytest.mark.slow
def test_it_learns_from_receipts():
    """Options that improved are proposed far more often than ones that did not."""
    memory, rng = Memory(), random.Random(0)
    free = BRIEF.model_copy(update={"family": None})
    for n in range(12):
        good = mutate(PLAIN, {"labels": "task.critic_probs_N"}, rng, extra=2)
        bad = mutate(PLAIN, {"labels": "parts.noisy_channel_labels(task)"}, rng, extra=2)
        memory.learn(good, receipt(0.2 + 0.05 * n, improved=True), "bob")
        memory.learn(bad, receipt(0.2 + 0.05 * n, improved=False), "bob")
    drawn = [choose(memory, free, rng)["labels"] for _ in range(60)]
    assert drawn.count("task.critic_probs_N") > 3 * drawn.count("parts.noisy_channel_labels(task)")


@pytest.mark.long
def test_a_direction_is_in_the_code_of_all_its_ideas():
    """At least one option of its family, and few of others; also where the fleet's best is of
    other families."""
    memory, rng = Memory(), random.Random(0)
    for n in range(5):
        recipe = mutate(PLAIN, {"labels": "task.critic_probs_N"}, rng, extra=4)
        memory.learn(recipe, receipt(0.3 + 0.05 * n, improved=True), "bob")
    for family in {f for options in OPTIONS.values() for f in options.values()} - {None}:
        brief = BRIEF.model_copy(update={"family": family})
        for _ in range(10):
            recipe = choose(memory, brief, rng)
            assert family in families_of(recipe)
            foreign = [o for d, o in recipe.items() if OPTIONS[d][o] not in (None, family)]
            assert len(foreign) <= BORROWED
            assert family_of(recipe, brief) is family


def test_without_a_direction_many_families_are_tried():
    rng, free = random.Random(0), BRIEF.model_copy(update={"family": None})
    assert len({family_of(choose(Memory(), free, rng), free) for _ in range(60)}) > 4
    assert families_of(PLAIN) == set()
    assert family_of(PLAIN, free) is Family.OTHER


def test_the_same_seed_makes_the_same_choices():
    first, again = (choose(Memory(), BRIEF, random.Random("1/0")) for _ in range(2))
    assert first == again


def test_the_kind_prepares_its_brief_and_names_its_command(tmp_path):
    kind = RESEARCHERS["search"](Options())
    kind.require()
    kind.prepare(tmp_path, BRIEF)
    assert Brief.model_validate_json((tmp_path / "brief.json").read_text()) == BRIEF
    start = IncarnationStart(incarnation=1, session="s", begun=False)
    argv = kind.launch(Inside(home="/h", brief="/b", data="/d", socket="/s"), start).argv
    assert argv[1:] == (
        "-m",
        "aarlab.researchers.search",
        "--brief",
        "/b",
        "--data",
        "/d",
        "--socket",
        "/s",
    )
    assert [kind.ended(n, "") for n in (0, SPENT, 1, -9)] == [
        "finished",
        "spent",
        "crashed",
        "crashed",
    ]


@pytest.fixture
def lab(starts_processes, bed, tmp_path, monkeypatch):
    """(a server, a gate to it as ann, ann's lab); the working directory is ann's home."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    with EvaluatorProcess(bed.folder, tmp_path / "campaign", policy="default") as process:
        token = process.call("issue_token", {"name": "ann"})["token"]
        with Gate(tmp_path / "lab.sock", lab=str(process._http.base_url), token=token) as gate:
            yield process, gate, Lab(gate.socket, sleep=lambda s: None)


def test_it_experiments_shares_and_remembers_what_it_shared(bed, lab):
    _, _, mine = lab
    assert research(mine, BRIEF.model_copy(update={"experiments": 2}), str(bed.public), 1) == 2
    findings = mine.call("list_findings", after=0, limit=10)["findings"]
    assert [(f["author"], f["kind"]) for f in findings] == [("ann", "result")]
    memory = Memory()
    read_forum(mine, memory)
    assert set(memory.seen) == {key_of(recipe_in(Path("method.py").read_text()))}
    assert Path("progress.json").read_text() == '{"done": 2}'


@pytest.mark.long
def test_no_experiment_is_lost_to_a_gate_that_fails_half_the_time(bed, lab):
    process, gate, mine = lab
    rng = random.Random(3)
    gate.fault = lambda path: CUT if rng.random() < 0.5 else None
    gate.lose = lambda path: rng.random() < 0.5
    research(mine, BRIEF.model_copy(update={"experiments": 2}), str(bed.public), 0)
    gate.fault, gate.lose = (lambda path: None), (lambda path: False)
    findings = mine.call("list_findings", after=0, limit=10)["findings"]
    assert len(findings) == len({f["text"] for f in findings}) == 2
    assert process.call("operator_board")["submissions"] >= 2


@pytest.mark.long
def test_a_method_that_fails_is_shared_as_an_error(bed, lab, monkeypatch):
    _, _, mine = lab
    monkeypatch.setattr(
        search,
        "source_of",
        lambda *_, **__: "def run(task, seed):\n    raise ValueError('too curious')\n",
    )
    try_recipe(mine, Memory(), BRIEF, str(bed.public), PLAIN)
    found = mine.call("list_findings", after=0, limit=10)["findings"]
    assert [f["kind"] for f in found] == ["error"]
    assert "too curious" in found[0]["text"]


def test_as_a_program_it_says_by_its_status_what_ended_it(bed, lab, tmp_path):
    _, gate, _ = lab
    kind = RESEARCHERS["search"](Options())
    inside = Inside(
        home=str(Path.cwd()), brief=str(tmp_path), data=str(bed.public), socket=str(gate.socket)
    )
    argv = kind.launch(inside, IncarnationStart(incarnation=1, session="s", begun=False)).argv
    kind.prepare(tmp_path, BRIEF.model_copy(update={"experiments": 1}))
    assert subprocess.run(argv, check=False).returncode == 0
    kind.prepare(tmp_path, BRIEF.model_copy(update={"experiments": 2}))
    deadline = {"deadline": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "campaign" / "server" / "budget.json").write_text(json.dumps(deadline))
    assert subprocess.run(argv, check=False).returncode == SPENT
