"""qwen-math: is this worked solution of a competition problem right?

In distribution: solutions of MATH problems by one language model, each read step by step by a
person (PRM800K, phase 2). Out of distribution: solutions of olympiad problems by a dozen other
models, read by people in the same way (ProcessBench). An item is right where the person found no
error and the final answer is the reference's, wrong where the person found one and it is not; where
the two disagree it is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from aarlab.core.hub import Source, dataset
from aarlab.problems.problem import Problem
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.study.card import Built, Provenance, left_out, origin
from aarlab.problems.study.final_answers import same_answer
from aarlab.problems.study.pairing import (
    DEALT,
    Match,
    Sizes,
    SourceAnswer,
    assemble,
    nearest,
    questions_of,
    shortfall,
)
from aarlab.problems.study.rows import SourceRow, read_rows

PRM800K = Source("tasksource/PRM800K", "547b1950", "MIT", ("phase2_train.jsonl",))
# for the level of a problem alone
MATH = Source("EleutherAI/hendrycks_math", "21a56338", "MIT", ("*/*.parquet",))
PROCESS_BENCH = Source(
    "Qwen/ProcessBench", "3bdcd537", "Apache-2.0", ("olympiadbench.json", "omnimath.json")
)
# by the share that the benchmark's models got right
OUTSIDE_LEVELS = {"olympiadbench.json": 1, "omnimath.json": 2}
SIZES = Sizes(inside={"final": 329, "teacher": 1_030, "student": 2_367}, outside=328, most_each=1)
LEVELS = ("1", "2", "3", "4", "5")  # of MATH
NEEDED = ("pre_generated_answer", "ground_truth_answer", "pre_generated_steps")
MOST_RATIO = 1.5  # of the lengths of a pair's solutions
MOST_CHARACTERS = 10_000  # of a solution; longer ones are loops

Verdict = Literal["right", "wrong"]
Dropped = Counter[str]  # reason -> rows that are no candidates


class Solved(NamedTuple):
    """A solution and what people said of it."""

    answer: SourceAnswer
    verdict: Verdict


def levels(rows: Iterable[SourceRow], dropped: Dropped) -> dict[str, int]:
    """The level, 1 (easiest) to 5, of each MATH problem by its text."""
    found: dict[str, int] = {}
    for row in rows:
        level = row.text("level").removeprefix("Level ")
        if level in LEVELS:
            found[_key(row.text("problem"))] = int(level)
        else:
            dropped["MATH problems without a level"] += 1
    return found


def solved(rows: Iterable[SourceRow], dropped: Dropped) -> Iterator[Solved]:
    """The solutions of PRM800K's phase 2 on which the person and the final answer agree."""
    for row in rows:
        question, label = _part(row, "question"), _part(row, "label")
        if row.fields.get("is_quality_control_question") or row.fields.get(
            "is_initial_screening_question"
        ):
            dropped["PRM800K rows that test the raters"] += 1
        elif (said := label.text("finish_reason")) not in ("solution", "found_error"):
            dropped["PRM800K problems that a rater gave up or called broken"] += 1
        elif any(name in question.fields and not question.fields[name] for name in NEEDED):
            dropped["PRM800K rows without steps, a final answer or a reference"] += 1
        elif same_answer(
            question.text("pre_generated_answer"), question.text("ground_truth_answer")
        ) != (said == "solution"):
            dropped["PRM800K solutions on which the rater and the final answer disagree"] += 1
        else:
            text = "\n".join(question.texts("pre_generated_steps"))
            yield Solved(
                SourceAnswer(question.text("problem"), text),
                "right" if said == "solution" else "wrong",
            )


def agreed(found: Iterable[Solved], dropped: Dropped) -> dict[str, list[Solved]]:
    """Each solution once, by question; those that raters disagree on, or that are absurdly long,
    are left out."""
    verdicts: dict[SourceAnswer, set[Verdict]] = defaultdict(set)
    for answer, verdict in found:
        verdicts[answer].add(verdict)
    by_question: dict[str, list[Solved]] = defaultdict(list)
    for answer, said in verdicts.items():
        if len(said) > 1:
            dropped["solutions on which raters disagree"] += 1
        elif len(answer.text) > MOST_CHARACTERS:
            dropped[f"solutions of more than {MOST_CHARACTERS} characters"] += 1
        else:
            by_question[answer.question].append(Solved(answer, *said))
    return by_question


def inside(
    by_question: Mapping[str, list[Solved]], level_of: Mapping[str, int], dropped: Dropped
) -> list[list[Match]]:
    """For every question with right and wrong solutions, its pairs, nearest in length first."""
    groups = []
    for question, found in by_question.items():
        level = level_of.get(_key(question))
        if level is None:
            dropped["PRM800K questions that are not found in MATH"] += 1
        else:
            groups.append(_pairs(found, level))
    dropped["questions without a right and a wrong solution of about one length"] += sum(
        not g for g in groups
    )
    return groups


