"""Directed against undirected: fleets of nine search researchers on small-chat, several paired campaigns each.

Run: `.venv/bin/python benchmarks/diversity.py [--pairs 8] [--experiments 20] [--out FOLDER]`. A campaign is a real evaluator
with its own ledger and an unspent label set, and the search researchers' own code, driven in one process, round by round,
each for a fixed number of experiments, so that the machine's load decides nothing; there is no sandbox, server or supervisor
in it. Paired campaigns share the researchers' seeds, the order in each round, and the secret that issues seeds. Campaigns
that are done are taken up. It needs the testbed that `aar demo` sets up (`--problem generated-chat` takes the double, which
measures nothing real).
"""

import argparse
import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.settings import home
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.leaderboard import Board
from aarlab.fleet.directions import direction
from aarlab.forum.forum import Forum
from aarlab.researchers.recipe import PLAIN, source_of
from aarlab.researchers.researcher import Brief
from aarlab.researchers.search import METHOD, Memory, choose, family_of, read_forum
from aarlab.runs import student
from aarlab.runs.execute import execute
from aarlab.runs.testbed import Testbed, prepare

RESEARCHERS = 9


@dataclass(frozen=True)
class Plan:
    """One campaign of the comparison."""

    pair: int
    directed: bool
    experiments: int  # of each researcher

    @property
    def name(self) -> str:
        return f"pair-{self.pair}-{'directed' if self.directed else 'undirected'}"


class InProcess:
    """The lab's answers to a researcher's questions, without a server between."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._forum, self._board = evaluator, Forum(evaluator), Board(evaluator.ledger)

    def insist(self, tool: str, **given: Any) -> dict[str, Any]:
        """As `aarlab.researchers.lab.Lab.insist`, for what reading the forum asks."""
        if tool == "list_findings":
            return {"findings": [f.model_dump(mode="json") for f in self._forum.since(given["after"], given["limit"])]}
        if tool == "leaderboard":
            return {"rows": [row.model_dump() for row in self._board.page(given["page"])[0]]}
        assert tool == "download_code", tool
        return {"files": self._evaluator.code(given["snapshot"])}

    def share(self, who: str, **finding: Any) -> None:
        """Post to the forum."""
        self._forum.share(who, **finding)


def fresh_problem(bed: Testbed, folder: Path) -> Path:
    """The testbed with a label set about which nothing was told yet."""
    problem = folder / "problem"
    shutil.copytree(bed.private, problem / "private", ignore=shutil.ignore_patterns("meter", "confirmations"))
    (problem / "public").symlink_to(bed.public)
    return problem


def experiment(evaluator: Evaluator, lab: InProcess, bed: Testbed, brief: Brief, memory: Memory, number: int) -> bool:
    """One experiment of one researcher, as `aarlab.researchers.search.experiment`; False when nothing untried is left."""
    read_forum(lab, memory)
    recipe = choose(memory, brief, random.Random(f"{brief.seed}/{number}"))
    if recipe is None:
        return False
    family = family_of(recipe, brief)
    source = source_of(recipe, family=family, author=brief.name)
    code = evaluator.commit_code(brief.name, {METHOD: source}, family)
    method = evaluator.folder / METHOD
    method.write_text(source)
    answers = execute(method, public=bed.public, test=bed.public, split="feedback", seeds=code["seeds"])
    receipt = evaluator.submit(brief.name, code["snapshot"], answers, family)
    memory.learn(recipe, improved=receipt.improved, level=receipt.level_pgr, author=brief.name)
    changed = ", ".join(f"{d}={o}" for d, o in recipe.items() if o != PLAIN[d]) or "all plain"
    verdict = "improved" if receipt.improved else "no improvement told"
    words = {"kind": "result", "title": f"{family.value}: {verdict}", "text": f"{changed}. See receipt {receipt.id}."}
    lab.share(brief.name, **words, family=family, receipts=[receipt.id], snapshot=code["snapshot"])
    return True


def run(plan: Plan, bed: Testbed, folder: Path) -> None:
    """One campaign, from nothing; its ledger stays in `folder`, and what its leader scores on final in leader.json."""
    shutil.rmtree(folder, ignore_errors=True)
    problem = fresh_problem(bed, folder)
    (folder / "campaign" / "server").mkdir(parents=True)
    (folder / "campaign" / "server" / "secret").write_bytes(hashlib.sha256(f"pair {plan.pair}".encode()).digest())
    with Evaluator(problem, folder / "campaign") as evaluator:
        lab, briefs = InProcess(evaluator), list(_briefs(plan))
        memories = [Memory() for _ in briefs]
        for number in range(plan.experiments):
            order = random.Random(f"{plan.pair}/{number}").sample(range(RESEARCHERS), RESEARCHERS)
            for who in order:
                experiment(evaluator, lab, bed, briefs[who], memories[who], number)
        leader = on_final(evaluator, bed)
    (folder / "leader.json").write_text(json.dumps(leader))


def _briefs(plan: Plan) -> Iterator[Brief]:
    for number in range(RESEARCHERS):
        start = direction(number, directed=plan.directed)
        seed = plan.pair * 1000 + number
        given = {"direction": start.prompt, "family": start.family, "seed": seed, "experiments": plan.experiments}
        yield Brief(name=f"researcher-{number + 1}", **given)


def on_final(evaluator: Evaluator, bed: Testbed) -> dict[str, Any]:
    """The latest told improvement, run on `final` and fresh seeds: its PGR there; None where nothing was told."""
    told = [e for e in evaluator.ledger.entries("submission") if e.body["receipt"]["improved"]]
    if not told:
        return {"final_pgr": None}
    snapshot = told[-1].body["snapshot"]
    method = evaluator.folder / METHOD
    method.write_text(evaluator.code(snapshot)[METHOD])
    seeds = evaluator.seeds("final", snapshot)
    answers = execute(method, public=bed.public, test=bed.sealed, split="final", seeds=seeds)
    truth = evaluator.answers["final"]
    accuracy = float(np.mean([given == truth[i] for row in answers.values() for i, given in row.items()]))
    with np.load(bed.private / "anchors.npz") as anchors:
        weak, ceiling = (float(anchors[f"final_{end}_SM"].mean()) for end in ("weak", "ceiling"))
    return {"final_pgr": performance_gap_recovered(accuracy, weak=weak, ceiling=ceiling), "snapshot": snapshot}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8, help="campaigns a side")
    parser.add_argument("--experiments", type=int, default=20, help="of each researcher")
    parser.add_argument("--problem", default="small-chat")
    parser.add_argument("--data-seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="folder of the campaigns [AAR_HOME/diversity]")
    a = parser.parse_args()
    reader = student.smollm2(home(), 2) if a.problem == "small-chat" else student.COUNTING
    bed = prepare(a.problem, a.data_seed, home=home(), student=reader, say=lambda what, *_: print(what, flush=True))
    folder = a.out or home().root / "diversity"
    plans = [Plan(pair, directed, a.experiments) for pair in range(a.pairs) for directed in (True, False)]
    for plan in plans:
        if not (folder / plan.name / "leader.json").exists():
            run(plan, bed, folder / plan.name)
        print(plan.name, flush=True)


if __name__ == "__main__":
    main()
