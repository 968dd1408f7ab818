"""The built-in researcher: a search over recipes that learns from its own and others' receipts. It needs no key.

Each step reads the forum, chooses a recipe within or around its direction, writes a method file, runs it on the seeds that
the evaluator issues for that file (in code mode the lab does), submits, and shares a finding that cites receipt and code.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aarlab.core.errors import InvalidSubmission
from aarlab.core.records import Family
from aarlab.researchers.lab import Lab
from aarlab.researchers.recipe import (
    OPTIONS,
    PLAIN,
    Recipe,
    families_of,
    key_of,
    mutate,
    options_of,
    recipe_in,
    source_of,
)
from aarlab.researchers.researcher import RESEARCHERS, Brief, Ended, Inside, Launch, Life, Options
from aarlab.sandbox.sandbox import Mount

RUN_TIMEOUT_S = 120
POLL_S = 0.5  # between two looks at a ticket
SPENT = 3  # the exit status where the campaign's time ended before the experiments did
ANSWERS, METHOD = "answers.json", "method.py"


@dataclass
class Memory:
    """What a researcher has learned. Beta counts of each option: how often a recipe with it was told an improvement."""

    tried: set[str] = field(default_factory=set)
    improved: list[tuple[float, Recipe, str]] = field(default_factory=list)  # (told level, recipe, author)
    wins: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    losses: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    last_finding: int = 0

    def learn(self, recipe: Recipe, *, improved: bool, level: float, author: str) -> None:
        """Take in one receipt, own or another's."""
        if key_of(recipe) in self.tried:
            return
        self.tried.add(key_of(recipe))
        counts = self.wins if improved else self.losses
        for item in recipe.items():
            counts[item] += 1
        if improved:
            self.improved.append((level, recipe, author))
            self.improved.sort(key=lambda row: row[0])