def outside(rows: Iterable[SourceRow], level: int, dropped: Dropped) -> list[list[Match]]:
    """ProcessBench's pairs: each of one model, of one question where there are both, at most one
    pair a question."""
    by_model: dict[str, list[Solved]] = defaultdict(list)
    for row in rows:
        text = "\n".join(row.texts("steps"))
        clean, correct = (
            row.whole("label", -1, len(row.fields["steps"]) - 1) == -1,
            row.fields.get("final_answer_correct"),
        )
        if not isinstance(correct, bool):
            raise row.wrong("'final_answer_correct' is not true or false")
        if len(text) > MOST_CHARACTERS:
            dropped[f"solutions of more than {MOST_CHARACTERS} characters"] += 1
        elif clean != correct:
            dropped["ProcessBench solutions on which people and the final answer disagree"] += 1
        else:
            answer = SourceAnswer(row.text("problem"), text)
            by_model[row.text("generator")].append(Solved(answer, "right" if clean else "wrong"))
    groups: list[list[Match]] = []
    used: set[str] = set()
    for _, found in sorted(by_model.items()):
        for match in _pairs(found, level):
            if used.isdisjoint(questions := questions_of([match])):
                groups.append([match])
                used.update(questions)
    return groups


def _pairs(found: Iterable[Solved], level: int) -> list[Match]:
    sides: dict[Verdict, list[SourceAnswer]] = {"right": [], "wrong": []}
    for answer, verdict in found:
        sides[verdict].append(answer)
    return [
        Match(right, wrong, level)
        for right, wrong in nearest(sides["right"], sides["wrong"], MOST_RATIO)
    ]


def _part(row: SourceRow, name: str) -> SourceRow:
    """An object inside of a row's object, read as strictly."""
    fields = row.fields.get(name)
    if not isinstance(fields, dict):
        raise row.wrong(f"'{name}' is no object")
    return SourceRow(row.where, fields)


def _key(problem: str) -> str:
    return " ".join(problem.split())


def build(cache: Path, data_seed: int) -> Built:
    prm, math, bench = snapshots = [
        dataset(source, cache) for source in (PRM800K, MATH, PROCESS_BENCH)
    ]
    dropped: Dropped = Counter()
    level_of = levels(read_rows(math, ".parquet"), dropped)
    groups = inside(agreed(solved(read_rows(prm, ".jsonl"), dropped), dropped), level_of, dropped)
    far = [
        group
        for name, level in OUTSIDE_LEVELS.items()
        for group in outside(read_rows(bench, name), level, dropped)
    ]
    items, found = assemble("math", groups, far, SIZES, data_seed)
    provenance = Provenance(
        origins=tuple(
            origin(s, snap)
            for s, snap in zip((PRM800K, MATH, PROCESS_BENCH), snapshots, strict=True)
        ),
        drawn=DRAWN,
        levels=(
            "In distribution MATH's own, 1 to 5; out of distribution 1 is OlympiadBench and 2 is "
            "Omni-MATH."
        ),
        balancing=BALANCING,
        left_out=left_out(found),
        dropped=dict(dropped),
        limits=(*LIMITS, *shortfall(items, SIZES)),
    )
    return Built.of(items, provenance)


DRAWN = (
    "Of each question one right and one wrong solution, so that no answer is the more frequent "
    "one. " + DEALT
)
BALANCING = (
    "In distribution every question comes with as many right as wrong solutions by the same "
    f"model, paired by length (ratio at most {MOST_RATIO}), so neither its author nor its "
    "question or answer reveals the label. Out of distribution a pair has one model and one "
    "benchmark in common, and the question where there is one with both."
)
LIMITS = (
    "Out of distribution most pairs are of two questions, so that a question which looks hard is "
    "more often answered wrongly. Nothing is trained on these items.",
    "Raters of PRM800K saw mostly solutions that a reward model had picked since they convince.",
    "MATH, OlympiadBench and Omni-MATH are public: a model's pretraining may have seen the "
    "questions.",
)

PROBLEMS.add("qwen-math")(
    Problem(
        name="qwen-math",
        version="1",
        card="Each item has a competition problem (`question`) and a worked solution by a language "
        "model (`choice`). Predict 1 "
        "if the solution is right, 0 if it has an error and so a wrong final answer. You have "
        "weak labels on the `student` "
        "items. The problem is used for transfer only: methods that were found on another problem "
        "are confirmed on it, unseen.",
        id_source="MATH problems, solved by one language model and judged by people (PRM800K)",
        ood_source=(
            "olympiad problems, solved by other language models and judged by people (ProcessBench)"
        ),
        build=build,
        corpus=lambda cache, data_seed: (),
        transfer_only=True,
    )
)
