"""Directed against undirected: fleets of nine search researchers on small-chat, several paired
campaigns each.

Run: `.venv/bin/python experiments/diversity.py [--pairs 8] [--experiments 20] [--out FOLDER]`. A
campaign is a real evaluator with its own ledger and an unspent label set, and the search
researchers' own code, driven in one process, round by round, each for a fixed number of
experiments, so that the machine's load decides nothing; there is no sandbox, server or supervisor
in it. Paired campaigns share the researchers' seeds, the order in each round, and the secret that
issues seeds. Campaigns that are done are taken up. It needs the testbed that `aar demo` sets up
(`--problem generated-chat` takes the double, which measures nothing real).
"""

import argparse
import hashlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from aarlab.core.pgr import performance_gap_recovered
from aarlab.core.records import Family
from aarlab.core.settings import home
from aarlab.diversity.entropy import across_researchers, grassberger_bits
from aarlab.diversity.families import classified
from aarlab.diversity.similar import IdeaIndex
from aarlab.diversity.source import joined, shingles
from aarlab.evaluation.evaluator import Evaluator
from aarlab.evaluation.forum import Forum
from aarlab.evaluation.leaderboard import Board
from aarlab.evaluation.ledger.blobs import Blobs
from aarlab.evaluation.ledger.ledger import Ledger
from aarlab.fleet.directions import direction
from aarlab.researchers.recipe import PLAIN, families_of, recipe_in, source_of
from aarlab.researchers.researcher import Brief
from aarlab.researchers.search import METHOD, Memory, choose, family_of, read_forum
from aarlab.runs.execute import execute
from aarlab.testbeds import student
from aarlab.testbeds.set_up import prepare
from aarlab.testbeds.testbed import Testbed

RESEARCHERS, WINDOWS = 9, 5
ALIKE = (0.9, 0.999)  # similarity of code; the higher: the same but for numbers and local names


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
        self._evaluator, self._forum, self._board = (
            evaluator,
            Forum(evaluator),
            Board(evaluator.ledger),
        )

    def insist(self, tool: str, **given: Any) -> dict[str, Any]:
        """As `aarlab.researchers.lab_client.Lab.insist`, for what reading the forum asks."""
        if tool == "list_findings":
            return {
                "findings": [
                    f.model_dump(mode="json")
                    for f in self._forum.since(given["after"], given["limit"])
                ]
            }
        if tool == "leaderboard":
            return {"rows": [row.model_dump() for row in self._board.page(given["page"])[0]]}
        assert tool == "download_code", tool
        return {"files": self._evaluator.code(given["snapshot"])}

    def share(self, who: str, **finding: Any) -> None:
        """Post to the forum."""
        self._forum.share(who, **finding)


def fresh_problem(bed: Testbed, folder: Path) -> Path:
    """The testbed with a label set about which nothing was reported yet."""
    problem = folder / "problem"
    shutil.copytree(
        bed.private, problem / "private", ignore=shutil.ignore_patterns("meter", "confirmations")
    )
    (problem / "public").symlink_to(bed.public)
    return problem


def experiment(
    evaluator: Evaluator, lab: InProcess, bed: Testbed, brief: Brief, memory: Memory, number: int
) -> bool:
    """One experiment of one researcher, as `aarlab.researchers.search.experiment`; False when
    nothing untried is left."""
    read_forum(lab, memory)
    recipe = choose(memory, brief, random.Random(f"{brief.seed}/{number}"))
    if recipe is None:
        return False
    family = family_of(recipe, brief)
    source = source_of(recipe, family=family, author=brief.name)
    code = evaluator.commit_code(brief.name, {METHOD: source}, family)
    method = evaluator.folder / METHOD
    method.write_text(source)
    answers = execute(
        method, public=bed.public, test=bed.public, split="feedback", seeds=code["seeds"]
    )
    receipt = evaluator.submit(brief.name, code["snapshot"], answers, family)
    memory.learn(recipe, receipt.model_dump(), brief.name)
    changed = ", ".join(f"{d}={o}" for d, o in recipe.items() if o != PLAIN[d]) or "all plain"
    verdict = "improved" if receipt.improved else "no improvement reported"
    words = {
        "kind": "result",
        "title": f"{family.value}: {verdict}",
        "text": f"{changed}. See receipt {receipt.id}.",
    }
    lab.share(brief.name, **words, family=family, receipts=[receipt.id], snapshot=code["snapshot"])
    return True


def run(plan: Plan, bed: Testbed, folder: Path) -> None:
    """One campaign, from nothing; its ledger stays in `folder`, and what its leader scores on final
    in leader.json."""
    shutil.rmtree(folder, ignore_errors=True)
    problem = fresh_problem(bed, folder)
    (folder / "campaign" / "server").mkdir(parents=True)
    (folder / "campaign" / "server" / "secret").write_bytes(
        hashlib.sha256(f"pair {plan.pair}".encode()).digest()
    )
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
        given = {
            "direction": start.prompt,
            "family": start.family,
            "seed": seed,
            "experiments": plan.experiments,
        }
        yield Brief(name=f"researcher-{number + 1}", **given)


