"""How well the classifier of families does, on four kinds of text. Run: `.venv/bin/python
experiments/families.py`. Seconds.

Examples: findings of the tests' file (halves for tuning, halves held out); the code of every method
that ships, its name taken away; the doc strings of the same; recipes of the search researcher,
written as it writes them.
"""

import ast
import inspect
import random
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml
from scipy.stats import binomtest

from aarlab.core.records import Family
from aarlab.diversity.families import classified
from aarlab.methods.library import METHODS
from aarlab.researchers.recipe import PLAIN, families_of, mutate, source_of

Example = tuple[set[Family], dict]  # families that count as right, what is classified
FINDINGS = Path(__file__).parents[1] / "tests" / "diversity" / "findings.yaml"
RECIPES = 400


def findings(*, held_out: bool) -> Iterator[Example]:
    """Hand-written findings: three of each family for tuning, three held out."""
    for family, rows in yaml.safe_load(FINDINGS.read_text()).items():
        yield from (({Family(family)}, row) for row in (rows[3:] if held_out else rows[:3]))


def methods(*, text: bool) -> Iterator[Example]:
    """Methods that ship: the code under the name `run`, without its doc string and decorator; or
    the doc string alone."""
    for name in METHODS:
        method = METHODS[name]
        tree = ast.parse(textwrap.dedent(inspect.getsource(method.run))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        words = ast.get_docstring(tree) or ""
        tree.name, tree.decorator_list, tree.body = "run", [], tree.body[1:]
        yield (
            {method.family},
            ({"text": words} if text else {"code": {"method.py": ast.unparse(tree)}}),
        )


def recipes(options: int, seed: int) -> Iterator[Example]:
    """Recipes with so many changes from plain; any family of a composite one is right."""
    rng = random.Random(seed)
    for _ in range(RECIPES):
        recipe = mutate(PLAIN, {}, rng, extra=options)
        if right := families_of(recipe):
            yield right, {"code": {"method.py": source_of(recipe, family=Family.OTHER, author="a")}}


def main() -> None:
    kinds = {
        "findings, tuned on": list(findings(held_out=False)),
        "findings, held out": list(findings(held_out=True)),
        "methods that ship, code": list(methods(text=False)),
        "methods that ship, doc strings": list(methods(text=True)),
        "recipes with one change": list(recipes(1, seed=2)),
        "recipes with four changes": list(recipes(4, seed=2)),
    }
    print("| examples | right | share [95 %, Wilson] | wrong: is -> said |\n|---|---|---|---|")
    for kind, examples in kinds.items():
        said = [classified(**given).family for _, given in examples]
        pairs = [
            (min(right), family)
            for (right, _), family in zip(examples, said, strict=True)
            if family not in right
        ]
        wrong = Counter(pairs).most_common(4)
        good = len(said) - len(pairs)
        interval = binomtest(good, len(said)).proportion_ci(method="wilson")
        words = "; ".join(f"{is_.value} -> {says.value} {n}" for (is_, says), n in wrong)
        print(
            f"| {kind} | {good} of {len(said)} | {good / len(said):.2f} [{interval.low:.2f}, "
            f"{interval.high:.2f}] | {words} |"
        )
    started = time.perf_counter()
    for _, given in kinds["recipes with four changes"]:
        classified(**given)
    print(
        f"{1e3 * (time.perf_counter() - started) / len(kinds['recipes with four changes']):.1f} "
        "ms an idea"
    )


if __name__ == "__main__":
    main()
