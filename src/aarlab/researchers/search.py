"""The built-in researcher: a search over recipes that learns from all researchers' receipts. It
needs no API key.

Each step reads the forum, chooses a recipe near its direction, writes a method file, runs it on the
seeds that the evaluator issues for that file (in code mode the lab runs it), submits the answers,
and shares a finding that cites the receipt and the code.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from aarlab.core.errors import InvalidSubmission
from aarlab.core.layout import BriefFolder, PublicFolder
from aarlab.core.operation_records import IN_FOLDER
from aarlab.core.records import Family
from aarlab.core.strict_json import read_json
from aarlab.researchers.code_files import METHOD
from aarlab.researchers.code_run import Attempt, experiment, receipt_of
from aarlab.researchers.constant_search import ConstantSearch
from aarlab.researchers.lab_client import Lab
from aarlab.researchers.recipe import (
    OPTIONS,
    PLAIN,
    Recipe,
    directed,
    families_of,
    key_of,
    mutate,
    options_in_order,
    recipe_in,
    source_of,
)
from aarlab.researchers.researcher import (
    RESEARCHERS,
    Brief,
    Ended,
    IncarnationStart,
    Inside,
    Launch,
    Options,
)
from aarlab.researchers.surrogate import TriedRecipe, draw
from aarlab.sandbox.sandbox import Mount

CANDIDATES = 150  # recipes of which the next one is chosen
SPENT = 3  # exit status: the campaign's time ended before the experiments were done


class Improved(NamedTuple):
    """An improvement that somebody reported."""

    level: float  # PGR
    recipe: Recipe
    author: str


@dataclass
class Memory:
    """What a researcher has learned: of every recipe that anybody tried, between which PGRs its
    score lies."""

    seen: dict[str, TriedRecipe] = field(default_factory=dict)  # by `key_of` the recipe
    improved: list[Improved] = field(default_factory=list)  # in order of level
    start: float = 0.0  # PGR of the level before anybody's first improvement
    last_finding: int = 0

    def learn(self, recipe: Recipe, receipt: Mapping[str, Any], author: str) -> None:
        """What a receipt of any researcher says of a recipe. One that releases nothing more
        (sealed) says nothing."""
        if key_of(recipe) in self.seen:
            return
        improved, level = receipt["improved"], receipt["level_pgr"]
        step = receipt.get("next_step_pgr")
        if not self.seen:
            self.start = level
        sealed = receipt["tier"] == "sealed" and not improved
        self.seen[key_of(recipe)] = TriedRecipe(
            options_in_order(recipe),
            level if improved else -math.inf,
            math.inf if sealed or step is None else step,
        )
        if improved:
            self.improved.append(Improved(level, recipe, author))
            self.improved.sort(key=lambda one: one.level)

    def failed(self, recipe: Recipe) -> None:
        """A recipe that does not run is not tried again."""
        self.seen[key_of(recipe)] = TriedRecipe(options_in_order(recipe), -math.inf, math.inf)


def choose(memory: Memory, brief: Brief, rng: random.Random) -> Recipe | None:
    """The next recipe: of CANDIDATES that nobody tried, the best in one draw from what is believed
    of them (`surrogate`). None if there is none."""
    children = {
        key_of(child): child
        for _ in range(CANDIDATES)
        if key_of(child := _child(memory, brief, rng)) not in memory.seen
    }
    if not children:
        return None
    candidates = list(children.values())
    drawn = draw(
        list(memory.seen.values()),
        [options_in_order(child) for child in candidates],
        memory.start,
        rng.randrange(2**32),
    )
    return candidates[int(drawn.argmax())]


def _child(memory: Memory, brief: Brief, rng: random.Random) -> Recipe:
    """A parent with one to three random changes, in the researcher's direction if it has one."""
    child = mutate(_parent(memory, brief, rng), {}, rng, extra=rng.choice((1, 1, 2, 2, 3)))
    return child if brief.family is None else directed(child, brief.family, rng)


def _parent(memory: Memory, brief: Brief, rng: random.Random) -> Recipe:
    """The fleet's best, the researcher's own best, any improvement, or the plain recipe."""
    own = [one for one in memory.improved if one.author == brief.name]
    drawn = rng.random()
    if not memory.improved or drawn < 0.1:
        return PLAIN
    if drawn < 0.5:
        return memory.improved[-1].recipe
    return (
        (own or memory.improved)[-1].recipe if drawn < 0.75 else rng.choice(memory.improved).recipe
    )