def on_final(evaluator: Evaluator, bed: Testbed) -> dict[str, Any]:
    """The latest reported improvement, run on `final` and fresh seeds: its PGR there; None where
    nothing was reported."""
    submitted = [e for e in evaluator.ledger.entries("submission") if e.body["receipt"]["improved"]]
    if not submitted:
        return {"final_pgr": None}
    snapshot = submitted[-1].body["snapshot"]
    method = evaluator.folder / METHOD
    method.write_text(evaluator.code(snapshot)[METHOD])
    seeds = evaluator.seeds("final", snapshot)
    answers = execute(method, public=bed.public, test=bed.sealed, split="final", seeds=seeds)
    truth = evaluator.answers["final"]
    accuracy = float(
        np.mean([given == truth[i] for row in answers.values() for i, given in row.items()])
    )
    with np.load(bed.private / "anchors.npz") as anchors:
        weak, ceiling = (float(anchors[f"final_{end}_SM"].mean()) for end in ("weak", "ceiling"))
    return {
        "final_pgr": performance_gap_recovered(accuracy, weak=weak, ceiling=ceiling),
        "snapshot": snapshot,
    }


# --- what came out --------------------------------------------------------------------------------


def figures(folder: Path) -> dict[str, float]:
    """What one campaign gave, by name; a window is a fifth of its ideas."""
    ledger, blobs = (
        Ledger(folder / "campaign" / "server" / "ledger.sqlite"),
        Blobs(folder / "campaign" / "server" / "blobs"),
    )
    submitted = ledger.entries("submission")
    codes = [json.loads(blobs.get(e.body["snapshot"])) for e in submitted]
    ledger.close()
    kinds = {
        "declared": [Family(e.body["family"]) for e in submitted],
        "by code": [classified(code=code).family for code in codes],
    }
    out: dict[str, float] = {}
    for kind, families in kinds.items():
        out[f"entropy, {kind}: all ideas"] = bits(families)
        for number, ideas in enumerate(np.array_split(np.arange(len(families)), WINDOWS), start=1):
            out[f"entropy, {kind}: fifth {number}"] = bits([families[i] for i in ideas])
        across = across_researchers([(e.who, f) for e, f in zip(submitted, families, strict=True)])
        out[f"entropy, {kind}: across the nine"] = float(np.mean([m.estimate for _, m in across]))
    parts = [families_of(recipe) for code in codes if (recipe := recipe_in(code[METHOD]))]
    out["entropy, by all parts of each idea: all ideas"] = shared_bits(parts)
    out["entropy, by all parts of each idea: last fifth"] = shared_bits(
        parts[-(len(parts) // WINDOWS) :]
    )
    near = nearest_earlier(codes)
    out |= {
        f"nearest earlier code at least {least:g} alike": float(np.mean(near >= least))
        for least in ALIKE
    }
    improved = [e for e in submitted if e.body["receipt"]["improved"]]
    out["reported improvements"] = len(improved)
    out["PGR of the best, as reported"] = improved[-1].body["receipt"]["level_pgr"]
    out["PGR of the best, exact on feedback"] = improved[-1].body["exact_pgr"]
    out["PGR of the best, on final and fresh seeds"] = json.loads(
        (folder / "leader.json").read_text()
    )["final_pgr"]
    return out


def bits(families: list[Family]) -> float:
    """Entropy, corrected."""
    return grassberger_bits(tuple(Counter(families).values()))


def shared_bits(ideas: list[set[Family]]) -> float:
    """Plug-in entropy of the families where each idea is shared evenly among those of all its
    parts."""
    shares: Counter[Family] = Counter()
    for families in ideas:
        shares.update({family: 1 / len(families) for family in families})
    of_all = np.array(list(shares.values())) / sum(shares.values())
    return float(-(of_all * np.log2(of_all)).sum())


def nearest_earlier(codes: list[dict[str, str]]) -> NDArray[np.float64]:
    """For each code its similarity to the nearest earlier one of anybody, 0 for the first."""
    index: IdeaIndex[int] = IdeaIndex()
    near = np.zeros(len(codes))
    for number, code in enumerate(codes):
        features = shingles(joined(code))
        near[number] = next((alike for _, alike in index.nearest(features, 1)), 0.0)
        index.add(number, features)
    return near


def with_interval(values: list[float]) -> str:
    """Mean [95 %, Student's t over campaigns]."""
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.2f} [{np.mean(values) - half:.2f}, {np.mean(values) + half:.2f}]"


def print_table(folder: Path, pairs: list[int], experiments: int) -> None:
    """Directed, undirected and the paired difference, a row a figure."""
    sides = [
        [figures(folder / Plan(pair, directed, experiments).name) for pair in pairs]
        for directed in (True, False)
    ]
    print(
        f"\n| mean over {len(pairs)} campaigns [95 %] | directed | undirected | difference, "
        "paired |\n|---|---|---|---|"
    )
    for name in sides[0][0]:
        on, off = ([campaign[name] for campaign in side] for side in sides)
        apart = [a - b for a, b in zip(on, off, strict=True)]
        print(f"| {name} | {with_interval(on)} | {with_interval(off)} | {with_interval(apart)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=8, help="campaigns a side")
    parser.add_argument("--experiments", type=int, default=20, help="of each researcher")
    parser.add_argument("--problem", default="small-chat")
    parser.add_argument("--data-seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=None, help="folder of the campaigns [AAR_HOME/diversity]"
    )
    a = parser.parse_args()
    reader = student.smollm2(home(), 2) if a.problem == "small-chat" else student.COUNTING
    bed = prepare(
        a.problem,
        a.data_seed,
        home=home(),
        student=reader,
        progress=lambda what, *_: print(what, flush=True),
    )
    folder = a.out or home().root / "diversity"
    plans = [
        Plan(pair, directed, a.experiments) for pair in range(a.pairs) for directed in (True, False)
    ]
    for plan in plans:
        if not (folder / plan.name / "leader.json").exists():
            run(plan, bed, folder / plan.name)
        print(plan.name, flush=True)
    print_table(folder, list(range(a.pairs)), a.experiments)


if __name__ == "__main__":
    main()
