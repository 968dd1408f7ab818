import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aarlab.core.errors import Misconfigured
from aarlab.problems.problem import check_problem
from aarlab.problems.publish import publish, read_private_items
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.study import math
from aarlab.problems.study.contamination import Screen
from aarlab.problems.study.final_answers import normalised, same_answer
from aarlab.problems.study.rows import SourceRow
from aarlab.problems.study.shortcuts import shortcut_accuracy
from tests.problems.item_digest import versioned
from tests.problems.study_files import bench_row, jsonl, math_levels, prm_row, sentence, write

QUESTIONS, MODELS = 60, ("one", "two", "three")


def solution(rng, answer):
    return [sentence(rng, rng.randint(20, 24)) for _ in range(3)] + [
        f"So it is.\n\n# Answer\n\n{answer}"
    ]


def write_math(root, seed=0):
    """60 MATH questions with two right and two wrong solutions each, and 80 olympiad problems; the
    rows of PRM800K."""
    rng = random.Random(seed)
    levels = {sentence(rng, 25): 1 + n % 5 for n in range(QUESTIONS)}
    rows = [
        prm_row(q, solution(rng, 7 + off), str(7 + off), "7", finish)
        for q in levels
        for off, finish in (
            (0, "solution"),
            (0, "solution"),
            (1, "found_error"),
            (2, "found_error"),
        )
    ]
    math_levels(root, math.MATH.name, levels)
    for name in math.OUTSIDE_LEVELS:
        bench = [
            bench_row(
                n,
                sentence(rng, 25),
                solution(rng, n),
                -1 if n % 2 else 1,
                bool(n % 2),
                rng.choice(MODELS),
            )
            for n in range(40)
        ]
        write(root, math.PROCESS_BENCH.name, name, json.dumps(bench))
    write(root, math.PRM800K.name, "phase2_train.jsonl", jsonl(rows))
    return rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_DATA_FROM", str(tmp_path / "from"))
    return tmp_path / "from"


@pytest.fixture
def built(folder, tmp_path):
    write_math(folder)
    return math.build(tmp_path / "cache", 1)


def rewrite(folder, rows):
    write(folder, math.PRM800K.name, "phase2_train.jsonl", jsonl(rows))


def test_study_math_passes_and_each_question_has_both_labels(built):
    check_problem(built)
    by_question = Counter((i.question, i.label) for i in built if i.part == "id")
    assert all(by_question[q, 1] == by_question[q, 0] for q, _ in by_question)
    assert max(by_question.values()) == 1  # no answer is the more frequent one
    assert {i.split for i in built} == {"teacher", "student", "final"}
    assert {i.level for i in built if i.part == "id"} == {1, 2, 3, 4, 5}
    assert {i.level for i in built if i.part == "ood"} == {1, 2}


def test_items_change_with_the_version_alone(built):
    assert versioned("qwen-math", built) == ("1", "2ca6a6da1a6ff3e5")


def test_splits_shrink_alike_where_there_is_little(built):
    """60 questions for splits that want 3,726 pairs: 1.6 % of each."""
    pairs = Counter(i.split for i in built if i.part == "id" and i.label)
    assert pairs == {split: round(QUESTIONS / 3_726 * n) for split, n in math.SIZES.inside.items()}
    short = [limit for limit in built.provenance.limits if "sufficed" in limit]
    wanted = "of the 3726 pairs that were wanted in distribution (1.6%); every split has about that"
    assert len(short) == 2
    assert short[0].startswith(f"The sources sufficed for {sum(pairs.values())} {wanted}")


def test_right_is_what_the_rater_and_the_answer_say(folder, tmp_path, built):
    said = {}
    for line in (folder / math.PRM800K.name / "phase2_train.jsonl").read_text().splitlines():
        row = json.loads(line)
        text = "\n".join(s.strip() for s in row["question"]["pre_generated_steps"])
        said[row["question"]["problem"], text] = row["label"]["finish_reason"]
    for item in built:
        if item.part == "id":
            assert said[item.question, item.choice] == ("solution" if item.label else "found_error")


