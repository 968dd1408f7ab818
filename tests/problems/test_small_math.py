import hashlib
import json
import re
from collections import Counter

import pytest

from aarlab.problems.math_situations import CONSTANTS, SITUATIONS
from aarlab.problems.problem import check_problem
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.small_math import SIZES, build, corpus

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\.")
DIGESTS = {  # of the items before the situations were a data file
    0: "f4e2b948908ff1aa16132ac5fe7b579659dbba4954198d2b7a08f4701ffa4171",
    1: "209f05940764e0be56710d168aba8eef1df72b17a564911dda3189297daea13c",
    2: "954018dd0ee84c1c2d6b3e3973e008b02067211df6d5544a51cd342cf15c71a3",
}
ANSWER = re.compile(r"The answer is (\d+)\.$")


def is_true(left, operation, right, result):
    a, b, c = int(left), int(right), int(result)
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": c * b == a}[operation]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return build(tmp_path_factory.mktemp("none"), 3)


@pytest.fixture(scope="module")
def texts():
    return corpus(3, 3_000)


@pytest.mark.slow
def test_every_split_has_its_size_and_every_cell_is_balanced(items):
    check_problem(items)
    assert Counter((i.split, i.part) for i in items) == SIZES
    assert Counter((i.split, i.part, i.level, i.label) for i in items) == {
        (split, part, level, label): n // 6
        for (split, part), n in SIZES.items()
        for level in (1, 2, 3)
        for label in (0, 1)
    }
    assert PROBLEMS["small-math"].transfer_only


def test_each_question_stands_once(items):
    assert len({i.question for i in items}) == len({i.id for i in items}) == len(items)


@pytest.mark.slow
@pytest.mark.parametrize("seed", DIGESTS)
def test_items_are_those_that_testbeds_were_made_of(tmp_path, seed):
    found = [i.model_dump(mode="json") for i in build(tmp_path, seed)]
    assert hashlib.sha256(json.dumps(found).encode()).hexdigest() == DIGESTS[seed]


@pytest.mark.long
def test_the_data_seed_decides_everything(tmp_path, items, texts):
    assert build(tmp_path, 3) == items
    assert len({i.id for i in build(tmp_path, 4)} & {i.id for i in items}) < 0.01 * len(items)
    assert corpus(3, 3_000) == texts
    assert corpus(4, 3_000) != texts


def flaws(item):
    """(step, kind) of every false equation and of every operand that is neither in the question nor
    a result before."""
    known = set(re.findall(r"\d+", item.question)) | {str(c) for c in CONSTANTS}
    for step, (left, operation, right, result) in enumerate(EQUATION.findall(item.choice)):
        if not is_true(left, operation, right, result):
            yield step, "miscalculated"
        yield from ((step, "misread") for operand in (left, right) if operand not in known)
        known.add(result)


def test_a_wrong_solution_has_exactly_one_flaw_and_a_right_one_none(items):
    for item in items:
        assert len(EQUATION.findall(item.choice)) in (2, 3)
        assert len(list(flaws(item))) == 1 - item.label, item
    kinds = Counter(kind for i in items for _, kind in flaws(i))
    # a number is one of two operands or a result
    assert 0.5 < kinds["misread"] / kinds.total() < 0.75


def test_solutions_carry_their_last_result_into_the_answer(items):
    for item in items:
        result = EQUATION.findall(item.choice)[-1][-1]
        assert EQUATION.sub("", item.choice).strip() == f"The answer is {result}."


@pytest.mark.parametrize(("count", "first"), [(2, 1 / 2), (3, 1 / 3)])
def test_every_step_is_the_wrong_one_about_equally_often(items, count, first):
    at = Counter(
        step for i in items if len(EQUATION.findall(i.choice)) == count for step, _ in flaws(i)
    )
    assert all(abs(at[step] / at.total() - first) < 0.06 for step in range(count))


def test_numbers_grow_with_the_level(items):
    sizes = [
        [int(n) for i in items if i.level == level for n in re.findall(r"\d+", i.question)]
        for level in (1, 2, 3)
    ]
    means = [sum(s) / len(s) for s in sizes]
    assert means == sorted(means)


@pytest.mark.parametrize("part", ["id", "ood"])
@pytest.mark.parametrize(
    "statistic", [len, lambda answer: int(answer[-1]) % 2, lambda answer: answer[0]]
)
def test_answers_look_alike_under_both_labels(items, part, statistic):
    values = [
        Counter(
            statistic(ANSWER.search(i.choice).group(1))
            for i in items
            if (i.part, i.label) == (part, label)
        )
        for label in (0, 1)
    ]
    for value in values[0] | values[1]:
        assert (
            abs(values[0][value] / values[0].total() - values[1][value] / values[1].total()) < 0.08
        )


@pytest.mark.slow
def test_corpus_is_right_in_distribution_and_apart_from_the_items(items, texts):
    questions = {t.split("\n")[0] for t in texts}
    assert len(questions) == len(texts) == 3_000
    assert questions.isdisjoint({i.question for i in items})
    assert all(is_true(*e) for t in texts for e in EQUATION.findall(t))
    assert not any(re.search(r"percent|average|volume|square", t) for t in texts)


def test_situations_out_of_distribution_are_new():
    inside, outside = SITUATIONS["id"], SITUATIONS["ood"]
    assert (len(inside), len(outside)) == (14, 7)
    assert set(inside).isdisjoint(outside)
    known = {s.steps for s in inside.values()}
    assert all(s.steps not in known for s in outside.values())
    phrasings = [p for s in (*inside.values(), *outside.values()) for p in s.phrasings]
    assert len(set(phrasings)) == len(phrasings) == 3 * 21
