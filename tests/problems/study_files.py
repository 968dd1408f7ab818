"""Small files in the schemas of the data sets that the study's transfer problems are built from."""

import json

import pyarrow
from pyarrow import parquet

WORDS = [
    a + b + c
    for a in ("ka", "lo", "mi", "su", "te", "vor")
    for b in ("ren", "dal", "pik", "mos")
    for c in ("a", "it", "on", "ul")
]


def sentence(rng, words):
    """Words of a language of 96 words: two long sentences share no five of them in a row."""
    return " ".join(rng.choices(WORDS, k=words))


def write(root, name, path, text):
    target = root / name / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


def prm_row(problem, steps, answer, reference, finish="solution", **more):
    """A row of PRM800K's phase 2, as its README shows it."""
    rated = [
        {
            "completions": [{"text": s, "rating": 1, "flagged": None}],
            "human_completion": None,
            "chosen_completion": 0,
        }
        for s in steps
    ]
    return {
        "labeler": "someone",
        "timestamp": "2023-01-22T04:34:27.052924",
        "generation": 9,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {
            "problem": problem,
            "ground_truth_solution": f"It is {reference}.",
            "ground_truth_answer": reference,
            "pre_generated_steps": steps,
            "pre_generated_answer": answer,
            "pre_generated_verifier_score": 0.01,
        },
        "label": {"steps": rated, "total_time": 278270, "finish_reason": finish},
    } | more


def bench_row(number, problem, steps, label, correct, generator):
    """A row of ProcessBench."""
    return {
        "id": f"x-{number}",
        "generator": generator,
        "problem": problem,
        "steps": steps,
        "final_answer_correct": correct,
        "label": label,
    }


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def math_levels(root, name, levels):
    """The MATH files of two subjects: problem, level, type, solution."""
    found = list(levels.items())
    for folder, part in (("algebra", found[::2]), ("geometry", found[1::2])):
        target = write(root, name, f"{folder}/train-00000-of-00001.parquet", "")
        columns = {
            "problem": [problem for problem, _ in part],
            "level": [f"Level {level}" for _, level in part],
            "type": [folder.title()] * len(part),
            "solution": ["See the book."] * len(part),
        }
        parquet.write_table(pyarrow.table(columns), target)


PROGRAMS = pyarrow.struct(
    [("language", pyarrow.list_(pyarrow.int64())), ("solution", pyarrow.list_(pyarrow.string()))]
)
TESTS = pyarrow.struct(
    [("input", pyarrow.list_(pyarrow.string())), ("output", pyarrow.list_(pyarrow.string()))]
)
CONTESTS = pyarrow.schema(
    [
        ("name", pyarrow.string()),
        ("description", pyarrow.string()),
        ("private_tests", TESTS),
        ("source", pyarrow.int64()),
        ("difficulty", pyarrow.int64()),
        ("solutions", PROGRAMS),
        ("incorrect_solutions", PROGRAMS),
        ("cf_rating", pyarrow.int64()),
    ]
)


def contest_row(name, statement, right, wrong, *, source=2, rating=800, language=3):
    """A row of CodeContests; beside every Python program, one in C++."""

    def programs(found):
        return {"language": [2, *([language] * len(found))], "solution": ["int main() {}", *found]}

    return {
        "name": name,
        "description": statement,
        "private_tests": {"input": ["1\n"] * 3, "output": ["2\n"] * 3},
        "source": source,
        "difficulty": 7,
        "solutions": programs(right),
        "incorrect_solutions": programs(wrong),
        "cf_rating": rating,
    }


def contest_files(root, rows):
    """The rows in two files of the training set."""
    for shard, part in enumerate((rows[::2], rows[1::2])):
        target = write(
            root,
            "deepmind/code_contests",
            f"data/train-000{shard}0-of-00039-e991a271dbfa992{shard}.parquet",
            "",
        )
        parquet.write_table(
            pyarrow.Table.from_pylist(part, schema=CONTESTS), target, row_group_size=7
        )