def choose(memory: Memory, brief: Brief, rng: random.Random) -> Recipe | None:
    """The next recipe: a parent (the fleet's best, one's own best, or plain) and a change, mostly in one's direction.

    Options are drawn by Thompson sampling of their Beta posteriors. None when nothing untried is found.
    """
    for attempt in range(200):
        parent = _parent(memory, brief, rng)
        changes = dict([_option(memory, brief, rng)])
        child = mutate(parent, changes, rng, extra=rng.choice((0, 0, 1, 1, 2)) + attempt // 50)
        if key_of(child) not in memory.tried:
            return child
    return None


def _parent(memory: Memory, brief: Brief, rng: random.Random) -> Recipe:
    own = [row for row in memory.improved if row[2] == brief.name]
    draw = rng.random()
    if memory.improved and draw < 0.5:
        return memory.improved[-1][1]
    if own and draw < 0.8:
        return own[-1][1]
    return memory.improved[rng.randrange(len(memory.improved))][1] if memory.improved and draw < 0.9 else PLAIN


def _option(memory: Memory, brief: Brief, rng: random.Random) -> tuple[str, str]:
    mine = options_of(brief.family) if brief.family else []
    around = [(d, o) for d, options in OPTIONS.items() for o in options]
    candidates = mine if mine and rng.random() < 0.6 else around
    return max(candidates, key=lambda item: rng.betavariate(1 + memory.wins[item], 2 + memory.losses[item]))


def family_of(recipe: Recipe, brief: Brief) -> Family:
    """The family to declare: the direction's own where the recipe has an idea of it, else that of its label source first."""
    families = families_of(recipe)
    if brief.family in families:
        return brief.family
    for dimension in ("labels", "relabel", "keep", "loss", "weights", "heads", "layers", "rank", "targets"):
        if family := OPTIONS[dimension][recipe[dimension]]:
            return family
    return Family.OTHER


def read_forum(lab: Lab, memory: Memory) -> None:
    """Learn from every finding since the last look that cites a receipt and a snapshot of a known kind."""
    while True:
        findings = lab.insist("list_findings", after=memory.last_finding, limit=50)["findings"]
        if not findings:
            return
        levels = told_levels(lab)
        for finding in findings:
            memory.last_finding = max(memory.last_finding, int(finding["id"].split("-")[1]))
            if finding["kind"] == "result" and finding["snapshot"] and finding["receipts"]:
                _learn_from(lab, memory, finding, levels)


def _learn_from(lab: Lab, memory: Memory, finding: dict[str, Any], levels: dict[str, float]) -> None:
    code = lab.insist("download_code", snapshot=finding["snapshot"])
    recipe = recipe_in(code["files"].get(METHOD, ""))
    if recipe:
        level = levels.get(finding["receipts"][0])
        memory.learn(recipe, improved=level is not None, level=level or 0.0, author=finding["author"])


def told_levels(lab: Lab) -> dict[str, float]:
    """Receipt id -> told PGR of every improvement on the leaderboard."""
    levels: dict[str, float] = {}
    page = 0
    while rows := lab.insist("leaderboard", page=page)["rows"]:
        levels |= {row["receipt"]: row["level_pgr"] for row in rows}
        page += 1
    return levels


def run_method(method: Path, data: str, seeds: list[int]) -> dict[str, dict[str, int]]:
    """Really run a method file, as a child process, on the issued seeds.

    Raises:
        InvalidSubmission: it failed or took longer than RUN_TIMEOUT_S; its last words are in the message.
    """
    out = method.with_name(ANSWERS)
    out.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "aarlab.runs.execute", "--method", str(method), "--public", data, "--test", data]
    argv += ["--seeds", ",".join(map(str, seeds)), "--out", str(out)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InvalidSubmission(f"The method did not finish within {RUN_TIMEOUT_S} s.") from error
    if done.returncode:
        raise InvalidSubmission(done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "no output")
    return json.loads(out.read_text())


def graded(lab: Lab, brief: Brief, data: str, code: dict[str, Any]) -> dict[str, Any]:
    """The receipt of the method file, committed as `code`: run here and submitted, or in code mode run by the lab.

    Raises:
        InvalidSubmission: it failed, or what it answered was refused.
    """
    named = {"snapshot": code["snapshot"], "family": code["family"]}
    if brief.mode == "predictions":
        answers = run_method(Path.cwd() / METHOD, data, code["seeds"])
        return lab.insist("submit_predictions", **named, predictions=answers)
    ticket = lab.insist("submit_code", **named)
    while ticket["state"] == "waiting":
        time.sleep(POLL_S)
        ticket = lab.insist("read_ticket", ticket=ticket["id"])
    if ticket["state"] == "failed":
        raise InvalidSubmission(f"The lab ran it: {ticket['failure']}. {ticket['log'] or ''}")
    return ticket["receipt"]


def experiment(lab: Lab, memory: Memory, brief: Brief, data: str, recipe: Recipe) -> None:
    """One idea from recipe to shared finding; a failure is shared too, as an error."""
    family = family_of(recipe, brief)
    source = source_of(recipe, family=family, author=brief.name)
    Path(METHOD).write_text(source)
    committed = lab.insist("commit_code", files={METHOD: source}, family=family.value)
    finding: dict[str, Any] = {"family": family.value, "snapshot": committed["snapshot"], "parent": None}
    changed = ", ".join(f"{d}={o}" for d, o in recipe.items() if o != PLAIN[d]) or "all plain"
    try:
        receipt = graded(lab, brief, data, committed | {"family": family.value})
    except InvalidSubmission as error:
        memory.tried.add(key_of(recipe))
        lab.insist(
            "share_finding",
            kind="error",
            title=f"Failed: {changed}"[:200],
            text=str(error)[:2000],
            receipts=[],
            **finding,
        )
        say(f"failed: {changed}: {str(error)[:200]}")
        return
    memory.learn(recipe, improved=receipt["improved"], level=receipt["level_pgr"], author=brief.name)
    verdict = "improved" if receipt["improved"] else "no improvement told"
    lab.insist(
        "share_finding",
        kind="result",
        title=f"{family.value}: {verdict}"[:200],
        text=f"{changed}. See receipt {receipt['id']}.",
        receipts=[receipt["id"]],
        **finding,
    )
    say(f"{receipt['id']} {verdict}: {changed}")


def say(words: str) -> None:
    """A line of the transcript."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def research(lab: Lab, brief: Brief, data: str, done: int) -> int:
    """Experiment until all are done or the campaign's time is spent; returns how many were done, earlier ones included."""
    memory = Memory()
    while done < brief.experiments and lab.insist("my_budget")["seconds_left"] != 0:
        read_forum(lab, memory)
        recipe = choose(memory, brief, random.Random(f"{brief.seed}/{done}"))
        if recipe is None:
            return brief.experiments  # nothing untried is left
        experiment(lab, memory, brief, data, recipe)
        done += 1
        Path("progress.json").write_text(json.dumps({"done": done}))
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brief", type=Path, required=True, help="the folder that holds brief.json")
    parser.add_argument("--data", required=True, help="the problem's public folder")
    parser.add_argument("--socket", type=Path, required=True, help="the lab's unix socket")
    a = parser.parse_args()
    brief = Brief.model_validate_json((a.brief / "brief.json").read_text())
    progress = Path("progress.json")
    done = json.loads(progress.read_text())["done"] if progress.exists() else 0
    return 0 if research(Lab(a.socket), brief, a.data, done) >= brief.experiments else SPENT


@RESEARCHERS.add("search")
class Search:
    """Researcher kind `search`."""

    def __init__(self, options: Options) -> None:
        del options  # it needs no model

    def require(self) -> None:
        """Nothing is required."""

    def mounts(self) -> tuple[Mount, ...]:
        """None."""
        return ()

    def prepare(self, folder: Path, brief: Brief) -> None:
        """Nothing but the brief is needed."""
        (folder / "brief.json").write_text(brief.model_dump_json(indent=1))

    def launch(self, inside: Inside, life: Life) -> Launch:
        """This module, as a program; it finds in its home how far it came."""
        del life
        module = (sys.executable, "-m", "aarlab.researchers.search")
        return Launch(argv=(*module, "--brief", inside.brief, "--data", inside.data, "--socket", inside.socket))

    def ended(self, returncode: int, tail: str) -> Ended:
        """It waits for a lab that does not answer, so what ends it is its work, its budget or a crash."""
        del tail
        return "finished" if returncode == 0 else "spent" if returncode == SPENT else "crashed"


if __name__ == "__main__":
    sys.exit(main())