def test_pairs_are_of_one_model_and_near_in_length(built, folder):
    rows = [
        r
        for name in math.OUTSIDE_LEVELS
        for r in json.loads((folder / math.PROCESS_BENCH.name / name).read_text())
    ]
    model = {(r["problem"], "\n".join(s.strip() for s in r["steps"])): r["generator"] for r in rows}
    outside = Counter(
        (model[i.question, i.choice], i.level, i.label) for i in built if i.part == "ood"
    )
    assert all(outside[m, level, 1] == outside[m, level, 0] for m, level, _ in outside)
    assert len({i.question for i in built if i.part == "ood"}) == sum(outside.values())
    for question in {i.question for i in built if i.part == "id"}:
        sides = [
            sorted(len(i.choice) for i in built if (i.question, i.label) == (question, label))
            for label in (0, 1)
        ]
        assert all(max(a, b) / min(a, b) <= math.MOST_RATIO for a, b in zip(*sides, strict=True))


def test_the_data_seed_decides_everything(built, tmp_path):
    assert math.build(tmp_path / "cache", 1) == built
    other = math.build(tmp_path / "cache", 2)
    assert {i.id for i in other if i.split == "final"} != {
        i.id for i in built if i.split == "final"
    }


def test_the_card_names_the_sources_and_counts_what_was_left_out(folder, tmp_path):
    rows = write_math(folder)
    rng = random.Random(9)
    q = rows[0]["question"]["problem"]
    rewrite(
        folder,
        [
            *rows,
            prm_row(q, ["a"], "8", "7"),  # the rater found no error, but the answer is wrong
            prm_row(q, ["b"], "7", "7", "found_error"),  # right for a wrong reason
            prm_row(q, ["c"], "7", "7", "give_up"),
            prm_row(q, ["d"], None, "7"),
            prm_row(q, [], "7", "7"),
            prm_row(q, ["d"], "7", ""),
            prm_row(q, ["e"], "7", "7", is_quality_control_question=True),
            prm_row(q, ["f" * (math.MOST_CHARACTERS + 1)], "7", "7"),
            prm_row(sentence(rng, 25), ["g"], "7", "7"),  # not of MATH
        ],
    )
    built = math.build(tmp_path / "cache", 1)
    assert [(o.name, o.licence) for o in built.provenance.origins] == [
        ("tasksource/PRM800K", "MIT"),
        ("EleutherAI/hendrycks_math", "MIT"),
        ("Qwen/ProcessBench", "Apache-2.0"),
    ]
    dropped = built.provenance.dropped
    assert dropped["PRM800K solutions on which the rater and the final answer disagree"] == 2
    assert dropped["PRM800K problems that a rater gave up or called broken"] == 1
    assert dropped["PRM800K rows without steps, a final answer or a reference"] == 3
    assert dropped["PRM800K rows that test the raters"] == 1
    assert dropped[f"solutions of more than {math.MOST_CHARACTERS} characters"] == 1
    assert dropped["PRM800K questions that are not found in MATH"] == 1
    assert not {"a", "b", "c", "d", "e"} & {i.choice for i in built}


def test_a_solution_that_two_raters_judge_differently_is_left_out(folder, tmp_path):
    rows = write_math(folder)
    again = [
        prm_row(
            r["question"]["problem"], r["question"]["pre_generated_steps"], "8", "7", "found_error"
        )
        for r in rows[:1]
    ]
    rewrite(folder, [*rows, *again, rows[1]])
    built = math.build(tmp_path / "cache", 1)
    assert built.provenance.dropped["solutions on which raters disagree"] == 1
    assert "\n".join(rows[0]["question"]["pre_generated_steps"]) not in {i.choice for i in built}


def test_olympiad_question_in_math_is_in_one_split(folder, tmp_path):
    rows = write_math(folder)
    name = next(iter(math.OUTSIDE_LEVELS))
    bench = json.loads((folder / math.PROCESS_BENCH.name / name).read_text())
    copied = {}
    for b, r in zip(bench, rows[::4], strict=False):
        words = r["question"]["problem"].split()
        b["problem"] = " ".join(["Well,", *words[:12], "indeed", *words[13:]]).upper()
        copied[b["problem"]] = r["question"]["problem"]
    write(folder, math.PROCESS_BENCH.name, name, json.dumps(bench))
    built = math.build(tmp_path / "cache", 1)
    drawn = {i.question for i in built if i.part == "ood"} & set(copied)
    assert drawn
    assert not {copied[q] for q in drawn} & {i.question for i in built if i.part == "id"}
    assert {o.how for o in built.provenance.left_out if o.resembles == "final"} == {"near"}