def family_of(recipe: Recipe, brief: Brief) -> Family:
    """The family to declare: the direction's family if the recipe uses it, else that of the
    label source."""
    families = families_of(recipe)
    if brief.family in families:
        return Family(brief.family)
    for dimension in (
        "labels",
        "relabel",
        "keep",
        "loss",
        "weights",
        "heads",
        "layers",
        "rank",
        "targets",
    ):
        if family := OPTIONS[dimension][recipe[dimension]]:
            return family
    return Family.OTHER


def read_forum(lab: Lab, memory: Memory) -> None:
    """Learn from every new finding that cites a receipt and a snapshot with a recipe."""
    while True:
        findings = lab.insist("list_findings", after=memory.last_finding, limit=50)["findings"]
        if not findings:
            return
        for finding in findings:
            memory.last_finding = max(memory.last_finding, int(finding["id"].split("-")[1]))
            if finding["kind"] == "result" and finding["snapshot"] and finding["receipts"]:
                _learn_from(lab, memory, finding)


def _learn_from(lab: Lab, memory: Memory, finding: dict[str, Any]) -> None:
    code = lab.insist("download_code", snapshot=finding["snapshot"])
    recipe = recipe_in(code["files"].get(METHOD, ""))
    if recipe and key_of(recipe) not in memory.seen:
        receipt = lab.insist("read_receipt", receipt=finding["receipts"][0])
        if receipt["snapshot"] == finding["snapshot"]:  # else it says nothing about this recipe
            memory.learn(recipe, receipt, finding["author"])


def graded(lab: Lab, brief: Brief, data: str, code: dict[str, Any]) -> dict[str, Any]:
    """The receipt of the method file that was committed as `code`; raises as `receipt_of`."""
    method = Path.cwd() / METHOD if brief.mode == "predictions" else None
    return receipt_of(lab, code, method, data)


def try_recipe(lab: Lab, memory: Memory, brief: Brief, data: str, recipe: Recipe) -> None:
    """Test one recipe and share a finding."""
    family = family_of(recipe, brief)
    source = source_of(recipe, family=family, author=brief.name)
    Path(METHOD).write_text(source)
    changed = ", ".join(f"{d}={o}" for d, o in recipe.items() if o != PLAIN[d]) or "all plain"
    attempt = Attempt(source, family.value, family.value, changed)
    try:
        receipt = experiment(lab, attempt, partial(graded, lab, brief, data))
    except InvalidSubmission:
        memory.failed(recipe)
        return
    if receipt is not None:
        memory.learn(recipe, receipt, brief.name)


def research(lab: Lab, brief: Brief, data: str, done: int) -> int:
    """Run experiments until all are done or the campaign's time is over; return the number done
    in all incarnations."""
    if read_json(PublicFolder(Path(data)).card).get("kind") == IN_FOLDER:
        constants = ConstantSearch(lab, brief, data)
        act = partial(constants.step, graded=partial(graded, lab, brief, data))
    else:
        act = partial(_recipe_step, lab, Memory(), brief, data)
    while done < brief.experiments and lab.insist("my_budget")["seconds_left"] != 0:
        if not act(done):
            return brief.experiments  # nothing untried is left
        done += 1
        Path("progress.json").write_text(json.dumps({"done": done}))
    return done


def _recipe_step(lab: Lab, memory: Memory, brief: Brief, data: str, number: int) -> bool:
    """One experiment with a recipe; whether there was one left."""
    read_forum(lab, memory)
    recipe = choose(memory, brief, random.Random(f"{brief.seed}/{number}"))
    if recipe is None:
        return False
    try_recipe(lab, memory, brief, data, recipe)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--brief", type=Path, required=True, help="the folder that holds brief.json"
    )
    parser.add_argument("--data", required=True, help="the problem's public folder")
    parser.add_argument("--socket", type=Path, required=True, help="the lab's unix socket")
    a = parser.parse_args()
    brief = Brief.model_validate_json(BriefFolder(a.brief).brief.read_text())
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
        BriefFolder(folder).brief.write_text(brief.model_dump_json(indent=1))

    def launch(self, inside: Inside, start: IncarnationStart) -> Launch:
        """This module as a program; a file in its home holds the number of experiments done."""
        del start
        module = (sys.executable, "-m", "aarlab.researchers.search")
        return Launch(
            argv=(
                *module,
                "--brief",
                inside.brief,
                "--data",
                inside.data,
                "--socket",
                inside.socket,
            )
        )

    def ended(self, returncode: int, tail: str) -> Ended:
        """The program waits for a lab that does not answer, so it ends when its work is done,
        when its budget is spent, or by a crash."""
        del tail
        return "finished" if returncode == 0 else "spent" if returncode == SPENT else "crashed"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the fleet is stopped
        sys.exit("Stopped.")
