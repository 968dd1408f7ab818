import ast
import copy
import hashlib
import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from aarlab.problems import small_code
from aarlab.problems.code_catalogue.catalogue import catalogue
from aarlab.problems.code_catalogue.mutations import mutants
from aarlab.problems.code_catalogue.styles import restyled
from aarlab.problems.problem import check_problem
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.small_code import (
    LEVEL_SHARES,
    SIZES,
    WORDINGS,
    Pool,
    build,
    corpus,
    execute,
    judged,
    length,
)
from tests.problems.item_digest import versioned

ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    TimeoutError,
    TypeError,
    ValueError,
)
CATALOGUE = catalogue()
SEED = 3
# Digest for SEED of the functions and inputs that version 0.1.0 executed.
EXECUTED = "dc55b56760967434166956a80e134873a3232367e8f33e6d6529784cca73eba0"
OF_QUESTION = {wording.format(d.text): d for d in CATALOGUE for wording in WORDINGS}
SUM = next(d for d in CATALOGUE if d.text == "the sum of the elements that are positive")


@dataclass
class Built:
    """The items of SEED, the functions that were executed to make them, and what came of these."""

    items: list
    jobs: list
    pools: list[Pool]


@pytest.fixture(scope="module")
def built(starts_processes, tmp_path_factory) -> Built:
    made = Built([], [], [])

    def executed(jobs):
        made.jobs = jobs
        return execute(jobs)

    def pools(descriptions, seed):
        made.pools = judged(descriptions, seed)
        return copy.deepcopy(made.pools)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_code, "execute", executed)
        patch.setattr(small_code, "judged", pools)
        made.items = build(tmp_path_factory.mktemp("none"), SEED)
    return made


@pytest.fixture
def items(built):
    return built.items


