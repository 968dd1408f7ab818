import re
from collections import Counter

import pytest

from aarlab.problems.problem import PROBLEMS, check_problem
from aarlab.problems.small_math import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, SIZES, build, corpus

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\.")
ANSWER = re.compile(r"The answer is (\d+)\.$")
CONSTANTS = {"2", "3", "7", "100"}  # of the perimeter, the average, the week and the percent


def is_true(left, operation, right, result):
    a, b, c = int(left), int(right), int(result)
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": c * b == a}[operation]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return build(tmp_path_factory.mktemp("none"), 3)


@pytest.fixture(scope="module")
def texts():
    return corpus(3, 3_000)


def test_every_split_has_its_size_and_every_cell_is_balanced(items):
    check_problem(items)
    assert Counter((i.split, i.part) for i in items) == SIZES
    assert Counter((i.split, i.part, i.level, i.label) for i in items) == {
        (split, part, level, label): n // 6 for (split, part), n in SIZES.items() for level in (1, 2, 3) for label in (0, 1)
    }
    assert PROBLEMS["small-math"].transfer_only


def test_each_question_stands_once(items):
    assert len({i.question for i in items}) == len({i.id for i in items}) == len(items)


def test_the_data_seed_decides_everything(tmp_path, items, texts):
    assert build(tmp_path, 3) == items
    assert len({i.id for i in build(tmp_path, 4)} & {i.id for i in items}) < 0.01 * len(items)
    assert corpus(3, 3_000) == texts
    assert corpus(4, 3_000) != texts


def test_a_wrong_solution_has_exactly_one_false_equation_and_a_right_one_none(items):
    for item in items:
        equations = EQUATION.findall(item.choice)
        assert len(equations) in (2, 3)
        assert sum(not is_true(*e) for e in equations) == 1 - item.label, item


def test_solutions_use_the_question_and_carry_results_into_the_answer(items):
    for item in items:
        known = set(re.findall(r"\d+", item.question)) | CONSTANTS
        for left, _, right, result in EQUATION.findall(item.choice):
            assert {left, right} <= known, item
            known.add(result)
        assert ANSWER.search(item.choice).group(1) == result
        assert EQUATION.sub("", item.choice).strip() == f"The answer is {result}."


@pytest.mark.parametrize(("count", "first"), [(2, 1 / 2), (3, 1 / 3)])
def test_every_step_is_the_wrong_one_equally_often(items, count, first):
    wrong = [EQUATION.findall(i.choice) for i in items if i.label == 0]
    at = Counter([is_true(*e) for e in equations].index(False) for equations in wrong if len(equations) == count)
    assert all(abs(at[step] / at.total() - first) < 0.06 for step in range(count))


def test_numbers_grow_with_the_level(items):
    sizes = [[int(n) for i in items if i.level == level for n in re.findall(r"\d+", i.question)] for level in (1, 2, 3)]
    means = [sum(s) / len(s) for s in sizes]
    assert means == sorted(means)


@pytest.mark.parametrize("part", ["id", "ood"])
@pytest.mark.parametrize("statistic", [len, lambda answer: int(answer[-1]) % 2, lambda answer: answer[0]])
def test_answers_look_alike_under_both_labels(items, part, statistic):
    values = [
        Counter(statistic(ANSWER.search(i.choice).group(1)) for i in items if (i.part, i.label) == (part, label))
        for label in (0, 1)
    ]
    for value in values[0] | values[1]:
        assert abs(values[0][value] / values[0].total() - values[1][value] / values[1].total()) < 0.08


def test_corpus_is_right_in_distribution_and_apart_from_the_items(items, texts):
    questions = {t.split("\n")[0] for t in texts}
    assert len(questions) == len(texts) == 3_000
    assert questions.isdisjoint({i.question for i in items})
    assert all(is_true(*e) for t in texts for e in EQUATION.findall(t))
    assert not any(re.search(r"percent|average|volume|square", t) for t in texts)


def test_situations_out_of_distribution_are_new():
    assert (len(IN_DISTRIBUTION), len(OUT_OF_DISTRIBUTION)) == (14, 7)
    assert set(IN_DISTRIBUTION).isdisjoint(OUT_OF_DISTRIBUTION)
    known = {s.steps for s in IN_DISTRIBUTION.values()}
    assert all(s.steps not in known for s in OUT_OF_DISTRIBUTION.values())
    phrasings = [p for s in (*IN_DISTRIBUTION.values(), *OUT_OF_DISTRIBUTION.values()) for p in s.phrasings]
    assert len(set(phrasings)) == len(phrasings) == 3 * 21
