import random
from collections import Counter

import pytest
from pyarrow import parquet

from aarlab.core.errors import Misconfigured
from aarlab.problems.problem import check_problem
from aarlab.problems.study import code, code_contests
from aarlab.problems.study.code_contests import ATCODER, CODE_CONTESTS, CODEFORCES, placed
from tests.problems.item_digest import versioned
from tests.problems.study_files import contest_files, contest_row, sentence

LETTERS = "abcdefgh"


def program(rng, right):
    """A program of about 60 characters, readable; which of two forms it has is its verdict."""
    name, number = "".join(rng.choices(LETTERS, k=12)), rng.randint(1000, 9999)
    return f"{name} = int(input())\nprint({number}, {'min' if right else 'max'}(1, 2))"


def programs(rng, right, n=4):
    return [program(rng, right) for _ in range(n)]


def rows_of(rng, n=60):
    """Codeforces problems of all ratings and AtCoder problems of all contests, with four right and
    four wrong programs each."""
    rows = []
    for i in range(n):
        both = programs(rng, True), programs(rng, False)
        rating = (800, 1300, 1900)[i % 3]
        rows.append(contest_row(f"{i}_A. {i}", sentence(rng, 40), *both, rating=rating))
        kind = ("Beginner", "Regular", "Grand")[i % 3]
        both = programs(rng, True), programs(rng, False)
        rows.append(
            contest_row(
                f"p{i} AtCoder {kind} Contest 1 - {i}",
                sentence(rng, 40),
                *both,
                source=ATCODER,
                rating=0,
            )
        )
    return rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AAR_DATA_FROM", str(tmp_path / "from"))
    return tmp_path / "from"


def built_of(rows, folder, seed=1):
    contest_files(folder, rows)
    return code.build(folder.parent / f"cache-{len(rows)}", seed)


@pytest.fixture
def built(folder):
    return built_of(rows_of(random.Random(0)), folder)


def test_study_code_passes_and_each_problem_has_both_verdicts(built):
    check_problem(built)
    counts = Counter((i.question, i.label) for i in built)
    assert all(counts[question, 1] == counts[question, 0] for question, _ in counts)
    assert 1 < max(counts.values()) <= code.SIZES.most_each
    assert {counts[i.question, i.label] for i in built if i.split == "final"} == {1}
    assert {(i.part, i.level) for i in built} == {
        (part, level) for part in ("id", "ood") for level in (1, 2, 3)
    }
    assert {i.split for i in built if i.part == "ood"} == {"final"}
    assert {i.split for i in built if i.part == "id"} == {"teacher", "student", "final"}


def test_items_change_with_the_version_alone(built):
    assert versioned("qwen-code", built) == ("1", "d41f0ede410196e9")


def test_the_label_is_the_judges_verdict_and_the_level_its_difficulty(folder):
    rows = rows_of(random.Random(0))
    built = built_of(rows, folder)
    verdicts = {
        (r["description"], program): 1 for r in rows for program in r["solutions"]["solution"]
    }
    verdicts |= {
        (r["description"], program): 0
        for r in rows
        for program in r["incorrect_solutions"]["solution"]
    }
    ratings = {r["description"]: r["cf_rating"] for r in rows}
    assert all(verdicts[i.question, i.choice] == i.label for i in built)
    assert {(i.level, ratings[i.question]) for i in built if i.part == "id"} == {
        (1, 800),
        (2, 1300),
        (3, 1900),
    }


def test_only_programs_in_python_3_are_read(folder):
    rng = random.Random(0)
    rows = rows_of(rng)
    rows += [
        contest_row(
            f"{i}", sentence(rng, 40), programs(rng, True), programs(rng, False), language=1
        )
        for i in range(20)
    ]
    built = built_of(rows, folder)
    assert not any("int main" in i.choice for i in built)
    assert not {i.question for i in built} & {r["description"] for r in rows[-20:]}
    assert (
        built.provenance.dropped["problems without a right and a wrong program of about one length"]
        == 20
    )


def test_the_columns_of_a_batch_belong_to_their_rows(folder, monkeypatch):
    """Whatever is read at once, in files whose groups of rows are smaller and larger."""
    rows = rows_of(random.Random(0), 11)
    contest_files(folder, rows)
    found = []
    for size in (1, 3, 16, 1000):
        monkeypatch.setattr(code_contests, "ROWS", size)
        snapshot = code.dataset(CODE_CONTESTS, folder.parent / "cache")
        found.append(sorted(code_contests.contests(snapshot, Counter())))
    assert found[0] == found[1] == found[2] == found[3]
    by_name = {r["name"]: r for r in rows}
    assert len(found[0]) == len(rows)
    for contest in found[0]:
        assert list(contest.right) == by_name[contest.name]["solutions"]["solution"][1:]
        assert list(contest.wrong) == by_name[contest.name]["incorrect_solutions"]["solution"][1:]