def test_no_question_is_near_one_of_another_split(built):
    screen = Screen()
    for item in built:
        if item.split == "final":
            screen.add({"question": [item.question]})
    assert not any(screen.finds({"question": [i.question]}) for i in built if i.split != "final")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"question": {}}, "label"),
        ({"question": {}, "label": {}}, "finish_reason"),
        (
            {"question": {"pre_generated_answer": "7"}, "label": {"finish_reason": "solution"}},
            "ground_truth_answer",
        ),
    ],
)
def test_a_row_of_another_shape_is_named_by_file_and_line(folder, tmp_path, row, what):
    rows = write_math(folder)
    rewrite(folder, [rows[0], row])
    with pytest.raises(Misconfigured, match=f"phase2_train.jsonl, line 2: .*{what}"):
        math.build(tmp_path / "cache", 1)


def test_too_little_is_refused_with_what_there_is(folder, tmp_path):
    rows = write_math(folder)
    rewrite(folder, rows[:4])
    with pytest.raises(Misconfigured, match="1 pairs of answers are too few"):
        math.build(tmp_path / "cache", 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{1}{2}", "1/2"),
        (r"\dfrac12", "0.5"),
        (r"40,\!000", "40000"),
        ("1,234,567", "1234567"),
        ("x = 3", "3"),
        ("3", "3.0"),
        ("(1,2)", "(1, 2)"),
        (r"90^\circ", "90"),
        (r"2\sqrt{3}", r"2\sqrt3"),
        (r"\$5.50", "5.5"),
        (r"-\frac{3}{4}", "-0.75"),
        (r"\left(3,\tfrac{\pi}{2}\right)", r"(3,\pi/2)"),
        (r"\text{even}.", "even"),
    ],
)
def test_answers_that_are_written_differently(one, other):
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10", "100"),
        ("1,2,3", "123"),
        ("-3", "3"),
        (r"\frac12", r"\frac13"),
        ("x", "y"),
        ("1/0", "0"),
    ],
)
def test_answers_that_differ(one, other):
    assert not same_answer(one, other)


@given(st.text(alphabet=r"0123456789.,/-+\{}()xsqrtfrac ", max_size=20))
def test_an_answer_is_itself(answer):
    assert same_answer(answer, answer)
    assert same_answer(answer, f" {answer} ")


@given(st.integers(-999, 999), st.integers(1, 99), st.integers(1, 9))
def test_fractions_are_numbers(top, bottom, by):
    assert same_answer(rf"\frac{{{top}}}{{{bottom}}}", f"{by * top}/{by * bottom}")
    assert same_answer(rf"\frac{{{top}}}{{{bottom}}}", f"{top + 1}/{bottom}") is False


def test_nothing_but_form_is_normalised():
    assert normalised(r"\left( x^{2} , 12\,000 \right)") == "(x^2,12000)"


def test_what_shortcuts_reach_is_kept_beside_the_labels(built, tmp_path):
    publish(PROBLEMS["qwen-math"], built, tmp_path / "out", data_seed=1)
    found = json.loads((tmp_path / "out" / "private" / "shortcuts.json").read_text())
    assert found == shortcut_accuracy(built)
    public = b"".join(p.read_bytes() for p in (tmp_path / "out" / "public").iterdir())
    assert b"shortcut" not in public
    assert not any(i.id.encode() in public for i in built if i.split == "final")


def test_half_of_a_surrogate_pair_is_no_reason_to_fail(folder, tmp_path):
    rows = write_math(folder)
    for row in rows:
        row["question"]["pre_generated_steps"][0] += " \ud835 \u2028"
    rewrite(folder, rows)
    built = math.build(tmp_path / "cache", 1)
    publish(PROBLEMS["qwen-math"], built, tmp_path / "out", data_seed=1)
    assert read_private_items(tmp_path / "out") == list(built)
    assert all(
        " ? " in i.choice or i.choice.splitlines()[0].endswith(" ?")
        for i in built
        if i.part == "id"
    )


@pytest.mark.parametrize("level", ["Level ?", "Level 12", "Level 0", "1 2"])
def test_a_level_that_is_none_of_the_five_is_not_guessed(level):
    dropped = Counter()
    assert math.levels([SourceRow("f", {"problem": "p", "level": level})], dropped) == {}
    assert dropped["MATH problems without a level"] == 1
    assert math.levels([SourceRow("f", {"problem": "p  q", "level": "Level 5"})], dropped) == {
        "p q": 5
    }