@pytest.fixture(autouse=True)
def deadline():
    def stop(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    yield
    signal.signal(signal.SIGVTALRM, before)


def compiled(function: str) -> Callable:
    space: dict = {}
    exec(function, space)
    return space["f"]


def agreement(item, seed: int = 11, n: int = 60) -> float:
    """The share of fresh inputs on which the item's function does what the reference does, computed
    without a sandbox."""
    description = OF_QUESTION[item.question]
    choice, reference = compiled(item.choice), compiled(description.functions[0])
    inputs = description.kind.inputs(seed, n)
    return sum(result(choice, i) == result(reference, i) for i in inputs) / n


def result(function: Callable, arguments: tuple) -> object:
    # a wrong function may hang on an input that it never saw
    signal.setitimer(signal.ITIMER_VIRTUAL, 1)
    try:
        return function(*copy.deepcopy(arguments))
    except ERRORS as error:
        return type(error)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@pytest.mark.long
def test_every_split_has_its_size_and_every_cell_is_balanced(items):
    check_problem(items)
    assert Counter((i.split, i.part) for i in items) == SIZES
    assert Counter((i.split, i.part, i.level, i.label) for i in items) == {
        (split, part, level, label): round(n * share / 2)
        for (split, part), n in SIZES.items()
        for level, share in LEVEL_SHARES.items()
        for label in (0, 1)
    }
    assert PROBLEMS["small-code"].transfer_only


@pytest.mark.long
def test_items_change_with_the_version_alone(items):
    assert versioned("small-code", items) == ("1", "7e39fc01d5ab1cde")


@pytest.mark.long
def test_executed_functions_and_inputs_are_those_of_version_0_1_0(built):
    """With their outputs they decide every item. Outputs are left out here: on a busy machine,
    functions whose processor time is near the limit may run out of it."""
    found = [(function, d.text, d.kind.name) for function, d in built.jobs]
    inputs = {d.kind.name: d.kind.inputs() for d in CATALOGUE}
    assert (
        hashlib.sha256(json.dumps([found, inputs], sort_keys=True).encode()).hexdigest() == EXECUTED
    )


@pytest.mark.long
def test_data_seed_decides_the_functions_and_the_items(tmp_path, monkeypatch, built):
    """A part of the catalogue is executed again, and the items are drawn again from all pools."""
    some = [pool.description for pool in built.pools[:12]]
    assert judged(some, SEED) == built.pools[:12]
    monkeypatch.setattr(small_code, "judged", lambda descriptions, seed: copy.deepcopy(built.pools))
    assert build(tmp_path, SEED) == built.items
    assert small_code.shares(SEED + 1) != small_code.shares(SEED)


def test_every_description_has_two_functions_of_both_lengths():
    assert len({d.text for d in CATALOGUE}) == len(CATALOGUE)
    for description in CATALOGUE:
        functions = {ast.unparse(ast.parse(f)) for f in description.functions}
        assert len(functions) >= 2, description.text
        assert {length(f) for f in functions} == {"short", "long"}, description.text


@pytest.mark.slow
def test_the_catalogues_functions_agree_with_each_other():
    for description in CATALOGUE:
        functions = [compiled(f) for f in description.functions]
        for arguments in description.kind.inputs(5, 40):
            results = [result(f, arguments) for f in functions]
            assert all(r == results[0] for r in results), (description.text, arguments, results)


@pytest.mark.long
def test_right_items_agree_and_wrong_items_differ_on_fresh_inputs(items):
    drawn = random.Random(0).sample(items, 400)
    right, wrong = ([agreement(i) for i in drawn if i.label == label] for label in (1, 0))
    assert min(right) == 1.0
    assert max(wrong) < 1.0
    assert sum(a < 0.9 for a in wrong) > 0.95 * len(wrong)


@pytest.mark.long
def test_splits_share_no_description_and_ood_is_strings_and_dicts(items):
    found = {(i.split, OF_QUESTION[i.question].text) for i in items}
    assert max(Counter(text for _, text in found).values()) == 1
    kinds = {
        part: {OF_QUESTION[i.question].kind.name for i in items if i.part == part}
        for part in ("id", "ood")
    }
    assert kinds["ood"] == {"string", "two strings", "dict", "list of strings"}
    assert kinds["ood"].isdisjoint(kinds["id"])


@pytest.mark.long
@pytest.mark.parametrize("level", [1, 2, 3])
def test_question_and_length_tell_nothing_about_the_label(items, level):
    cells = [[i for i in items if (i.level, i.label) == (level, label)] for label in (0, 1)]
    assert Counter(i.question for i in cells[0]) == Counter(i.question for i in cells[1])
    lines = [Counter(i.choice.count("\n") + 1 for i in cell) for cell in cells]
    assert all(abs(lines[0][n] - lines[1][n]) <= 0.02 * len(cells[0]) for n in lines[0] | lines[1])
    mean = [sum(len(i.choice) for i in cell) / len(cell) for cell in cells]
    assert abs(mean[0] - mean[1]) < 1
    assert {length(i.choice) for cell in cells for i in cell} == {"long" if level == 3 else "short"}


@pytest.mark.process
def test_infinite_loop_is_stopped_and_the_batch_continues():
    loop, broken, changes = (
        "def f(xs):\n    while True:\n        pass",
        "def f(xs:",
        "def f(xs):\n    xs.append(1)\n    return len(xs)",
    )
    outputs = execute([(loop, SUM), (broken, SUM), (changes, SUM), (SUM.functions[0], SUM)])
    assert set(outputs[0]) == {"error: timeout"}
    assert set(outputs[1]) == {"error: SyntaxError"}
    assert outputs[2] == [str(len(xs) + 1) for (xs,) in SUM.kind.inputs()]
    assert outputs[3] == [str(sum(x for x in xs if x > 0)) for (xs,) in SUM.kind.inputs()]


@pytest.mark.process
def test_what_depends_on_the_order_of_a_set_is_seen():
    words = next(d for d in CATALOGUE if d.kind.name == "list of strings")
    assert (
        "error: not deterministic"
        in execute([("def f(words):\n    return list(set(words))", words)])[0]
    )


@pytest.mark.process
def test_equivalent_and_nearly_equivalent_mutants_are_discarded():
    equivalent = "def f(xs):\n    return sum(x for x in xs if x >= 0)"
    nearly = "def f(xs):\n    return 9 if xs == [1] else sum(x for x in xs if x > 0)"
    wrong = "def f(xs):\n    return sum(x for x in xs if x < 0)"
    outputs = execute([(f, SUM) for f in (SUM.functions[0], equivalent, nearly, wrong)])
    assert outputs[0] == outputs[1]
    assert [small_code.is_wrong(o, outputs[0]) for o in outputs] == [False, False, False, True]
    pool = Pool(SUM, expected=outputs[0])
    small_code._sort_in(pool, nearly, outputs[2], meant_right=False)
    small_code._sort_in(pool, equivalent, outputs[1], meant_right=False)
    assert pool.right == pool.wrong == {"short": [], "long": []}


@pytest.mark.slow
def test_mutants_differ_on_one_line_and_restyled_functions_agree():
    rng = random.Random(0)
    for description in CATALOGUE:
        function = restyled(description.functions[-1], rng)
        one, other = compiled(function), compiled(description.functions[0])
        for arguments in description.kind.inputs(7):
            assert result(one, arguments) == result(other, arguments), function
        made = list(mutants(function, rng, 5))
        assert made, function
        for mutant in made:
            assert (
                sum(a != b for a, b in zip(function.split("\n"), mutant.split("\n"), strict=True))
                == 1
            )


@pytest.mark.long
@pytest.mark.process
def test_corpus_has_right_functions_of_descriptions_in_no_split(items):
    texts = corpus(SEED, 600)
    assert len(set(texts)) == len(texts) == 600
    found = {OF_QUESTION[t.split("\n")[0]].text for t in texts}
    assert found == {d.text for d in small_code.shares(SEED)["corpus", "id"]}
    assert found.isdisjoint(OF_QUESTION[i.question].text for i in items)