def test_what_is_no_candidate_is_counted(folder):
    rng = random.Random(0)
    rows = rows_of(rng)
    right, wrong = programs(rng, True), programs(rng, False)
    pictured, hard, other, twice = (sentence(rng, 40) for _ in range(4))
    rows += [
        contest_row("pictured", f"{pictured} <image>", right, wrong),
        contest_row("hard", hard, right, wrong, rating=2_000),
        contest_row("unrated", sentence(rng, 40), right, wrong, rating=0),
        contest_row("nothing known", None, right, wrong, rating=800),
        contest_row(None, sentence(rng, 40), right, wrong, rating=None),
        contest_row("other judge", other, right, wrong, source=6),
        contest_row("long", "x " * code_contests.MOST_STATEMENT, right, wrong),
        contest_row("twice", twice, right, wrong),
        contest_row("twice again", twice, right, wrong),
        contest_row(
            "python 2", sentence(rng, 40), ["print 'it is right, by all means'"] * 2, wrong
        ),
        contest_row("both", sentence(rng, 40), [*right, wrong[0]], wrong),
        contest_row("short", sentence(rng, 40), ["print(1)"], wrong),
    ]
    built = built_of(rows, folder)
    dropped = built.provenance.dropped
    assert dropped["problems whose statement has lost its pictures"] == 1
    assert dropped["problems of other judges, or without a difficulty in range"] == 4
    assert dropped["problems that occur twice"] == 1
    assert dropped["programs that are not Python 3"] == 2
    assert dropped["programs that were taken and refused"] == 1
    assert sum(n for why, n in dropped.items() if why.startswith("programs of less")) == 1
    assert (
        sum(n for why, n in dropped.items() if why.startswith("problems with an empty statement"))
        == 2
    )
    assert not any(question in i.question for i in built for question in (pictured, hard, other))


def test_pairs_are_near_in_length(folder):
    rng = random.Random(0)
    rows = rows_of(rng)
    long = [p + "\n" + "# and so on" * 30 for p in programs(rng, False)]
    rows.append(contest_row("far apart", sentence(rng, 40), programs(rng, True), long))
    built = built_of(rows, folder)
    assert rows[-1]["description"] not in {i.question for i in built}
    for question in {i.question for i in built}:
        sides = [
            sorted(len(i.choice) for i in built if (i.question, i.label) == (question, label))
            for label in (0, 1)
        ]
        assert all(max(a, b) / min(a, b) <= code.MOST_RATIO for a, b in zip(*sides, strict=True))


def test_a_statement_that_resembles_one_of_the_final_split_is_in_no_other(folder):
    """Codeforces' easy and hard version of a problem go to one split, or one of them is left
    out."""
    rng = random.Random(0)
    rows = rows_of(rng)
    versions = []
    for i in range(60):
        statement = sentence(rng, 40)
        versions.append((statement, statement + " hard"))
        rows += [
            contest_row(f"v{i}{v}", v, programs(rng, True), programs(rng, False))
            for v in versions[-1]
        ]
    built = built_of(rows, folder)
    split = {i.question: i.split for i in built}
    both = [(split[easy], split[hard]) for easy, hard in versions if {easy, hard} <= split.keys()]
    assert both
    assert all(easy == hard for easy, hard in both)
    assert {(o.split, o.resembles, o.how) for o in built.provenance.left_out} >= {
        ("student", "teacher", "near")
    }


def test_the_data_seed_decides_everything(folder, built):
    assert built_of(rows_of(random.Random(0)), folder) == built
    assert {i.id for i in built_of(rows_of(random.Random(0)), folder, 2)} != {i.id for i in built}


def test_the_card_says_which_share_of_the_items_is_there(built):
    there = sum(i.label for i in built if i.part == "ood")
    assert any(
        f"sufficed for {there} of the 641 pairs that were wanted out of" in limit
        for limit in built.provenance.limits
    )


def test_the_card_says_which_files_were_read(built, folder):
    (origin,) = built.provenance.origins
    assert (origin.name, origin.licence) == ("deepmind/code_contests", "CC-BY-4.0")
    assert sorted(origin.files) == sorted(
        p.relative_to(folder / origin.name).as_posix() for p in folder.rglob("*.parquet")
    )


@pytest.mark.parametrize(
    ("source", "rating", "name", "place"),
    [
        (CODEFORCES, 800, "1_A. x", ("inside", 1)),
        (CODEFORCES, 1_199, "1_A. x", ("inside", 1)),
        (CODEFORCES, 1_200, "1_A. x", ("inside", 2)),
        (CODEFORCES, 1_999, "1_A. x", ("inside", 3)),
        (CODEFORCES, 2_000, "1_A. x", None),
        (CODEFORCES, 0, "1_A. x", None),
        (ATCODER, 0, "p03072 AtCoder Beginner Contest 124 - Great Ocean View", ("outside", 1)),
        (ATCODER, 0, "p03001 AtCoder Regular Contest 9 - x", ("outside", 2)),
        (ATCODER, 0, "p03001 AtCoder Grand Contest 9 - x", ("outside", 3)),
        (ATCODER, 0, "p03001 Some Company's Contest 2020 - x", None),
        (CODEFORCES, 0, "AtCoder Beginner Contest 1", None),
        (1, 1_000, "x", None),
    ],
)
def test_where_a_problem_is_placed(source, rating, name, place):
    assert placed({"source": source, "cf_rating": rating, "name": name}) == place


@pytest.mark.parametrize("program", ["print 1", "x = (", "a\0b", "(" * 5_000, "def f(:\n"])
def test_what_python_cannot_read(program):
    assert not code.readable(program)


def test_a_program_is_read_and_not_run(capsys):
    assert code.readable("print('\\d')\nraise SystemExit")
    assert capsys.readouterr().out == ""


def test_files_of_another_shape_and_damaged_ones_are_told_by_name(folder):
    contest_files(folder, rows_of(random.Random(0)))
    path = sorted(folder.rglob("*.parquet"))[0]
    table = parquet.read_table(path)
    parquet.write_table(table.drop_columns(["cf_rating"]), path)
    with pytest.raises(
        Misconfigured, match=r"has no column cf_rating: it is no file of CodeContests"
    ):
        code.build(folder.parent / "cache", 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Misconfigured, match=f"{path.name} is cut off or damaged"):
        code.build(folder.parent / "cache2", 1)
